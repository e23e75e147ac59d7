package upstream

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Back-off for children that keep dying young: the first few are free, since a client may well have caused one.
const (
	youngDeath   = 10 * time.Second // a child that lived longer was no crash
	freeCrashes  = 3
	firstBackOff = time.Second
	maxBackOff   = 30 * time.Second
	maxCrashes   = 4096 // principals remembered
)

// crashes counts the young deaths in a row of one principal's children. Nobody else is held back by them.
type crashes struct {
	n     int
	until time.Time // no child is started before
}

// find returns the session with an id, if it is p's.
func (u *stdio) find(id string, p *policy.Principal) (*session, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.legacy[id]
	if s == nil || s.principal.ID() != p.ID() {
		return nil, ErrSessionGone
	}
	if err := s.alive(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSessionGone, err)
	}
	return s, nil
}

// shared returns the child of p's modern calls, starting it if there is none.
func (u *stdio) shared(p *policy.Principal) (*session, error) {
	u.mu.Lock()
	s := u.modern[p.ID()]
	u.mu.Unlock()
	if s == nil || s.alive() != nil {
		return u.open(wire.Modern, p)
	}
	<-s.ready
	return s, s.failed
}

// open starts a child, making room for it if need be. Of two modern calls that come at once the second waits for the
// child of the first.
func (u *stdio) open(era wire.Era, p *policy.Principal) (*session, error) {
	s := newSession(u, era, p, mintID())
	other, err := u.admit(s)
	if err != nil {
		return nil, err
	}
	if other != nil {
		<-other.ready
		return other, other.failed
	}
	if err := s.start(); err != nil {
		s.fail(err)
		u.forget(s)
		return nil, err
	}
	if err := s.alive(); err != nil { // ended while it started
		return nil, err
	}
	return s, nil
}

// admit enters s into the books. other is set instead when the principal's modern child exists by now.
func (u *stdio) admit(s *session) (other *session, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, errClosed)
	}
	key := s.principal.ID()
	if other := u.modern[key]; s.era == wire.Modern && other != nil && other.alive() == nil {
		return other, nil
	}
	if c := u.crashes[key]; c != nil && u.config.Now().Before(c.until) {
		return nil, fmt.Errorf("%w: its children keep dying; none is started for a while", ErrUnavailable)
	}
	if err := u.makeRoom(key); err != nil {
		return nil, err
	}
	u.live[s] = struct{}{}
	if s.era == wire.Modern {
		u.modern[key] = s
	} else {
		u.legacy[s.id] = s
	}
	return nil, nil
}

// makeRoom ends the longest idle session of the principal when a bound is reached; ErrBusy when it has none. Sessions
// that are ending already do not count, or a client that starts anew would be refused for seconds; their children
// number at most as many again. The lock is held.
func (u *stdio) makeRoom(principal string) error {
	total, own := 0, 0
	var oldest *session
	var since time.Time
	for s := range u.live {
		if s.alive() != nil {
			continue
		}
		total++
		if s.principal.ID() != principal {
			continue
		}
		own++
		if last, idle := s.idleSince(); idle && (oldest == nil || last.Before(since)) {
			oldest, since = s, last
		}
	}
	if total < u.config.MaxChildren && own < u.config.MaxPerPrincipal && len(u.live) < 2*u.config.MaxChildren {
		return nil
	}
	if oldest == nil || len(u.live) >= 2*u.config.MaxChildren {
		return fmt.Errorf("%w: %d of %d children, %d of %d of this caller", ErrBusy,
			total, u.config.MaxChildren, own, u.config.MaxPerPrincipal)
	}
	u.config.Logger.Warn("an idle session was ended to make room for another of the same caller",
		"children", total, "of_caller", own)
	oldest.stop(fmt.Errorf("%w: it was idle and made room", ErrSessionGone), false)
	return nil
}

// forget takes a session whose child is gone out of the books.
func (u *stdio) forget(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.live, s)
	delete(u.legacy, s.id)
	key := s.principal.ID()
	if u.modern[key] == s {
		delete(u.modern, key)
	}
	u.noteDeath(s, key)
	if u.closed && len(u.live) == 0 {
		u.emptied()
	}
}

// noteDeath keeps the crash count. Only a death that nobody asked for counts. The lock is held.
func (u *stdio) noteDeath(s *session, key string) {
	now := u.config.Now()
	if now.Sub(s.started) >= youngDeath {
		delete(u.crashes, key)
		return
	}
	if !s.crashed.Load() {
		return
	}
	if len(u.crashes) >= maxCrashes {
		for k, c := range u.crashes {
			if now.After(c.until) {
				delete(u.crashes, k)
			}
		}
	}
	c := u.crashes[key]
	if c == nil {
		if len(u.crashes) >= maxCrashes {
			return
		}
		c = new(crashes)
		u.crashes[key] = c
	}
	if c.n++; c.n > freeCrashes {
		c.until = now.Add(min(firstBackOff<<min(c.n-freeCrashes-1, 8), maxBackOff))
	}
}

// emptied ends what the children shared. The lock is held; it happens once.
func (u *stdio) emptied() {
	go func() {
		u.spawner.stop()
		close(u.empty)
	}()
}

// mintID makes a session id: 256 random bits, as MCP wants them unguessable.
func mintID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}
