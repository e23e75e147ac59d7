package gateway

import (
	"context"
	"errors"
	"sync"

	"github.com/sallyport-mcp/sallyport/internal/guard"
	"github.com/sallyport-mcp/sallyport/policy"
)

var (
	errRevoked  = errors.New("the caller may no longer be served")
	errStopping = errors.New("the gateway is stopping")
)

// live is the table of what is in progress, so that it can be ended. The zero value is ready to use.
type live struct {
	mu     sync.Mutex
	visits map[*visit]struct{}
}

// visit is one granted request in progress.
type visit struct {
	grant  *guard.Grant
	cancel context.CancelCauseFunc
}

// enter adds a request. The context ends when the caller may no longer be served; leave must be called.
func (l *live) enter(ctx context.Context, grant *guard.Grant) (_ context.Context, leave func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	v := &visit{grant: grant, cancel: cancel}
	l.mu.Lock()
	if l.visits == nil {
		l.visits = map[*visit]struct{}{}
	}
	l.visits[v] = struct{}{}
	l.mu.Unlock()
	return ctx, func() {
		l.mu.Lock()
		delete(l.visits, v)
		l.mu.Unlock()
		cancel(nil)
	}
}

// sweep ends every request for which valid is false. valid is asked without the lock.
func (l *live) sweep(valid func(*visit) bool) {
	l.mu.Lock()
	visits := make([]*visit, 0, len(l.visits))
	for v := range l.visits {
		visits = append(visits, v)
	}
	l.mu.Unlock()
	for _, v := range visits {
		if !valid(v) {
			v.cancel(errRevoked)
		}
	}
}

func (l *live) endAll(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for v := range l.visits {
		v.cancel(cause)
	}
}

func (l *live) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.visits)
}

// invalid returns the test for principals that a server's children and sessions must no longer be held for.
func (g *Gateway) invalid(ctx context.Context, server string) func(*policy.Principal) bool {
	return func(p *policy.Principal) bool { return !g.guard.Valid(ctx, p, server) }
}
