package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-mcp/sallyport/policy"
)

// exchange is one HTTP request and its answer. Its goroutine (run) owns the connection from the first byte to the last;
// the caller only waits for it and may leave at any time.
type exchange struct {
	upstream  *remote
	caller    context.Context // whose end means that nobody waits any more
	verb      string
	session   string
	principal *policy.Principal

	wantsAnswer bool // the message is a request
	initialize  bool // a session id may be minted
	patient     bool // silence on the stream is no fault
	detached    bool // the caller's leaving must not be noticed by the server (legacy era)

	ctx      context.Context
	cancel   context.CancelCauseFunc
	timer    *time.Timer // cuts the exchange with ErrTimeout
	answered chan answer // unbuffered: an answer is handed over or the caller has left

	mu       sync.Mutex
	deserted bool // guarded by mu: holds a place among the abandoned
	finished bool // guarded by mu
}

type answer struct {
	response *Response
	err      error
}

// begin registers the exchange and starts its clock. It reports false when the upstream is closed.
func (x *exchange) begin() bool {
	base := x.caller
	if x.detached {
		base = context.WithoutCancel(base)
	}
	x.ctx, x.cancel = context.WithCancelCause(base)
	x.answered = make(chan answer)
	if !x.upstream.live.add(x) {
		x.cancel(errClosed)
		return false
	}
	x.timer = time.AfterFunc(x.upstream.timeout, func() { x.cancel(ErrTimeout) })
	return true
}

// run performs the exchange and hands the answer over. When the caller has left, the answer is read to its end, for
// at most one more timeout, so that the server sees nothing of it.
func (x *exchange) run(req *http.Request) {
	defer x.upstream.live.remove(x)
	defer x.finish()
	defer x.cancel(nil)
	defer x.timer.Stop()
	resp, err := x.upstream.send.RoundTrip(req)
	if err != nil {
		x.hand(answer{err: x.reason(err)})
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && mediaType(resp.Header) == "text/event-stream" {
		x.stream(resp)
		return
	}
	r, err := x.read(resp)
	x.hand(answer{response: r, err: err})
}

// desert is called when the caller has left. A detached exchange goes on without him if there is a place for it; any
// other is cut.
func (x *exchange) desert() {
	if !x.detached {
		x.cancel(context.Canceled)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.finished || x.deserted {
		return
	}
	select {
	case x.upstream.deserted <- struct{}{}:
		x.deserted = true
	default:
		x.cancel(errCrowded)
	}
}

// finish gives the place among the abandoned back.
func (x *exchange) finish() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.finished = true
	if x.deserted {
		<-x.upstream.deserted
	}
}

// hand gives the answer to the caller and reports whether he was still there.
func (x *exchange) hand(a answer) bool {
	select {
	case x.answered <- a:
		return true
	case <-x.caller.Done():
		return false
	}
}

// stream hands over a Stream and pumps its events until the end.
func (x *exchange) stream(resp *http.Response) {
	session, err := x.minted(resp)
	if err != nil {
		x.hand(answer{err: err})
		return
	}
	x.timer.Stop()
	s := newHTTPStream(x, resp.Body)
	if !x.hand(answer{response: &Response{Status: resp.StatusCode, Session: session, Stream: s}}) {
		s.abandon()
	}
	s.pump()
}

// read takes every answer that is not a stream.
func (x *exchange) read(resp *http.Response) (*Response, error) {
	status := resp.StatusCode
	switch {
	case status == http.StatusNotFound && x.session != "":
		return nil, ErrSessionGone
	case status == http.StatusMethodNotAllowed && x.verb != http.MethodPost:
		return &Response{Status: status}, nil // it offers no stream, or no end of sessions
	case status == http.StatusTooManyRequests, status >= 500:
		return nil, fmt.Errorf("%w: it answered HTTP %d", ErrUnavailable, status)
	case status == http.StatusUnauthorized, status == http.StatusProxyAuthRequired:
		return nil, fmt.Errorf("%w: it asks the gateway for credentials (HTTP %d): configure a header", ErrProtocol, status)
	case status >= 300 && status < 400:
		return nil, fmt.Errorf("%w: it redirects (HTTP %d), which is not followed", ErrProtocol, status)
	}
	body, err := x.body(resp)
	if err != nil {
		return nil, err
	}
	if status >= 400 && !isErrorMessage(body) {
		return nil, fmt.Errorf("%w: HTTP %d without a JSON-RPC error", ErrProtocol, status)
	}
	if body == nil && x.wantsAnswer {
		return nil, fmt.Errorf("%w: HTTP %d without an answer to a request", ErrProtocol, status)
	}
	session, err := x.minted(resp)
	if err != nil {
		return nil, err
	}
	return &Response{Status: status, Session: session, Body: body}, nil
}

// body reads a whole JSON answer; nil when there is none.
func (x *exchange) body(resp *http.Response) ([]byte, error) {
	limit := x.upstream.max
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrTooLarge, resp.ContentLength, limit)
	}
	buf := bytes.NewBuffer(make([]byte, 0, sizeHint(resp.ContentLength)))
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, x.reason(err)
	case int64(buf.Len()) > limit:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	case len(bytes.TrimSpace(buf.Bytes())) == 0, x.verb == http.MethodDelete:
		return nil, nil
	case mediaType(resp.Header) != "application/json":
		if resp.StatusCode < 400 {
			return nil, fmt.Errorf("%w: it answered with %q", ErrProtocol, clip(resp.Header.Get("Content-Type")))
		}
		return nil, nil
	}
	return buf.Bytes(), nil
}

// sizeHint is the first size of the buffer for a body that claims n bytes: enough that it need not grow (bytes.Buffer
// wants MinRead spare bytes to see the end), but never much on a mere claim.
func sizeHint(n int64) int64 {
	return min(max(n, 0), 1<<20) + bytes.MinRead
}

// minted returns the session id of an initialize answer.
func (x *exchange) minted(resp *http.Response) (string, error) {
	if !x.initialize {
		return "", nil
	}
	return mintedSession(resp.Header)
}

// reason turns an error of the transport into one of the sentinels. What cut the exchange explains more than how the
// connection noticed.
func (x *exchange) reason(err error) error {
	switch cause := context.Cause(x.ctx); {
	case cause == nil:
		return transportError(err)
	case errors.Is(cause, ErrTimeout):
		return fmt.Errorf("%w: nothing for %s", ErrTimeout, x.upstream.timeout)
	case errors.Is(cause, errEnded):
		return fmt.Errorf("%w: %w", ErrSessionGone, cause)
	case errors.Is(cause, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrTimeout, cause)
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, cause)
	}
}

// transportError sorts errors of net/http. An answer cut short or malformed is the server's fault; all else means that
// it could not be reached.
func transportError(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the answer was cut short", ErrProtocol)
	case strings.Contains(err.Error(), "malformed"), strings.Contains(err.Error(), "response headers exceeded"):
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// mediaType is the content type without parameters, in lower case.
func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// clip shortens text of the upstream's choosing for an error.
func clip(s string) string {
	return s[:min(len(s), 128)]
}
