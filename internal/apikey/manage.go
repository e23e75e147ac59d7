package apikey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/policy"
)

const (
	// DefaultTTL is the life of a key whose Spec does not say.
	DefaultTTL = 90 * 24 * time.Hour

	maxName = 128 // bytes of a key's readable name
	maxList = 256 // entries of each list of a Spec
)

// Spec is what a new key should be.
type Spec struct {
	// Name is for people: who or what holds the key. Required, at most 128 bytes.
	Name string
	// Roles are what the key may do. At least one.
	Roles []string
	// Permissions are patterns that narrow the roles. Nil narrows nothing; empty but not nil leaves nothing.
	Permissions []string
	// Networks are the CIDR ranges the key may be used from. Empty: any address.
	Networks []string
	// TTL is the life of the key. 0: 90 days. Negative: it never expires.
	TTL time.Duration
}

// Create makes a key. Its text is returned this once; only a hash of it is kept. When the store fails, the key does not
// exist for this process, even if the store did write it.
func (s *Service) Create(ctx context.Context, spec Spec) (secret.Text, Record, error) {
	networks, err := s.validate(&spec)
	if err != nil {
		return secret.Text{}, Record{}, err
	}
	id, text := mint()
	now := s.now().UTC()
	r := Record{
		ID: id, Name: spec.Name, Hash: hash(text), Roles: spec.Roles, Permissions: spec.Permissions,
		Networks: networks, Created: now,
	}
	switch {
	case spec.TTL == 0:
		r.Expires = now.Add(DefaultTTL)
	case spec.TTL > 0:
		r.Expires = now.Add(spec.TTL)
	}
	k, err := compile(r)
	if err != nil {
		return secret.Text{}, Record{}, err
	}
	if err := s.lock(ctx); err != nil {
		return secret.Text{}, Record{}, fmt.Errorf("storing API key %s: %w", id, err)
	}
	defer s.unlock()
	if err := s.store.CreateKey(ctx, k.record); err != nil {
		return secret.Text{}, Record{}, fmt.Errorf("storing API key %s: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[id] = k
	return text, k.record.clone(), nil
}

// validate checks a Spec and returns its networks in canonical form.
func (s *Service) validate(spec *Spec) ([]string, error) {
	if n := len(spec.Name); n == 0 || n > maxName || strings.ContainsFunc(spec.Name, unprintable) {
		return nil, fmt.Errorf("name of an API key: must be 1 to %d printable bytes", maxName)
	}
	if len(spec.Roles) == 0 {
		return nil, errors.New("an API key needs at least one role")
	}
	if max(len(spec.Roles), len(spec.Permissions), len(spec.Networks)) > maxList {
		return nil, fmt.Errorf("an API key has at most %d roles, permissions and networks each", maxList)
	}
	for _, role := range spec.Roles {
		if !s.roles(role) {
			return nil, fmt.Errorf("unknown role %q", role)
		}
	}
	for _, p := range spec.Permissions {
		if err := policy.ValidPattern(p); err != nil {
			return nil, fmt.Errorf("permission %q: %w", p, err)
		}
	}
	var networks []string
	for _, text := range spec.Networks {
		n, err := network(text)
		if err != nil {
			return nil, err
		}
		networks = append(networks, n)
	}
	return networks, nil
}

func unprintable(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }

// network parses a CIDR range or a single address. Bits set behind the prefix are refused, since one of the two was
// surely not meant; IPv4-mapped forms become IPv4, which is what addresses are compared in.
func network(text string) (string, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()).String(), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return "", fmt.Errorf("network %q: not a CIDR range such as 192.0.2.0/24", text)
	case p != p.Masked():
		return "", fmt.Errorf("network %q: has address bits behind the prefix; did you mean %s?", text, p.Masked())
	case p.Addr().Is4In6() && p.Bits() >= 96:
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.String(), nil
}

// Revoke takes a key back, for this process at once, and reports whether this call did it: false for one revoked before.
// An unknown id is ErrNotFound. When the store fails, the key stays as it was and Revoke may be called again, also if
// the store did write it.
func (s *Service) Revoke(ctx context.Context, id string) (bool, error) {
	if err := s.lock(ctx); err != nil {
		return false, fmt.Errorf("revoking API key %q: %w", id, err)
	}
	defer s.unlock()
	at := s.now().UTC()
	did, err := s.store.RevokeKey(ctx, id, at)
	if err != nil {
		return false, fmt.Errorf("revoking API key %q: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[id]
	if k == nil || !k.record.Revoked.IsZero() {
		return did, nil
	}
	revoked := &key{record: k.record, networks: k.networks}
	revoked.record.Revoked = at
	revoked.lastUsed.Store(k.lastUsed.Load())
	revoked.written.Store(k.written.Load())
	s.keys[id] = revoked
	return did, nil
}

// List returns every key, oldest first, with the last use this process knows of. The records are the caller's own.
func (s *Service) List() []Record {
	s.mu.RLock()
	defer s.mu.RUnlock()
	records := make([]Record, 0, len(s.keys))
	for _, k := range s.keys {
		r := k.record.clone()
		if used := k.lastUsed.Load(); used != 0 {
			r.LastUsed = time.Unix(0, used).UTC()
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b Record) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return records
}

func (r Record) clone() Record {
	r.Roles, r.Permissions, r.Networks = slices.Clone(r.Roles), slices.Clone(r.Permissions), slices.Clone(r.Networks)
	return r
}
