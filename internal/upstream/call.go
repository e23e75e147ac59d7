package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// Bounds of one session.
const (
	maxDeserted = 64   // calls whose callers have left, kept so that what the child says of them reaches nobody else
	maxAsked    = 1024 // unanswered requests of the child
	maxTelling  = 64   // messages of our own that wait to be read by the child
)

// call is one request under way at a child. There it has an id of ours, which is its progress token too.
type call struct {
	s        *session
	id       int64
	original jsontext.Value // the caller's id, byte for byte
	token    jsontext.Value // the caller's progress token; nil when there is none
	listen   bool           // a subscription: it lasts, and what it gets names it
	deserted bool           // guarded by s.mu
	box      *mailbox
}

// post handles a message of the client.
func (s *session) post(ctx context.Context, m *wire.Message, starting bool) (*Response, error) {
	if m.Kind == wire.Request {
		return s.ask(ctx, m, starting)
	}
	if out := s.translate(m); out != nil {
		bounded, cancel := context.WithTimeout(ctx, s.owner.config.Timeout)
		defer cancel()
		if err := s.send(bounded, out); err != nil {
			return nil, err
		}
	}
	return &Response{Status: http.StatusAccepted}, nil
}

// translate returns what the child is told of a notification or an answer; nil when it is not told. In the modern era
// a call is cancelled by leaving it: one principal's clients share a child and must not name each other's calls.
func (s *session) translate(m *wire.Message) *wire.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch()
	switch {
	case m.Kind == wire.Notification && m.Method == "notifications/cancelled":
		id := int64(0)
		for _, c := range s.calls {
			if string(c.original) == string(m.Cancels) {
				id = max(id, c.id) // ids that are used twice at once mean the later call
			}
		}
		if id == 0 || s.era == wire.Modern {
			return nil
		}
		out := *m
		out.SetCancels(ourID(id))
		return &out
	case m.Kind == wire.Notification:
		return m
	}
	if _, ok := s.asked[string(m.ID)]; !ok {
		return nil // nobody asked
	}
	delete(s.asked, string(m.ID))
	return m
}

func ourID(id int64) jsontext.Value { return strconv.AppendInt(nil, id, 10) }

// begin registers a call and returns what the child is sent of it.
func (s *session) begin(m *wire.Message) (*call, *wire.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return nil, nil, s.end
	}
	s.touch()
	s.next++
	c := &call{s: s, id: s.next, original: m.ID, token: m.ProgressToken, listen: m.Method == "subscriptions/listen", box: newMailbox()}
	s.calls[c.id] = c
	out := *m // the caller keeps his message as it is
	out.SetID(ourID(c.id))
	if c.token != nil {
		out.SetProgressToken(ourID(c.id))
	}
	return c, &out, nil
}

// finish forgets the call.
func (s *session) finish(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.calls[c.id]; ok {
		delete(s.calls, c.id)
		s.touch()
	}
}

// ask sends a request and waits for the first message about it. starting allows for a child that must first be
// downloaded, as with npx.
func (s *session) ask(ctx context.Context, m *wire.Message, starting bool) (*Response, error) {
	c, out, err := s.begin(m)
	if err != nil {
		return nil, err
	}
	patience := s.owner.config.Timeout
	if starting || !s.spoken.Load() {
		patience = max(patience, s.owner.config.StartTimeout)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	err = s.send(bounded, out)
	cancel()
	if err != nil {
		s.finish(c)
		return nil, err
	}
	l, err := c.box.get(ctx, nil, patience)
	if err != nil {
		return nil, c.ended(ctx, err, patience)
	}
	if l.last {
		return &Response{Status: http.StatusOK, Body: l.data}, nil
	}
	return &Response{Status: http.StatusOK, Stream: &callStream{ctx: ctx, c: c, first: &l, cut: make(chan struct{})}}, nil
}

// ended sorts out why no message came, and leaves the call accordingly.
func (c *call) ended(ctx context.Context, err error, patience time.Duration) error {
	switch {
	case errors.Is(err, errSilent):
		c.cancel("timed out")
		return fmt.Errorf("%w: nothing for %s", ErrTimeout, patience)
	case ctx.Err() != nil:
		c.leave()
	}
	return err
}

// leave is called when the caller has left. In the modern era that cancels the call. In the legacy era the child is
// told nothing, and the call stays in the books until it is answered, or for one more timeout.
func (c *call) leave() {
	s := c.s
	if s.era == wire.Modern {
		c.cancel("the caller left")
		return
	}
	s.mu.Lock()
	n := 0
	for _, other := range s.calls {
		if other.deserted {
			n++
		}
	}
	c.deserted = true
	s.mu.Unlock()
	c.box.close(errStreamClosed)
	if n >= maxDeserted {
		s.finish(c)
		return
	}
	time.AfterFunc(s.owner.config.Timeout, func() { s.finish(c) })
}

// cancel forgets the call and tells the child so.
func (c *call) cancel(reason string) {
	c.s.finish(c)
	m := &wire.Message{
		Kind: wire.Notification, Method: "notifications/cancelled",
		Params: jsontext.Value(fmt.Sprintf(`{"requestId":%d,"reason":%q}`, c.id, reason)),
	}
	c.s.tell(m)
}

// tell sends the child a message of our own without waiting for it to read. When it reads nothing for long, it is not
// told.
func (s *session) tell(m *wire.Message) {
	select {
	case s.telling <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-s.telling }()
		ctx, stop := context.WithTimeout(context.Background(), s.owner.config.Timeout)
		defer stop()
		_ = s.send(ctx, m)
	}()
}
