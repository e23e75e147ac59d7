package guard

import (
	"crypto/sha256"
	"io"
	"sync"
	"time"
)

// repeatWindow is how soon a client repeats a refused request by itself (the Go SDK's client repeats every 403 once).
const repeatWindow = 2 * time.Second

// maxRepeats bounds the table; callers are authenticated, but there may be many.
const maxRepeats = 4096

// repeats remembers refusals for a moment, so that an automatic repetition is recorded but counted once.
// The zero value is ready to use. Where the table is full, repetitions are counted: strict, never blind.
type repeats struct {
	mu   sync.Mutex
	last map[[32]byte]time.Time
}

// seen reports whether the same refusal happened within the window. The second of a pair ends it: a third is counted.
func (r *repeats) seen(fingerprint [32]byte, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.last[fingerprint]; ok && now.Sub(at) >= 0 && now.Sub(at) <= repeatWindow {
		delete(r.last, fingerprint)
		return true
	}
	if len(r.last) >= maxRepeats {
		for f, at := range r.last {
			if now.Sub(at) > repeatWindow || now.Before(at) {
				delete(r.last, f)
			}
		}
		if len(r.last) >= maxRepeats {
			return false
		}
	}
	if r.last == nil {
		r.last = map[[32]byte]time.Time{}
	}
	r.last[fingerprint] = now
	return false
}

// fingerprint identifies a caller's message: who, in which session, with which bytes (the id is among them).
func (c *Caller) fingerprint(m Meta) [32]byte {
	h := sha256.New()
	for _, part := range []string{c.server, c.Principal.ID(), m.Session} {
		_, _ = io.WriteString(h, part+"\x00") // a hash never fails
	}
	_, _ = h.Write(m.Body)
	return [32]byte(h.Sum(nil))
}
