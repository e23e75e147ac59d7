package upstream

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// subscriptionID is the _meta member by which the modern era names the listen request a message belongs to.
const subscriptionID = "io.modelcontextprotocol/subscriptionId"

// dispatch gives a message of the child to whom it belongs: the call it names, else the only call in flight, else the
// session's stream, else nobody. It is used by the reader only.
func (s *session) dispatch(m *wire.Message) {
	switch m.Kind {
	case wire.Result, wire.Error:
		s.answer(m)
	case wire.Request:
		s.request(m)
	case wire.Notification:
		c, named := s.name(m)
		if !named {
			c = s.only()
		}
		if !s.deliver(c, named, m) {
			s.lost.Add(1)
		}
	}
}

// answer ends the call that m answers. An id that is not exactly one of ours answers nothing: late answers, and what a
// hostile child invents.
func (s *session) answer(m *wire.Message) {
	c := s.byID(m.ID)
	if c == nil {
		s.lost.Add(1)
		return
	}
	m.SetID(c.original)
	if c.listen && m.Kind == wire.Result {
		m.Result = replaceAt(m.Result, c.original, "_meta", subscriptionID)
	}
	c.box.put(letter{data: s.emit(m), last: true}) // false: the caller has left
	s.finish(c)
}

// request passes on a request of the child. Only the legacy era has them; one that reaches nobody is refused, so that
// the child does not wait for ever.
func (s *session) request(m *wire.Message) {
	s.mu.Lock()
	known := s.era == wire.Legacy && len(s.asked) < maxAsked
	if known {
		s.asked[string(m.ID)] = struct{}{}
	}
	s.mu.Unlock()
	if known && s.deliver(s.only(), false, m) {
		return
	}
	s.lost.Add(1)
	s.mu.Lock()
	delete(s.asked, string(m.ID))
	s.mu.Unlock()
	s.tell(&wire.Message{Kind: wire.Error, ID: m.ID, Error: jsontext.Value(`{"code":-32601,"message":"no client takes requests here"}`)})
}

// name finds the call that a notification names, and gives it back the caller's own token or id there. named is true
// also when the call is unknown: such a message is nobody else's.
func (s *session) name(m *wire.Message) (c *call, named bool) {
	switch {
	case m.Method == "notifications/progress":
		if c = s.byID(m.ProgressToken); c == nil || c.token == nil {
			return nil, true
		}
		m.SetProgressToken(c.token)
		return c, true
	case s.era == wire.Modern && m.SubscriptionID != nil:
		if c = s.byID(m.SubscriptionID); c != nil {
			m.SetSubscriptionID(c.original)
		}
		return c, true
	}
	return nil, false
}

// byID finds a call by our id for it, a plain integer; nil when there is none.
func (s *session) byID(raw jsontext.Value) *call {
	id, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[id]
}

// only returns the call in flight when there is exactly one. Subscriptions do not count: what is theirs names them.
func (s *session) only() *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *call
	for _, c := range s.calls {
		if c.listen {
			continue
		}
		if found != nil {
			return nil
		}
		found = c
	}
	return found
}

// deliver puts m into the mailbox of c, or of the session's stream when no call was named or found. It reports false
// when m reaches nobody.
func (s *session) deliver(c *call, named bool, m *wire.Message) bool {
	switch {
	case c != nil:
		return c.box.put(letter{data: s.emit(m)})
	case named || s.era == wire.Modern:
		return false
	}
	return s.aside.put(letter{data: s.emit(m)})
}

// emit writes a message of the child anew. A carriage return outside strings is white space, but would end a line of an
// event stream.
func (s *session) emit(m *wire.Message) []byte {
	line := m.AppendLine(make([]byte, 0, 256+len(m.Params)+len(m.Result)+len(m.Error)))
	return line[:len(line)-1]
}

// unreadable ends the call that a refused line answers, when that much could be read of it, so that its caller need
// not wait.
func (s *session) unreadable(err error) {
	var refused *wire.ParseError
	if !errors.As(err, &refused) {
		return
	}
	if c := s.byID(refused.ID); c != nil {
		c.box.close(fmt.Errorf("%w: %w", ErrProtocol, refused))
		s.finish(c)
	}
}
