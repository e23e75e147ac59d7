// Package ratelimit computes token buckets and says which buckets a request draws from. For most uses make a Table from
// the operator's Limits and hand the draws it lists to a Buckets. It keeps no buckets itself, and decides nothing but
// whether a bucket has enough. It is pure: the time is always given, nothing is read from a clock.
//
// Its invariant: within any span of time a bucket grants at most its capacity plus its refill over that span.
package ratelimit

import (
	"context"
	"time"
)

// Limit is a token bucket: Capacity tokens at most, Refill tokens a second. The zero Limit means no limit.
type Limit struct {
	Capacity float64
	Refill   float64
}

// Layer names one row of the table of layers.
type Layer uint8

// The layers, in the order they are asked.
const (
	Global                Layer = iota + 1
	GlobalUnauthenticated       // half of the global bucket, for requests without an accepted credential
	Address                     // IPv4 address or IPv6 /64
	AddressWide                 // IPv6 /48
	FailedAuth                  // failed authentications of an address
	PrincipalLayer
	Tool
	PrincipalTool
)

// String returns the layer's name, as records show it; "unknown" for what is no layer.
func (l Layer) String() string {
	names := [...]string{"unknown", "global", "global_unauthenticated", "address", "address_wide", "failed_auth", "principal", "tool", "principal_tool"}
	if int(l) >= len(names) {
		return names[0]
	}
	return names[l]
}

// Key names a bucket. It is comparable, so that looking one up allocates nothing. All fields together are the name: a
// store that writes keys as text must keep them apart (IDs may contain any byte).
type Key struct {
	Layer  Layer
	ID     string // address group or principal; empty for Global and Tool
	Sub    string // tool
	Server string // server of the tool
}

// Draw asks for Cost tokens of one bucket.
type Draw struct {
	Key   Key
	Limit Limit
	Cost  float64
}

// Verdict is the answer to one Take.
type Verdict struct {
	OK         bool
	Refused    int           // index of the draw that refused, when not OK
	RetryAfter time.Duration // when the refused draw could succeed, when not OK; Never when it never could
}

// Buckets holds token buckets. Implementations are safe for concurrent use and bounded in memory: keys are chosen by
// attackers.
type Buckets interface {
	// Take draws from all buckets or from none.
	Take(ctx context.Context, now time.Time, draws []Draw) (Verdict, error)
	// Refund gives back what a Take drew. It never fills a bucket above its capacity.
	Refund(ctx context.Context, now time.Time, draws []Draw) error
}
