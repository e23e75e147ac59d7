// Package ratelimit computes token buckets. It is pure: the time is always given, nothing is read from a clock.
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

// Key names a bucket. It is comparable, so that looking one up allocates nothing.
type Key struct {
	Layer Layer
	ID    string
	Sub   string
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
