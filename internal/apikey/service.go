package apikey

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/secret"
)

// Config is what a Service needs.
type Config struct {
	// Store keeps the records. Required.
	Store Store
	// Roles reports whether a role exists. Nil: a key may be given any name; unknown roles grant nothing.
	Roles func(name string) bool
	// Now is the clock for Create and Revoke. Nil: time.Now.
	Now func() time.Time
	// Logger is told when last uses cannot be written. Nil: slog.Default().
	Logger *slog.Logger
}

// Service makes, checks and revokes API keys. All records are in memory: Check asks no store and works when the store is
// away, while Create and Revoke fail then and change nothing. It is safe for concurrent use.
type Service struct {
	store  Store
	roles  func(string) bool
	now    func() time.Time
	logger *slog.Logger

	changing chan struct{} // holds one token; held by whoever changes store and memory together
	mu       sync.RWMutex
	keys     map[string]*key // by id; guarded by mu, the keys themselves are immutable but for lastUsed

	stop    context.CancelFunc // ends the goroutine that writes last uses
	stopped chan struct{}      // closed when it has ended
}

// key is a record ready to be checked.
type key struct {
	record   Record // never changed; LastUsed is what the store had when it was read
	networks []netip.Prefix
	lastUsed atomic.Int64 // Unix nanoseconds; 0 means not since start
	written  atomic.Int64 // the lastUsed that the store has
}

// New loads every key and starts the goroutine that writes last uses. Close ends it.
func New(ctx context.Context, c Config) (*Service, error) {
	if c.Store == nil {
		return nil, errors.New("API keys need a store")
	}
	s := &Service{
		store: c.Store, roles: c.Roles, now: c.Now, logger: c.Logger,
		changing: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	if s.roles == nil {
		s.roles = func(string) bool { return true }
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if err := s.Reload(ctx); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.writeUses(background)
	return s, nil
}

// Reload reads every key from the store again. When it fails, the keys in memory stay as they are.
func (s *Service) Reload(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("loading API keys: %w", err)
	}
	defer s.unlock()
	records, err := s.store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("loading API keys: %w", err)
	}
	keys := make(map[string]*key, len(records))
	for _, r := range records {
		if keys[r.ID], err = compile(r); err != nil {
			return fmt.Errorf("loading API key %s: %w", r.ID, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, k := range keys {
		if old := s.keys[id]; old != nil {
			k.lastUsed.Store(old.lastUsed.Load())
			k.written.Store(old.written.Load())
		}
	}
	s.keys = keys
	return nil
}

// compile copies a record, so that nobody outside can change it, and parses its networks.
func compile(r Record) (*key, error) {
	r.Roles, r.Permissions, r.Networks = slices.Clone(r.Roles), slices.Clone(r.Permissions), slices.Clone(r.Networks)
	k := &key{record: r}
	for _, text := range r.Networks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("network %q: %w", text, err)
		}
		k.networks = append(k.networks, p)
	}
	return k, nil
}

// lock keeps two changes of store and memory from overtaking each other: else a Reload that read before a Revoke could
// bring the revoked key back to life.
func (s *Service) lock(ctx context.Context) error {
	select {
	case s.changing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) unlock() { <-s.changing }

func (s *Service) find(id string) *key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keys[id]
}

// Check says whose key text is. Errors are ErrMalformed, ErrUnknown, ErrRevoked, ErrExpired and ErrNetwork; with the last
// three the Record is that of the key, since its secret was right. The record's slices belong to the Service and must
// not be changed. An id that is not known takes as long as a wrong secret: both cost one hash and one comparison.
// The context is not used: nothing here waits.
func (s *Service) Check(_ context.Context, text secret.Text, from netip.Addr, now time.Time) (Record, error) {
	k, err := s.check(text, from, now)
	if k == nil {
		return Record{}, err
	}
	if err == nil {
		k.lastUsed.Store(now.UnixNano())
	}
	return k.record, err
}

// Peek is Check without counting as a use of the key.
func (s *Service) Peek(text secret.Text, from netip.Addr, now time.Time) bool {
	_, err := s.check(text, from, now)
	return err == nil
}

func (s *Service) check(text secret.Text, from netip.Addr, now time.Time) (*key, error) {
	id, ok := ParseID(text.Reveal())
	if !ok {
		return nil, ErrMalformed
	}
	k := s.find(id)
	var stored [sha256.Size]byte // no text hashes to all zeros as far as anybody knows
	if k != nil {
		stored = k.record.Hash
	}
	given := hash(text)
	if same := subtle.ConstantTimeCompare(given[:], stored[:]) == 1; !same || k == nil {
		return nil, ErrUnknown
	}
	if err := k.usable(now); err != nil {
		return k, err
	}
	if !k.allows(from) {
		return k, ErrNetwork
	}
	return k, nil
}

// Active reports whether the key with this id still exists and is neither revoked nor expired.
func (s *Service) Active(id string, now time.Time) bool {
	k := s.find(id)
	return k != nil && k.usable(now) == nil
}

// usable tells revoked from expired. A key ends at the very moment of its expiry.
func (k *key) usable(now time.Time) error {
	switch {
	case !k.record.Revoked.IsZero():
		return ErrRevoked
	case !k.record.Expires.IsZero() && !now.Before(k.record.Expires):
		return ErrExpired
	}
	return nil
}

// allows compares the address with the key's networks. Without networks any address will do, also none.
func (k *key) allows(from netip.Addr) bool {
	if k.record.Networks == nil {
		return true
	}
	from = from.Unmap().WithZone("")
	return slices.ContainsFunc(k.networks, func(p netip.Prefix) bool { return p.Contains(from) })
}

// hash is what is stored of a key, a text of textLen bytes. A fast hash is enough for 256 random bits.
func hash(text secret.Text) [sha256.Size]byte {
	var b [textLen]byte // on the stack; the whole key always fits
	return sha256.Sum256(b[:copy(b[:], text.Reveal())])
}
