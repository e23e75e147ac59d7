package token

import (
	"crypto/sha256"
	"sync"
	"time"
)

// derived holds a value computed from a verified token, once.
type derived struct {
	once  sync.Once
	value any
}

// Derived returns what from makes of the claims. It is made by the first call, and lives as long as the cache remembers
// the token; later calls get the same value whatever they pass.
func (v *Verified) Derived(from func(*Claims) any) any {
	v.derived.once.Do(func() { v.derived.value = from(&v.Claims) })
	return v.derived.value
}

// cache remembers tokens whose signature was good, by the SHA-256 of their text, so that a forger can neither fill it nor
// collide in it. What it returns has still to be checked against the clock, the audience and the revocations.
type cache struct {
	max int

	mu     sync.RWMutex
	tokens map[[sha256.Size]byte]*Verified // guarded by mu
}

func newCache(max int) *cache {
	return &cache{max: max, tokens: make(map[[sha256.Size]byte]*Verified)}
}

func (c *cache) get(sum [sha256.Size]byte) *Verified {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.tokens[sum]
}

// put remembers a token and returns the one to use: of two that verified the same text at once the first one stays. At
// the cap one of a few arbitrary tokens goes, the one that ends first.
func (c *cache) put(sum [sha256.Size]byte, v *Verified, now time.Time) *Verified {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := c.tokens[sum]; first != nil {
		return first
	}
	if len(c.tokens) >= c.max {
		c.evict(now)
	}
	c.tokens[sum] = v
	return v
}

// evict removes one token; c.mu is held. Map order is random enough, since nobody but the issuer chooses the keys.
func (c *cache) evict(now time.Time) {
	const sample = 8
	var victim [sha256.Size]byte
	var ends time.Time
	seen := 0
	for sum, v := range c.tokens {
		if seen == 0 || v.Expires.Before(ends) {
			victim, ends = sum, v.Expires
		}
		if seen++; seen == sample || !now.Before(ends) {
			break
		}
	}
	delete(c.tokens, victim)
}
