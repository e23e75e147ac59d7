package gateway

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// eventWriter writes server-sent events to the caller. Its methods are safe for concurrent use: the relay and the
// keep-alive timer share it.
type eventWriter struct {
	mu     sync.Mutex
	x      *exchange
	timer  *time.Timer
	closed bool
}

// openStream sends the head of an event stream.
func (x *exchange) openStream() *eventWriter {
	h := x.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	x.status = http.StatusOK
	x.w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(x.w).Flush() // a failure shows at the first event
	out := &eventWriter{x: x}
	out.timer = time.AfterFunc(keepAlive, out.comment)
	return out
}

func (o *eventWriter) send(e wire.SSEEvent) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.timer.Reset(keepAlive)
	return o.x.push(wire.AppendSSE(nil, e))
}

// comment keeps a silent connection open (WHATWG HTML, server-sent events §9.2.7).
func (o *eventWriter) comment() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	_ = o.x.push([]byte(":\n\n")) // a failure shows at the next event
	o.timer.Reset(keepAlive)
}

// fail ends a call whose answer cannot come with a JSON-RPC error, and returns the cause.
func (o *eventWriter) fail(cause error) error {
	x := o.x
	if x.message == nil || x.message.ID == nil {
		return cause
	}
	r := describe(cause)
	data := wire.AppendError(nil, x.message.ID, r.code, r.message, r.data)
	_ = o.send(wire.SSEEvent{Event: "message", Data: data}) // the cause matters more
	return cause
}

func (o *eventWriter) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.timer.Stop()
}

// push writes bytes of a stream and flushes them.
func (x *exchange) push(b []byte) error {
	rc := http.NewResponseController(x.w)
	_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has deadlines; an in-memory one needs none
	n, err := x.w.Write(b)
	x.bytes += int64(n)
	if err != nil {
		return errClientGone
	}
	if err := rc.Flush(); err != nil {
		return errClientGone
	}
	return nil
}

// write sends a whole answer.
func (x *exchange) write(status int, contentType string, body []byte) error {
	h := x.w.Header()
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	if len(body) > 0 { // else net/http would send what is long in chunks
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	h.Set("Cache-Control", "no-store")
	if status == http.StatusMethodNotAllowed && h.Get("Allow") == "" {
		h.Set("Allow", http.MethodPost)
	}
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(writeTimeout)) // as in push
	x.status = status
	x.w.WriteHeader(status)
	n, err := x.w.Write(body)
	x.bytes += int64(n)
	if err != nil {
		return errClientGone
	}
	return nil
}
