package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// writeTimeout is how long a slow reader may take to accept one write.
const writeTimeout = 30 * time.Second

// keepAlive is how often a silent stream gets a comment line, so that proxies do not close it.
const keepAlive = 25 * time.Second

// relay passes the upstream's answer on, filtered and with its handles sealed.
func (x *exchange) relay(ctx context.Context, answer *upstream.Response) error {
	if answer.Stream != nil {
		defer answer.Stream.Close() //nolint:errcheck // nothing is owed to it any more
	}
	if answer.Session != "" {
		x.startSession(answer.Session)
		x.grant.Note(audit.SessionStarted, "")
	}
	if x.r.Method == http.MethodDelete && answer.Status < 300 {
		x.gateway.sessions.end(&x.session)
		x.grant.Note(audit.SessionEnded, "ended by the client")
	}
	switch {
	case answer.Stream != nil:
		return x.relayStream(ctx, answer.Stream)
	case len(answer.Body) > 0:
		return x.relayBody(answer)
	}
	return x.write(answer.Status, "", nil)
}

// relayBody passes on a whole JSON answer.
func (x *exchange) relayBody(answer *upstream.Response) error {
	m, err := wire.ParseServer(answer.Body, wire.Limits{Bytes: int64(len(answer.Body))})
	if err != nil {
		return fmt.Errorf("%w: %w", upstream.ErrProtocol, err)
	}
	if x.message == nil || !x.answers(m) {
		return fmt.Errorf("%w: it answered with another id", upstream.ErrProtocol)
	}
	out, err := x.outgoing(m, x.message.Method)
	if err != nil {
		return err
	}
	return x.write(answer.Status, "application/json", out)
}

// answers reports whether m is the answer to the caller's request, and gives it back the caller's id byte for byte.
// An error without an id answers a message whose id the upstream did not read.
func (x *exchange) answers(m *wire.Message) bool {
	switch {
	case m.Kind == wire.Error && (m.ID == nil || string(m.ID) == "null"):
	case m.Kind != wire.Result && m.Kind != wire.Error, !sameID(m.ID, x.message.ID):
		return false
	}
	if x.message.ID != nil {
		m.SetID(x.message.ID)
	}
	return true
}

// sameID reports whether an upstream's rendering of an id is the caller's: equal as strings or as numbers.
func sameID(a, b jsontext.Value) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 || a.Kind() != b.Kind() {
		return false
	}
	if a.Kind() == '"' {
		s, err1 := jsontext.AppendUnquote(nil, a)
		t, err2 := jsontext.AppendUnquote(nil, b)
		return err1 == nil && err2 == nil && bytes.Equal(s, t)
	}
	f, err1 := strconv.ParseFloat(string(a), 64)
	g, err2 := strconv.ParseFloat(string(b), 64)
	return err1 == nil && err2 == nil && f == g
}

// outgoing emits a message of the upstream for the caller: results are filtered by what the caller may see.
func (x *exchange) outgoing(m *wire.Message, method string) ([]byte, error) {
	if m.Kind == wire.Result {
		if method == "tools/list" {
			x.gateway.defs.learn(x.endpoint, m.Result)
		}
		filtered, err := wire.FilterResult(method, m.Result, x.filter(m.Result))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", upstream.ErrProtocol, err)
		}
		m.Result = filtered
	}
	return m.Append(make([]byte, 0, len(m.Result)+len(m.Params)+len(m.Error)+256)), nil
}

// filter is what a result goes through. A large result of a tool is walked only when it has something to seal.
func (x *exchange) filter(result []byte) wire.Filter {
	f := wire.Filter{Keep: x.caller.Visible, SealCursor: x.seal(wire.Cursor), Private: x.gateway.private && x.era == wire.Modern}
	if bytes.Contains(result, []byte(`"requestState"`)) {
		f.SealState = x.seal(wire.RequestState)
	}
	if bytes.Contains(result, []byte(`"taskId"`)) {
		f.SealTask = x.seal(wire.Task)
	}
	return f
}

// filterLists filters an answer that came on another stream than its call's as every list that it could be, beside what
// the call of that id asked for: a client that uses an id twice must not choose how an old answer is filtered.
func (x *exchange) filterLists(m *wire.Message, method string) error {
	if m.Kind != wire.Result {
		return nil
	}
	for _, list := range []string{"tools/list", "prompts/list", "resources/list", "resources/templates/list"} {
		if list == method {
			continue
		}
		filtered, err := wire.FilterResult(list, m.Result, wire.Filter{Keep: x.caller.Visible})
		if err != nil {
			return fmt.Errorf("%w: %w", upstream.ErrProtocol, err)
		}
		m.Result = filtered
	}
	return nil
}

// relayStream passes on a stream of messages until the answer, its end, or the caller's end.
func (x *exchange) relayStream(ctx context.Context, stream upstream.Stream) error {
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() }) // wakes Next
	defer stop()
	if x.message != nil && x.era == wire.Legacy {
		x.session.expect(x.message.ID, x.message.Method)
	}
	out := x.openStream()
	defer out.close()
	resumable := false
	for {
		event, err := stream.Next()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, io.EOF) {
			if x.message == nil || x.message.ID == nil || resumable {
				return nil
			}
			err = fmt.Errorf("%w: the stream ended before the answer", upstream.ErrProtocol)
		}
		if err != nil {
			return out.fail(err)
		}
		resumable = resumable || (event.HasID && x.era == wire.Legacy)
		last, err := x.relayEvent(out, &event)
		if err != nil {
			return out.fail(err)
		}
		if last {
			return nil
		}
	}
}

// notified looks at a notification of the server and reports whether the caller may see it: what it names may have been
// allowed when it was subscribed to, and is not now.
func (x *exchange) notified(m *wire.Message) bool {
	if m.Method == "notifications/tools/list_changed" {
		x.endpoint.facts.stale.Store(true)
	}
	if m.Task != nil {
		m.SetTask(x.seal(wire.Task)(*m.Task))
	}
	return m.Target.Kind == policy.Method || x.caller.Visible(m.Target.Kind, m.Target.Name)
}

// relayEvent passes on one event. last reports that it was the answer.
func (x *exchange) relayEvent(out *eventWriter, event *wire.SSEEvent) (last bool, err error) {
	if len(event.Data) == 0 { // a position for resumption, or a retry time
		return false, out.send(*event)
	}
	m, err := wire.ParseServer(event.Data, wire.Limits{Bytes: int64(len(event.Data))})
	if err != nil {
		return false, fmt.Errorf("%w: %w", upstream.ErrProtocol, err)
	}
	method := ""
	switch m.Kind {
	case wire.Request:
		if x.era == wire.Modern || !x.session.ask(m.ID) {
			x.gateway.log.Warn("dropped a request of the server", "server", x.endpoint.Name, "method", m.Method)
			return false, nil
		}
	case wire.Notification:
		if !x.notified(m) {
			return false, nil
		}
	default:
		if x.message != nil && x.answers(m) {
			method, last = x.message.Method, true
			x.session.method(x.message.ID)
		} else if method = x.session.method(m.ID); method == "" {
			x.gateway.log.Warn("dropped an answer nobody waits for", "server", x.endpoint.Name)
			return false, nil
		} else if err := x.filterLists(m, method); err != nil {
			return false, err
		}
	}
	data, err := x.outgoing(m, method)
	if err != nil {
		return false, err
	}
	event.Data = data
	return last, out.send(*event)
}
