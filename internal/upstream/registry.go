package upstream

import (
	"context"
	"errors"
	"sync"
)

// Why an exchange was cut before its end. They are wrapped in a sentinel when they are returned.
var (
	errEnded  = errors.New("the caller's access has ended")
	errClosed = errors.New("the upstream is being closed")

	errCrowded = errors.New("too many answers are being read for callers that have left")
)

// registry holds the exchanges under way, so that they can be ended and waited for.
type registry struct {
	mu     sync.Mutex
	live   map[*exchange]struct{} // guarded by mu
	closed bool                   // guarded by mu
	empty  chan struct{}          // closed when closed is set and live is empty
}

func newRegistry() *registry {
	return &registry{live: make(map[*exchange]struct{}), empty: make(chan struct{})}
}

// add reports false when the registry is closed.
func (g *registry) add(x *exchange) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.live[x] = struct{}{}
	}
	return !g.closed
}

// remove is called once for each exchange that was added.
func (g *registry) remove(x *exchange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.live, x)
	if g.closed && len(g.live) == 0 {
		close(g.empty)
	}
}

// end cuts the exchanges for which match is true. match is called under the lock and must not call back.
func (g *registry) end(match func(*exchange) bool, why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for x := range g.live {
		if match(x) {
			x.cancel(why)
		}
	}
}

// close cuts everything and waits until it is gone or ctx ends.
func (g *registry) close(ctx context.Context) error {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	if first && len(g.live) == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	g.end(func(*exchange) bool { return true }, errClosed)
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
