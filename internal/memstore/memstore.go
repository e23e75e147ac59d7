// Package memstore keeps in memory what store/sqlite keeps on disk, and the token buckets of one process. For most uses
// [New] is the store of a library program without one of its own, and [NewBuckets] the limiter's.
//
// Nothing survives the process. Its invariant: every method is atomic, and no slice is shared with a caller.
package memstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/internal/token"
	"github.com/sallyport-mcp/sallyport/policy"
)

var (
	_ apikey.Store      = (*Store)(nil)
	_ token.Revocations = (*Store)(nil)
	_ policy.RoleStore  = (*Store)(nil)
	_ detect.Alerts     = (*Store)(nil)
)

// ErrClosed is returned by every method after Close.
var ErrClosed = errors.New("the store is closed")

// Store is the in-memory store. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex // guards all below
	closed  bool
	keys    []apikey.Record // in the order of creation
	revoked map[string]token.Revocation
	roles   map[string]policy.Role
	alerts  []detect.Alert // in the order of storing
}

// New makes an empty store.
func New() *Store {
	return &Store{revoked: make(map[string]token.Revocation), roles: make(map[string]policy.Role)}
}

// enter begins a method. The lock is held when it succeeds.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	return nil
}

// Ping reports whether the store is open.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	s.mu.Unlock()
	return nil
}

// Close forgets everything. A second call does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.keys, s.revoked, s.roles, s.alerts = nil, nil, nil, nil
	return nil
}

// CreateKey implements apikey.Store.
func (s *Store) CreateKey(ctx context.Context, r apikey.Record) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.key(r.ID) != nil {
		return errors.New("an API key with this id exists")
	}
	s.keys = append(s.keys, copyKey(r))
	return nil
}

// Keys implements apikey.Store. Keys created at the same time are in the order of storing.
func (s *Store) Keys(ctx context.Context) ([]apikey.Record, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	out := make([]apikey.Record, 0, len(s.keys))
	for _, r := range s.keys {
		out = append(out, copyKey(r))
	}
	slices.SortStableFunc(out, func(a, b apikey.Record) int { return a.Created.Compare(b.Created) })
	return out, nil
}

// RevokeKey implements apikey.Store.
func (s *Store) RevokeKey(ctx context.Context, id string, at time.Time) (bool, error) {
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	r := s.key(id)
	switch {
	case r == nil:
		return false, apikey.ErrNotFound
	case !r.Revoked.IsZero():
		return false, nil
	}
	r.Revoked = at
	return true, nil
}

// TouchKey implements apikey.Store.
func (s *Store) TouchKey(ctx context.Context, id string, at time.Time) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if r := s.key(id); r != nil && at.After(r.LastUsed) {
		r.LastUsed = at
	}
	return nil
}

// key returns the record itself; mu is held.
func (s *Store) key(id string) *apikey.Record {
	for i := range s.keys {
		if s.keys[i].ID == id {
			return &s.keys[i]
		}
	}
	return nil
}

func copyKey(r apikey.Record) apikey.Record {
	r.Roles, r.Permissions, r.Networks = slices.Clone(r.Roles), slices.Clone(r.Permissions), slices.Clone(r.Networks)
	return r
}

// RevokeToken implements token.Revocations.
func (s *Store) RevokeToken(ctx context.Context, r token.Revocation) (bool, error) {
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	if _, known := s.revoked[r.ID]; known {
		return false, nil
	}
	for id, old := range s.revoked { // what ended long ago is of no use to anybody
		if !r.At.Before(old.Until) {
			delete(s.revoked, id)
		}
	}
	s.revoked[r.ID] = r
	return true, nil
}

// RevokedTokens implements token.Revocations; the order is by time of revocation, then by id.
func (s *Store) RevokedTokens(ctx context.Context, now time.Time) ([]token.Revocation, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	out := []token.Revocation{}
	for _, r := range s.revoked {
		if r.Until.After(now) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b token.Revocation) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// StoredRoles implements policy.RoleStore.
func (s *Store) StoredRoles(ctx context.Context) ([]policy.Role, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	out := make([]policy.Role, 0, len(s.roles))
	for _, r := range s.roles {
		out = append(out, copyRole(r))
	}
	slices.SortFunc(out, func(a, b policy.Role) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// PutRole implements policy.RoleStore.
func (s *Store) PutRole(ctx context.Context, r policy.Role) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.roles[r.Name] = copyRole(r)
	return nil
}

// DeleteRole implements policy.RoleStore.
func (s *Store) DeleteRole(ctx context.Context, name string) (bool, error) {
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	_, known := s.roles[name]
	delete(s.roles, name)
	return known, nil
}

func copyRole(r policy.Role) policy.Role {
	r.Permissions, r.Inherits = slices.Clone(r.Permissions), slices.Clone(r.Inherits)
	return r
}

// PutAlert implements detect.Alerts.
func (s *Store) PutAlert(ctx context.Context, a detect.Alert) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.alerts, func(b detect.Alert) bool { return a.ID == b.ID }) {
		return errors.New("an alert with this id exists")
	}
	s.alerts = append(s.alerts, copyAlert(a))
	return nil
}

// AlertsBetween implements detect.Alerts. Of alerts at the same time the one stored last comes first.
func (s *Store) AlertsBetween(ctx context.Context, from, to time.Time) ([]detect.Alert, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	out := []detect.Alert{}
	for _, a := range slices.Backward(s.alerts) {
		if !a.Timestamp.Before(from) && a.Timestamp.Before(to) {
			out = append(out, copyAlert(a))
		}
	}
	slices.SortStableFunc(out, func(a, b detect.Alert) int { return b.Timestamp.Compare(a.Timestamp) })
	return out, nil
}

// DeleteAlertsBefore implements detect.Alerts.
func (s *Store) DeleteAlertsBefore(ctx context.Context, t time.Time) (int, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	before := len(s.alerts)
	s.alerts = slices.DeleteFunc(s.alerts, func(a detect.Alert) bool { return a.Timestamp.Before(t) })
	return before - len(s.alerts), nil
}

func copyAlert(a detect.Alert) detect.Alert {
	a.Context.Evidence = slices.Clone(a.Context.Evidence)
	return a
}
