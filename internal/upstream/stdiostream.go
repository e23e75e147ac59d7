package upstream

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// callStream is the answer to a call when something came before the result.
type callStream struct {
	ctx   context.Context // the caller's
	c     *call
	first *letter       // taken already; nil afterwards. Owned by the goroutine of Next
	cut   chan struct{} // closed by Close
	once  sync.Once
	ended atomic.Bool // the result was taken, or there will be none
}

// Next implements Stream. The wait for each message is bounded, except in a subscription.
func (t *callStream) Next() (wire.SSEEvent, error) {
	if l := t.first; l != nil {
		t.first = nil
		return wire.SSEEvent{Data: l.data}, nil
	}
	patience := t.c.s.owner.config.Timeout
	if t.c.listen {
		patience = 0
	}
	l, err := t.c.box.get(t.ctx, t.cut, patience)
	if err != nil {
		if !t.ended.Swap(true) {
			err = t.c.ended(t.ctx, err, patience)
		}
		return wire.SSEEvent{}, err
	}
	if l.last {
		t.ended.Store(true)
	}
	return wire.SSEEvent{Data: l.data}, nil
}

// Close implements Stream.
func (t *callStream) Close() error {
	t.once.Do(func() {
		close(t.cut)
		if !t.ended.Swap(true) {
			t.c.leave()
		}
	})
	return nil
}

// sideStream is the GET stream of a legacy session: what the child says outside any call.
type sideStream struct {
	ctx      context.Context
	s        *session
	cut      chan struct{} // closed by Close or by the next stream
	once     sync.Once
	replaced atomic.Bool
}

// listen opens the session's stream. A new one takes the place of the old, whose reader may be gone without anybody
// having noticed yet; what waits is delivered by the new one.
func (s *session) listen(ctx context.Context) (Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return nil, s.end
	}
	s.touch()
	if s.reader != nil {
		s.reader.replaced.Store(true)
		s.reader.leave()
	}
	s.reader = &sideStream{ctx: ctx, s: s, cut: make(chan struct{})}
	return s.reader, nil
}

func (t *sideStream) leave() { t.once.Do(func() { close(t.cut) }) }

// Next implements Stream. It waits as long as the child is silent.
func (t *sideStream) Next() (wire.SSEEvent, error) {
	l, err := t.s.aside.get(t.ctx, t.cut, 0)
	if errors.Is(err, errStreamClosed) && t.replaced.Load() {
		err = io.EOF
	}
	return wire.SSEEvent{Data: l.data}, err
}

// Close implements Stream.
func (t *sideStream) Close() error {
	t.leave()
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == t {
		s.reader = nil
		s.touch()
	}
	return nil
}
