package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Never is the wait for a draw that cannot succeed at any time, because it costs more than the bucket can hold.
const Never time.Duration = math.MaxInt64

const (
	// maxRefill keeps the interval of one token at 100 ns or more, so that rounding it up to whole nanoseconds costs at
	// most 1 % of the rate.
	maxRefill = 1e7
	// maxSpan is the longest time an empty bucket may need to become full. It bounds what a mistyped refill can do, and
	// keeps every sum below far from overflow.
	maxSpan = 366 * 24 * time.Hour
)

// Unlimited returns the Limit that refuses nothing. Where the zero Limit stands for a default (Limits), this is how a
// layer is switched off.
func Unlimited() Limit { return Limit{Capacity: math.Inf(1)} }

// IsUnlimited reports whether l refuses nothing: the zero Limit, or an infinite capacity.
func (l Limit) IsUnlimited() bool { return l == Limit{} || math.IsInf(l.Capacity, 1) }

// Validate reports what makes l unusable: a capacity under 1 (no ordinary draw would ever succeed), a refill that is
// not above 0 and at most 10 million a second, or more than 366 days from empty to full. Limits without limit are valid.
func (l Limit) Validate() error {
	switch {
	case l.IsUnlimited():
		return nil
	case !(l.Capacity >= 1): // the negation catches NaN
		return fmt.Errorf("capacity %v: must be at least 1", l.Capacity)
	case !(l.Refill > 0 && l.Refill <= maxRefill):
		return fmt.Errorf("refill %v: must be above 0 and at most %d a second", l.Refill, int(maxRefill))
	case l.Capacity/l.Refill > maxSpan.Seconds():
		return errors.New("an empty bucket would need more than 366 days to become full")
	}
	return nil
}

// State is one bucket, in the form of the generic cell rate algorithm (ITU-T I.371): a single time says how full it is.
// The zero State is a full bucket, so a missing bucket and a full one are the same. A State is a plain value: one
// int64, which a store may swap atomically.
type State struct {
	// TAT is the theoretical arrival time in Unix nanoseconds: when the bucket will be full again if nobody draws. Zero,
	// or a time past, is a full bucket.
	TAT int64
}

// Take draws cost tokens at the time now. When ok, next is the bucket afterwards. When not, next equals s, and
// retryAfter is the shortest wait after which the same draw succeeds if nobody else draws: one nanosecond less and it
// is refused again. It is Never when cost is above the capacity.
//
// A cost of 0 always succeeds and changes nothing; a negative cost or one that is no number, and a Limit that Validate
// refuses, are refused with Never: a mistake must not open the gate.
//
// When now lies before the time of an earlier Take, nothing is refilled: the bucket looks as much emptier as the clock
// went back. A store in one process should pass Steady times, which do not go back.
func (s State) Take(now time.Time, l Limit, cost float64) (next State, ok bool, retryAfter time.Duration) {
	if !(cost >= 0) {
		return s, false, Never
	}
	if cost == 0 || l.IsUnlimited() {
		return s, true, 0
	}
	token, valid := l.interval()
	if !valid || cost > l.Capacity {
		return s, false, Never
	}
	at := nanos(now)
	room := floor(l.Capacity * token)
	debt := min(ceil(cost*token), room) // a draw of all of a fractional capacity must not miss by a rounding
	tat := add(s.at(at), debt)
	if early := sub(tat, add(at, room)); early > 0 {
		return s, false, time.Duration(early)
	}
	return State{TAT: nonZero(tat)}, true, 0
}

// Refund gives back cost tokens that a Take under the same Limit drew. It never fills the bucket above its capacity,
// and does nothing for a cost that is not above 0 or a Limit that Take refuses.
func (s State) Refund(now time.Time, l Limit, cost float64) State {
	token, valid := l.interval()
	if l.IsUnlimited() || !valid || !(cost > 0) || s.TAT == 0 {
		return s
	}
	at := nanos(now)
	if s.TAT <= at {
		return s
	}
	return State{TAT: nonZero(max(at, sub(s.TAT, ceil(cost*token))))}
}

// Full reports whether the bucket is full, so that a store may forget it without giving anything away.
func (s State) Full(now time.Time, l Limit) bool {
	return l.IsUnlimited() || s.TAT == 0 || s.TAT <= nanos(now)
}

// Steady returns now on a clock that starts at start and never steps: the monotonic readings of both count where they
// have one, as times from time.Now do. A store that lives in one process keeps its start and passes Steady(start, now)
// to Take, so that a corrected wall clock neither fills nor empties a bucket.
func Steady(start, now time.Time) time.Time { return start.Add(now.Sub(start)) }

// at returns when the bucket is full again, never before now.
func (s State) at(now int64) int64 {
	if s.TAT == 0 {
		return now
	}
	return max(s.TAT, now)
}

// interval returns the nanoseconds between two tokens, rounded up to a whole number: whole tokens then add up exactly,
// and a rate is never exceeded. A value within a float's error of a whole number is that number.
func (l Limit) interval() (ns float64, ok bool) {
	if !(l.Capacity > 0) || !(l.Refill > 0) {
		return 0, false
	}
	ns = float64(time.Second) / l.Refill
	if near := math.Round(ns); math.Abs(ns-near) <= ns*1e-12 {
		return max(near, 1), true
	}
	return math.Ceil(ns), true
}

// Where numbers saturate, in nanoseconds. A time and two spans fit into an int64.
const (
	longest = 1 << 61 // spans: 73 years
	horizon = 1 << 62 // times: 146 years from 1970, either way
)

// floor rounds a span down, saturating.
func floor(ns float64) int64 {
	if ns >= longest {
		return longest
	}
	return int64(ns)
}

// ceil rounds a span up, saturating.
func ceil(ns float64) int64 { return floor(math.Ceil(ns)) }

// add returns a+b for b >= 0, saturating.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// sub returns a-b, saturating.
func sub(a, b int64) int64 {
	switch d := a - b; {
	case a >= 0 && b < 0 && d < 0:
		return math.MaxInt64
	case a < 0 && b > 0 && d > 0:
		return math.MinInt64
	default:
		return d
	}
}

// nonZero keeps a computed time apart from the zero State.
func nonZero(tat int64) int64 {
	if tat == 0 {
		return 1
	}
	return tat
}

// nanos returns t in Unix nanoseconds. Before 1824 and after 2116 it stands still: no bucket refills then, and no sum
// of a time and a span overflows.
func nanos(t time.Time) int64 {
	const seconds = horizon / int64(time.Second)
	switch s := t.Unix(); {
	case s >= seconds:
		return horizon - 1
	case s <= -seconds:
		return -horizon
	}
	return t.UnixNano()
}
