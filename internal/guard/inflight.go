package guard

import (
	"sync"

	"github.com/sallyport-mcp/sallyport/policy"
)

// minInFlight is how many requests and streams every principal may have open at once, however small its bucket is.
const minInFlight = 64

// inFlight counts what principals have under way: a bucket bounds how fast streams are opened, not how many stay open.
// The zero value is ready to use. It remembers nobody who has nothing under way.
type inFlight struct {
	mu sync.Mutex
	n  map[identity]int
}

type identity struct{ issuer, subject string }

// enter counts one more, unless there are limit already.
func (f *inFlight) enter(p *policy.Principal, limit int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := identity{p.Issuer, p.Subject}
	if f.n[id] >= limit {
		return false
	}
	if f.n == nil {
		f.n = map[identity]int{}
	}
	f.n[id]++
	return true
}

func (f *inFlight) leave(p *policy.Principal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := identity{p.Issuer, p.Subject}
	if f.n[id]--; f.n[id] <= 0 {
		delete(f.n, id)
	}
}
