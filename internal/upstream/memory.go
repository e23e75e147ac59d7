package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
)

// memoryBuffer is how many bytes a handler may be ahead of its reader before it must wait.
const memoryBuffer = 256 << 10

// errAborted tells the reader that the handler ended before its answer was whole, as a cut connection would.
var errAborted = fmt.Errorf("the handler aborted: %w", io.ErrUnexpectedEOF)

// memoryTransport is an http.RoundTripper that runs a handler instead of dialling.
type memoryTransport struct {
	handler http.Handler
	logger  *slog.Logger
	running sync.WaitGroup
}

// RoundTrip returns as soon as the handler has sent headers: when it flushes, has filled the buffer, or ends.
func (t *memoryTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	w := &memoryWriter{header: make(http.Header), released: make(chan struct{}), cancel: cancel}
	w.cond.L = &w.mu
	in := r.WithContext(ctx)
	in.RemoteAddr, in.RequestURI, in.GetBody = "127.0.0.1:0", r.URL.RequestURI(), nil
	if in.Body == nil {
		in.Body = http.NoBody
	}
	t.running.Add(1)
	go t.serve(w, in)
	select {
	case <-w.released:
	case <-r.Context().Done():
	}
	if r.Context().Err() != nil { // whatever the handler made of that is no answer
		_ = w.Close() // never fails
		return nil, context.Cause(r.Context())
	}
	return w.response(r), nil
}

// serve runs the handler, catches its panics, and ends the answer.
func (t *memoryTransport) serve(w *memoryWriter, r *http.Request) {
	defer t.running.Done()
	defer w.cancel()
	stop := context.AfterFunc(r.Context(), w.wake)
	defer stop()
	defer func() {
		v := recover()
		if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // net/http compares the value too
			t.logger.Error("handler panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
		w.finish(v != nil)
		_ = r.Body.Close() // bytes in memory
	}()
	t.handler.ServeHTTP(w, r)
}

// wait returns when no handler runs any more, at most until ctx ends.
func (t *memoryTransport) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		t.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// memoryWriter is the handler's ResponseWriter and, on its other side, the body of the response. The handler writes
// into a bounded buffer from which the reader takes.
type memoryWriter struct {
	header   http.Header // the handler's, until the status is written
	released chan struct{}
	cancel   context.CancelFunc

	mu     sync.Mutex
	cond   sync.Cond // signalled when anything below changes
	status int       // 0: not written
	sent   http.Header
	buf    bytes.Buffer
	open   bool  // released is closed
	ended  bool  // the handler has returned
	err    error // what the reader gets instead of io.EOF
	closed bool  // the reader has left
}

// Header implements http.ResponseWriter.
func (w *memoryWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. Informational answers are dropped.
func (w *memoryWriter) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("invalid WriteHeader code " + strconv.Itoa(status)) // as net/http does: a mistake in the handler
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.writeHeader(status)
	}
}

func (w *memoryWriter) writeHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

// Write implements http.ResponseWriter. It waits while the buffer is full and fails when the reader has left.
func (w *memoryWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeader(http.StatusOK)
	if w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		return 0, http.ErrBodyNotAllowed
	}
	n := 0
	for n < len(p) {
		for w.buf.Len() >= memoryBuffer && !w.closed {
			w.release()
			w.cond.Wait()
		}
		if w.closed {
			return n, errors.New("the reader of the answer has left")
		}
		k := min(len(p)-n, memoryBuffer-w.buf.Len())
		w.buf.Write(p[n : n+k])
		n += k
		if w.open {
			w.cond.Broadcast()
		}
	}
	return n, nil
}

// FlushError lets http.ResponseController send what there is.
func (w *memoryWriter) FlushError() error {
	w.Flush()
	return nil
}

// Flush implements http.Flusher.
func (w *memoryWriter) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeader(http.StatusOK)
	w.release()
	w.cond.Broadcast()
}

// release lets RoundTrip return. The lock is held.
func (w *memoryWriter) release() {
	if !w.open {
		w.open = true
		close(w.released)
	}
}

// finish ends the answer after the handler has returned or panicked. An answer that nobody has seen yet becomes a 502.
func (w *memoryWriter) finish(panicked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case panicked && !w.open:
		w.status, w.sent = http.StatusBadGateway, http.Header{}
		w.buf.Reset()
	case panicked:
		w.err = errAborted
	default:
		w.writeHeader(http.StatusOK)
	}
	w.ended = true
	w.release()
	w.cond.Broadcast()
}

// wake makes a waiting writer or reader look again after the request's context has ended.
func (w *memoryWriter) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.cond.Broadcast()
}

// response is what the other side sees, once released.
func (w *memoryWriter) response(r *http.Request) *http.Response {
	w.mu.Lock()
	defer w.mu.Unlock()
	length := int64(-1)
	if w.ended && w.err == nil {
		length = int64(w.buf.Len())
	}
	return &http.Response{
		StatusCode: w.status, Status: strconv.Itoa(w.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: w, ContentLength: length, Request: r,
	}
}

// Read implements io.Reader for the response's body.
func (w *memoryWriter) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.buf.Len() == 0 && !w.ended && !w.closed {
		w.cond.Wait()
	}
	switch {
	case w.buf.Len() > 0 && (!w.closed || w.ended):
		n, _ := w.buf.Read(p) // it is not empty
		w.cond.Broadcast()
		return n, nil
	case w.err != nil:
		return 0, w.err
	case w.ended:
		return 0, io.EOF
	}
	return 0, errors.New("the request has ended")
}

// Close implements io.Closer for the response's body: it ends the request's context, as a closed connection does.
func (w *memoryWriter) Close() error {
	w.cancel()
	w.wake()
	return nil
}
