package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ErrNotOurs is returned by Revoke for what is neither a token issued here nor of the form of a token id.
var ErrNotOurs = errors.New("neither a token issued here nor a token id")

// revokedLonger is how long a revocation outlives its token, so that a clock set back does not bring the token to life.
const revokedLonger = 24 * time.Hour

// Revoke takes back one token, named by its id (jti) or by its whole text, for this process at once. It reports whether
// this call did it: false for one revoked or expired before. An id is taken as it is, since tokens are not stored. When
// the store fails, nothing changes and Revoke may be called again, also if the store did write it.
func (s *Service) Revoke(ctx context.Context, idOrText string) (bool, error) {
	now := s.now().UTC()
	r := Revocation{ID: idOrText, At: now, Until: now.Add(MaxTTL + revokedLonger)}
	if strings.Contains(idOrText, ".") {
		claims, err := s.open(idOrText)
		if err != nil {
			return false, ErrNotOurs
		}
		if !now.Before(claims.Expires) {
			return false, nil
		}
		r.ID, r.Subject, r.Until = claims.ID, claims.Subject, claims.Expires.Add(revokedLonger)
	}
	if id, err := canonical(r.ID); err != nil || len(id) != idBytes {
		return false, ErrNotOurs // not shown: it may be a secret given by mistake
	}
	return s.revoked.add(ctx, r)
}

// Revoked reports whether the token with this id was taken back.
func (s *Service) Revoked(id string) bool { return s.revoked.has(id) }

// revocations is the list in memory, written through to the store.
type revocations struct {
	store    Revocations
	changing chan struct{} // holds one token; held while store and memory change together

	mu    sync.RWMutex
	until map[string]time.Time // by token id; guarded by mu
}

func newRevocations(store Revocations) *revocations {
	return &revocations{store: store, changing: make(chan struct{}, 1), until: make(map[string]time.Time)}
}

func (l *revocations) has(id string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, ok := l.until[id]
	return ok
}

// lock keeps a load from overwriting what an add put in meanwhile.
func (l *revocations) lock(ctx context.Context) error {
	select {
	case l.changing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *revocations) unlock() { <-l.changing }

func (l *revocations) load(ctx context.Context, now time.Time) error {
	if err := l.lock(ctx); err != nil {
		return fmt.Errorf("loading revoked tokens: %w", err)
	}
	defer l.unlock()
	list, err := l.store.RevokedTokens(ctx, now)
	if err != nil {
		return fmt.Errorf("loading revoked tokens: %w", err)
	}
	until := make(map[string]time.Time, len(list))
	for _, r := range list {
		until[r.ID] = r.Until
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
	return nil
}

// add stores a revocation and then remembers it, also when the store had it already: an earlier call may have failed
// after writing.
func (l *revocations) add(ctx context.Context, r Revocation) (bool, error) {
	if err := l.lock(ctx); err != nil {
		return false, fmt.Errorf("revoking token %s: %w", r.ID, err)
	}
	defer l.unlock()
	did, err := l.store.RevokeToken(ctx, r)
	if err != nil {
		return false, fmt.Errorf("revoking token %s: %w", r.ID, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, until := range l.until { // what has ended need not be remembered
		if !r.At.Before(until) {
			delete(l.until, id)
		}
	}
	l.until[r.ID] = r.Until
	return did, nil
}
