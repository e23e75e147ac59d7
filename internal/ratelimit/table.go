package ratelimit

import (
	"fmt"
	"maps"
	"slices"
)

// guest is the role whose limit holds for callers without a role that has one.
const guest = "guest"

// wide is how many times the limit of an address an IPv6 /48 gets.
const wide = 4

// Limits are the operator's token buckets. A zero Limit in a field means its default; Unlimited switches a layer off.
type Limits struct {
	Global        Limit            // default 2000 at 2000/s
	Address       Limit            // default 300 at 50/s; an IPv6 /48 gets four times as much
	FailedAuth    Limit            // per address; default 20 at 20 per 15 min
	PrincipalTool Limit            // default 100 at 10/s
	Tool          Limit            // default 1000 at 200/s
	Roles         map[string]Limit // per principal; defaults guest 50 at 1/s, user 200 at 5/s, premium 1000 at 20/s, admin 5000 at 100/s
}

// Defaults returns the limits that hold where the operator says nothing.
func Defaults() Limits {
	return Limits{
		Global:        Limit{Capacity: 2000, Refill: 2000},
		Address:       Limit{Capacity: 300, Refill: 50},
		FailedAuth:    Limit{Capacity: 20, Refill: 20.0 / 900},
		PrincipalTool: Limit{Capacity: 100, Refill: 10},
		Tool:          Limit{Capacity: 1000, Refill: 200},
		Roles: map[string]Limit{
			guest:     {Capacity: 50, Refill: 1},
			"user":    {Capacity: 200, Refill: 5},
			"premium": {Capacity: 1000, Refill: 20},
			"admin":   {Capacity: 5000, Refill: 100},
		},
	}
}

// Table lists the buckets a request draws from. It is immutable and safe for concurrent use. Its methods append to a
// slice of the caller, so that nothing is allocated; layers without limit are left out.
type Table struct {
	limits          Limits // complete: defaults filled in
	unauthenticated Limit
	addressWide     Limit
}

// NewTable returns the table for l, with defaults filled in. Roles are added to the default roles; one of the same name
// replaces the default. It refuses limits that Validate refuses, and a global capacity under 2, of which half could not
// be drawn.
func NewTable(l Limits) (*Table, error) {
	full, err := complete(l)
	if err != nil {
		return nil, err
	}
	t := &Table{limits: full, unauthenticated: full.Global.times(0.5), addressWide: full.Address.times(wide)}
	if !t.unauthenticated.IsUnlimited() && t.unauthenticated.Capacity < 1 {
		return nil, fmt.Errorf("limit global: capacity %v: must be at least 2", full.Global.Capacity)
	}
	return t, nil
}

// complete fills in the defaults and checks every limit.
func complete(l Limits) (Limits, error) {
	full := Defaults()
	for _, row := range []struct {
		name string
		from Limit
		to   *Limit
	}{
		{"global", l.Global, &full.Global},
		{"address", l.Address, &full.Address},
		{"failed_auth", l.FailedAuth, &full.FailedAuth},
		{"principal_tool", l.PrincipalTool, &full.PrincipalTool},
		{"tool", l.Tool, &full.Tool},
	} {
		if err := row.from.Validate(); err != nil {
			return Limits{}, fmt.Errorf("limit %s: %w", row.name, err)
		}
		if row.from != (Limit{}) {
			*row.to = row.from
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Roles)) {
		limit := l.Roles[name]
		if err := limit.Validate(); err != nil {
			return Limits{}, fmt.Errorf("limit of role %q: %w", name, err)
		}
		if limit != (Limit{}) {
			full.Roles[name] = limit
		}
	}
	return full, nil
}

// Admission appends the draws of the first step, before anything is verified: the whole gateway, the address (an IPv4
// address or IPv6 /64) and its wider group (an IPv6 /48; empty: none). authenticated says that the credential is known
// to be good without any work, because it is in a cache; all other requests together get half of the global bucket.
func (t *Table) Admission(dst []Draw, addr64, addr48 string, authenticated bool) []Draw {
	dst = draw(dst, t.limits.Global, Key{Layer: Global})
	if !authenticated {
		dst = draw(dst, t.unauthenticated, Key{Layer: GlobalUnauthenticated})
	}
	dst = draw(dst, t.limits.Address, Key{Layer: Address, ID: addr64})
	if addr48 != "" {
		dst = draw(dst, t.addressWide, Key{Layer: AddressWide, ID: addr48})
	}
	return dst
}

// FailedAuth appends the draw that is made when an authentication failed, and only then: an empty bucket turns the 401
// of further failures into 429, while a good credential from the same address is still accepted.
func (t *Table) FailedAuth(dst []Draw, addr64 string) []Draw {
	return draw(dst, t.limits.FailedAuth, Key{Layer: FailedAuth, ID: addr64})
}

// Call appends the draws of the second step: the principal, the tool, and the two together. Without a tool (a list, a
// ping) it is the principal only. The principal's limit is the most generous one of its roles: the one that refills
// fastest, then the one that holds most. Roles without a limit count for nothing; when none is left, guest's holds.
func (t *Table) Call(dst []Draw, principalID string, roles []string, server, tool string) []Draw {
	dst = draw(dst, t.Role(roles), Key{Layer: PrincipalLayer, ID: principalID})
	if tool == "" {
		return dst
	}
	dst = draw(dst, t.limits.Tool, Key{Layer: Tool, Sub: tool, Server: server})
	return draw(dst, t.limits.PrincipalTool, Key{Layer: PrincipalTool, ID: principalID, Sub: tool, Server: server})
}

// Role returns the limit of a principal with these roles.
func (t *Table) Role(roles []string) Limit {
	var best Limit
	found := false
	for _, r := range roles {
		l, ok := t.limits.Roles[r]
		if ok && (!found || l.moreThan(best)) {
			best, found = l, true
		}
	}
	if !found {
		return t.limits.Roles[guest]
	}
	return best
}

// draw appends a draw of one token unless the layer has no limit.
func draw(dst []Draw, l Limit, k Key) []Draw {
	if l.IsUnlimited() {
		return dst
	}
	return append(dst, Draw{Key: k, Limit: l, Cost: 1})
}

// moreThan reports whether l is more generous than m.
func (l Limit) moreThan(m Limit) bool {
	if l.IsUnlimited() || m.IsUnlimited() {
		return l.IsUnlimited() && !m.IsUnlimited()
	}
	if l.Refill != m.Refill {
		return l.Refill > m.Refill
	}
	return l.Capacity > m.Capacity
}

// times returns l with both numbers multiplied.
func (l Limit) times(f float64) Limit { return Limit{Capacity: l.Capacity * f, Refill: l.Refill * f} }
