package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// errStreamClosed is what Next returns after Close.
var errStreamClosed = fmt.Errorf("%w: the stream was closed here", ErrUnavailable)

// httpStream hands out the events of an SSE answer. The exchange's goroutine reads them (pump), one for each call of
// Next, so that the reader can leave in the middle of an event and the answer can still be read to its end.
//
// A caller that reads up to io.EOF lets the connection be used again.
type httpStream struct {
	x      *exchange
	body   io.Reader
	reader *wire.SSEReader
	want   chan struct{} // Next asks for one event
	events chan event    // pump gives it
	gone   chan struct{} // closed by abandon
	once   sync.Once
	done   chan struct{} // closed when pump has ended
	final  error         // what Next says from now on; owned by the goroutine of Next
}

type event struct {
	wire.SSEEvent
	err error
}

func newHTTPStream(x *exchange, body io.Reader) *httpStream {
	return &httpStream{
		x: x, body: body, reader: wire.NewSSEReader(body, int(x.upstream.max)),
		want: make(chan struct{}), events: make(chan event), gone: make(chan struct{}), done: make(chan struct{}),
	}
}

// Next implements Stream.
func (s *httpStream) Next() (wire.SSEEvent, error) {
	if s.final != nil {
		return wire.SSEEvent{}, s.final
	}
	select {
	case s.want <- struct{}{}:
	case <-s.gone:
		return wire.SSEEvent{}, s.end(errStreamClosed)
	case <-s.x.caller.Done():
		return wire.SSEEvent{}, s.end(callerLeft(s.x.caller))
	case <-s.done:
		return wire.SSEEvent{}, s.end(s.x.reason(context.Cause(s.x.ctx)))
	}
	select {
	case e := <-s.events:
		if e.err != nil {
			return wire.SSEEvent{}, s.end(e.err)
		}
		return e.SSEEvent, nil
	case <-s.gone:
		return wire.SSEEvent{}, s.end(errStreamClosed)
	case <-s.x.caller.Done():
		return wire.SSEEvent{}, s.end(callerLeft(s.x.caller))
	}
}

func (s *httpStream) end(err error) error {
	s.final = err
	return err
}

// Close implements Stream. In the modern era it cancels the call; in the legacy era the rest of the answer is read and
// dropped in the background.
func (s *httpStream) Close() error {
	s.abandon()
	return nil
}

func (s *httpStream) abandon() {
	s.once.Do(func() {
		close(s.gone)
		s.x.desert()
	})
}

// pump reads an event whenever one is wanted, until the stream ends or nobody wants any more.
func (s *httpStream) pump() {
	defer close(s.done)
	for {
		select {
		case <-s.want:
		case <-s.x.ctx.Done():
			return
		case <-s.x.caller.Done():
			s.abandon()
			s.drain()
			return
		case <-s.gone:
			s.drain()
			return
		}
		e, err := s.read()
		select {
		case s.events <- event{e, err}:
		case <-s.gone:
		case <-s.x.caller.Done():
			s.abandon()
		}
		if err != nil {
			return
		}
	}
}

// read waits for the next event, at most one timeout unless silence is in order. The clock stands still while the
// caller is busy with the last one: a slow client is not the server's fault.
func (s *httpStream) read() (wire.SSEEvent, error) {
	if !s.x.patient {
		s.x.timer.Reset(s.x.upstream.timeout)
		defer s.x.timer.Stop()
	}
	e, err := s.reader.Next()
	switch {
	case err == nil, errors.Is(err, io.EOF) && context.Cause(s.x.ctx) == nil:
		return e, err
	case errors.Is(err, wire.ErrSSETooLarge):
		return e, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return e, s.x.reason(err)
}

// drain reads what is left and drops it, within one timeout. It goes past the reader, whose buffer still holds the last
// event: whoever left may be in the middle of it.
func (s *httpStream) drain() {
	s.x.timer.Reset(s.x.upstream.timeout)
	_, _ = io.Copy(io.Discard, s.body) // until it ends or is cut
}
