package storetest

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
)

// Buckets tests the promises of a limiter. Open returns an empty one for about max keys.
func Buckets(t *testing.T, open func(t *testing.T, max int) ratelimit.Buckets) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, ratelimit.Buckets)
	}{
		{"Exact", exactly},
		{"ExactConcurrent", exactlyConcurrent},
		{"RetryAfter", retryAfterIsTrue},
		{"AllOrNone", allOrNone},
		{"AllOrNoneConcurrent", allOrNoneConcurrent},
		{"SameKeyTwice", sameKeyTwice},
		{"KeysApart", keysApart},
		{"Refund", refundNeverOverfills},
		{"ClockBack", clockBack},
		{"Unlimited", unlimited},
		{"NoDraws", noDraws},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t, 10_000)) })
	}
	t.Run("Bounded", func(t *testing.T) { bounded(t, open(t, 1000)) })
}

// layers are every kind of bucket, since a backend may keep some apart.
func layers() []ratelimit.Key {
	return []ratelimit.Key{
		{Layer: ratelimit.Global},
		{Layer: ratelimit.GlobalUnauthenticated},
		{Layer: ratelimit.Address, ID: "192.0.2.1"},
		{Layer: ratelimit.PrincipalTool, ID: "alice", Sub: "read"},
	}
}

func draw(k ratelimit.Key, capacity, refill float64) ratelimit.Draw {
	return ratelimit.Draw{Key: k, Limit: ratelimit.Limit{Capacity: capacity, Refill: refill}, Cost: 1}
}

func take(t *testing.T, b ratelimit.Buckets, now time.Time, draws ...ratelimit.Draw) ratelimit.Verdict {
	t.Helper()
	v, err := b.Take(t.Context(), now, draws)
	must(t, err)
	return v
}

// exactly compares with burst + rate * time over steps of a clock that is moved by hand.
func exactly(t *testing.T, b ratelimit.Buckets) {
	for _, k := range layers() {
		d, granted, now := draw(k, 50, 7), 0, at(0)
		for range 2000 {
			for take(t, b, now, d).OK {
				granted++
			}
			now = now.Add(37 * time.Millisecond)
		}
		elapsed := now.Add(-37 * time.Millisecond).Sub(at(0)).Seconds()
		if want := 50 + 7*elapsed; math.Abs(float64(granted)-want) > 1 {
			t.Errorf("layer %d: %d draws in %v s, want %v", k.Layer, granted, elapsed, want)
		}
	}
}

func exactlyConcurrent(t *testing.T, b ratelimit.Buckets) {
	for _, k := range layers() {
		var granted atomic.Int64
		race(t, func(int) (bool, error) {
			for range 100 {
				v, err := b.Take(t.Context(), at(0), []ratelimit.Draw{draw(k, 1000, 1)})
				if err != nil {
					return false, err
				}
				if v.OK {
					granted.Add(1)
				}
			}
			return true, nil
		})
		if granted.Load() != 1000 {
			t.Errorf("layer %d: %d of a burst of 1000 were granted to %d goroutines", k.Layer, granted.Load(), racers)
		}
	}
}

func retryAfterIsTrue(t *testing.T, b ratelimit.Buckets) {
	for _, k := range layers() {
		d := draw(k, 2, 0.5)
		take(t, b, at(0), d)
		take(t, b, at(0), d)
		v := take(t, b, at(0), d)
		if v.OK || v.RetryAfter != 2*time.Second {
			t.Fatalf("layer %d: third draw = %+v, want a wait of 2 s", k.Layer, v)
		}
		if v := take(t, b, at(0).Add(2*time.Second-1), d); v.OK {
			t.Errorf("layer %d: granted a nanosecond before RetryAfter", k.Layer)
		}
		if v := take(t, b, at(0).Add(2*time.Second), d); !v.OK {
			t.Errorf("layer %d: refused at RetryAfter: %+v", k.Layer, v)
		}
		d.Cost = 3
		if v := take(t, b, at(1000), d); v.OK || v.RetryAfter != ratelimit.Never {
			t.Errorf("layer %d: cost above capacity = %+v, want Never", k.Layer, v)
		}
	}
}

func allOrNone(t *testing.T, b ratelimit.Buckets) {
	empty := draw(ratelimit.Key{Layer: ratelimit.Tool, ID: "empty"}, 1, 0.001)
	take(t, b, at(0), empty)
	for i := range 4 { // the empty bucket at every place among the others
		draws := []ratelimit.Draw{draw(layers()[0], 2, 0.001), draw(layers()[1], 2, 0.001), draw(layers()[2], 2, 0.001)}
		draws = append(draws[:i:i], append([]ratelimit.Draw{empty}, draws[i:]...)...)
		for range 5 {
			if v := take(t, b, at(0), draws...); v.OK || v.Refused != i {
				t.Fatalf("verdict = %+v, want a refusal by draw %d", v, i)
			}
		}
	}
	for range 2 {
		if v := take(t, b, at(0), draw(layers()[0], 2, 0.001), draw(layers()[1], 2, 0.001), draw(layers()[2], 2, 0.001)); !v.OK {
			t.Fatalf("a refused Take has drawn: %+v", v)
		}
	}
	if v := take(t, b, at(0), draw(layers()[2], 2, 0.001)); v.OK {
		t.Error("the third draw of a bucket of two was granted")
	}
}

// allOrNoneConcurrent draws from the same buckets in every order, which also finds locks taken in a bad order.
func allOrNoneConcurrent(t *testing.T, b ratelimit.Buckets) {
	var keys []ratelimit.Draw
	for i := range 6 {
		keys = append(keys, draw(ratelimit.Key{Layer: ratelimit.Tool, ID: fmt.Sprint(i)}, 500, 0.001))
	}
	keys[0].Limit.Capacity = 300 // the bucket that refuses
	var granted atomic.Int64
	race(t, func(n int) (bool, error) {
		for i := range 50 {
			var draws []ratelimit.Draw
			for j := range keys {
				draws = append(draws, keys[(n+i+j*(1+4*(n%2)))%len(keys)])
			}
			v, err := b.Take(t.Context(), at(0), draws)
			if err != nil {
				return false, err
			}
			if v.OK {
				granted.Add(1)
			}
		}
		return true, nil
	})
	if granted.Load() != 300 {
		t.Errorf("%d granted, want 300", granted.Load())
	}
	left := 0
	for take(t, b, at(0), keys[1]).OK {
		left++
	}
	if left != 200 {
		t.Errorf("%d left in a bucket of 500 after 300 grants", left)
	}
}

func sameKeyTwice(t *testing.T, b ratelimit.Buckets) {
	for _, k := range layers() {
		d := draw(k, 3, 0.001)
		if v := take(t, b, at(0), d, d); !v.OK {
			t.Errorf("layer %d: two of three = %+v", k.Layer, v)
		}
		if v := take(t, b, at(0), d, d); v.OK || v.Refused != 1 {
			t.Errorf("layer %d: two of one = %+v, want a refusal by the second", k.Layer, v)
		}
		if v := take(t, b, at(0), d); !v.OK {
			t.Errorf("layer %d: one of one = %+v", k.Layer, v)
		}
	}
}

func keysApart(t *testing.T, b ratelimit.Buckets) {
	for _, k := range []ratelimit.Key{
		{Layer: ratelimit.Tool, ID: "ab", Sub: "c"},
		{Layer: ratelimit.Tool, ID: "a", Sub: "bc"},
		{Layer: ratelimit.PrincipalTool, ID: "ab", Sub: "c"},
		{Layer: ratelimit.Tool, ID: "abc"},
		{Layer: ratelimit.Global, ID: "abc"},
		{Layer: ratelimit.Tool, Sub: "abc"},
		{Layer: ratelimit.Global},
		{Layer: ratelimit.GlobalUnauthenticated},
	} {
		if v := take(t, b, at(0), draw(k, 1, 0.001)); !v.OK {
			t.Errorf("key %+v shares the bucket of another", k)
		}
		if v := take(t, b, at(0), draw(k, 1, 0.001)); v.OK {
			t.Errorf("key %+v has no bucket", k)
		}
	}
}

func refundNeverOverfills(t *testing.T, b ratelimit.Buckets) {
	for _, k := range layers() {
		d := draw(k, 3, 0.001)
		for range 10 {
			must(t, b.Refund(t.Context(), at(0), []ratelimit.Draw{d}))
		}
		take(t, b, at(0), d)
		take(t, b, at(0), d)
		must(t, b.Refund(t.Context(), at(0), []ratelimit.Draw{d}))
		granted := 0
		for take(t, b, at(0), d).OK {
			granted++
		}
		if granted != 2 {
			t.Errorf("layer %d: %d granted after two draws of three and a refund of one, want 2", k.Layer, granted)
		}
		for range 10 {
			must(t, b.Refund(t.Context(), at(0), []ratelimit.Draw{d}))
		}
		for granted = 0; take(t, b, at(0), d).OK; {
			granted++
		}
		if granted != 3 {
			t.Errorf("layer %d: %d granted after many refunds of a bucket of three", k.Layer, granted)
		}
	}
}

// clockBack steps an hour back and forth: nothing may be refilled that was not earned.
func clockBack(t *testing.T, b ratelimit.Buckets) {
	for _, k := range layers() {
		d, granted := draw(k, 10, 0.01), 0
		for _, minute := range []int64{0, -60, 0, -60, -30, 0} {
			for take(t, b, at(0).Add(time.Duration(minute)*time.Minute), d).OK {
				granted++
			}
			must(t, b.Refund(t.Context(), at(minute*60), nil))
		}
		if granted != 10 {
			t.Errorf("layer %d: %d granted of a burst of 10 over clock steps", k.Layer, granted)
		}
	}
}

func unlimited(t *testing.T, b ratelimit.Buckets) {
	for _, k := range layers() {
		for range 100 {
			if v := take(t, b, at(0), ratelimit.Draw{Key: k, Limit: ratelimit.Unlimited(), Cost: 1e9}); !v.OK {
				t.Fatalf("layer %d: unlimited refused: %+v", k.Layer, v)
			}
		}
	}
}

func noDraws(t *testing.T, b ratelimit.Buckets) {
	if v := take(t, b, at(0)); !v.OK {
		t.Errorf("Take of nothing = %+v", v)
	}
}

// bounded lets an attacker choose a hundred times as many keys as there is room for, in two ways: when old buckets are
// full again none that is not may be forgotten; when none is, the table still does not grow.
func bounded(t *testing.T, b ratelimit.Buckets) {
	victim := draw(ratelimit.Key{Layer: ratelimit.FailedAuth, ID: "victim"}, 1, 0.0001)
	take(t, b, at(0), victim)
	now := at(0)
	for i := range 50_000 {
		now = now.Add(time.Millisecond)
		take(t, b, now, draw(ratelimit.Key{Layer: ratelimit.Address, ID: fmt.Sprint("idle", i)}, 10, 100))
	}
	if v := take(t, b, now, victim); v.OK {
		t.Error("a bucket that was not full was forgotten though full ones could be")
	}
	for i := range 50_000 {
		take(t, b, now, draw(ratelimit.Key{Layer: ratelimit.Address, ID: fmt.Sprint("busy", i)}, 10, 0.001))
	}
	sized, ok := b.(interface{ Len() int })
	if ok && sized.Len() > 1100 {
		t.Errorf("%d buckets in a table for 1000", sized.Len())
	}
}
