package ratelimit_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func limits() *rapid.Generator[ratelimit.Limit] {
	return rapid.Custom(func(t *rapid.T) ratelimit.Limit {
		return ratelimit.Limit{
			Capacity: rapid.Float64Range(1, 5000).Draw(t, "capacity"),
			Refill:   rapid.Float64Range(0.001, 100000).Draw(t, "refill"),
		}
	})
}

// TestNeverMoreThanAsked holds the invariant of the package over any window, not only one that starts with a full bucket.
func TestNeverMoreThanAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limits().Draw(t, "limit")
		type grant struct {
			at   time.Duration
			cost float64
		}
		var (
			s       ratelimit.State
			at      time.Duration
			granted []grant
		)
		for range rapid.IntRange(1, 60).Draw(t, "draws") {
			at += time.Duration(rapid.Int64Range(0, int64(3*float64(time.Second)*l.Capacity/l.Refill)).Draw(t, "gap"))
			cost := rapid.Float64Range(0, l.Capacity).Draw(t, "cost")
			next, ok, _ := s.Take(epoch.Add(at), l, cost)
			if ok {
				granted = append(granted, grant{at, cost})
			} else if next != s {
				t.Fatalf("a refusal changed the bucket: %v -> %v", s, next)
			}
			s = next
		}
		for i := range granted {
			sum := 0.0
			for _, g := range granted[i:] {
				sum += g.cost
				most := l.Capacity + l.Refill*(g.at-granted[i].at).Seconds()
				// A draw of the whole capacity may be charged up to a nanosecond less than its share.
				if sum > most*(1+1e-9)+l.Refill*1e-9*float64(len(granted)) {
					t.Fatalf("%v granted in %v, at most %v allowed", sum, g.at-granted[i].at, most)
				}
			}
		}
	})
}

func TestRetryAfterIsTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limits().Draw(t, "limit")
		cost := rapid.Float64Range(0.001, l.Capacity).Draw(t, "cost")
		token := float64(time.Second) / l.Refill
		// More debt than leaves room for the draw; intervals are rounded up by less than a nanosecond each.
		debt := int64((l.Capacity-cost)*token) + int64(l.Capacity) + 2
		s := ratelimit.State{TAT: epoch.UnixNano() + debt + rapid.Int64Range(0, int64(2*l.Capacity*token)).Draw(t, "more")}
		_, ok, wait := s.Take(epoch, l, cost)
		if ok {
			t.Fatal("granted")
		}
		if wait <= 0 {
			t.Fatalf("refused with a wait of %v", wait)
		}
		if _, ok, again := s.Take(epoch.Add(wait), l, cost); !ok {
			t.Fatalf("refused at now+%v, for another %v", wait, again)
		}
		if _, ok, _ := s.Take(epoch.Add(wait-1), l, cost); ok {
			t.Fatalf("granted a nanosecond before now+%v", wait)
		}
	})
}

func TestRefundRestores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limits().Draw(t, "limit")
		cost := rapid.Float64Range(0, l.Capacity).Draw(t, "cost")
		room := int64((l.Capacity-cost)*float64(time.Second)/l.Refill) - 2
		s := ratelimit.State{TAT: epoch.UnixNano() + rapid.Int64Range(-1000, max(room, -1)).Draw(t, "debt")}
		next, ok, wait := s.Take(epoch, l, cost)
		if !ok {
			t.Fatalf("refused for %v", wait)
		}
		want := max(s.TAT, epoch.UnixNano())
		if got := max(next.Refund(epoch, l, cost).TAT, epoch.UnixNano()); got != want {
			t.Fatalf("after a refund %d, before the draw %d", got, want)
		}
		if over := next.Refund(epoch, l, 1e12); !over.Full(epoch, l) || over.TAT < epoch.UnixNano()-1000 {
			t.Fatalf("a refund of too much left %v", over)
		}
	})
}

func TestWholeBurstThenRate(t *testing.T) {
	for _, l := range []ratelimit.Limit{{50, 1}, {200, 5}, {1000, 20}, {5000, 100}, {3, 3}, {7, 0.3}, {2000, 2000}, {300, 50}, {20, 20.0 / 900}} {
		var s ratelimit.State
		n := 0
		for ; n < 10000; n++ {
			next, ok, _ := s.Take(epoch, l, 1)
			if !ok {
				break
			}
			s = next
		}
		if n != int(l.Capacity) {
			t.Errorf("%v: burst of %d", l, n)
		}
		// A hundred refill intervals later there are a hundred tokens (or a full bucket), not one more.
		later, want, got := epoch.Add(time.Duration(100.000001/l.Refill*float64(time.Second))), min(100, int(l.Capacity)), 0
		for range 10000 {
			next, ok, _ := s.Take(later, l, 1)
			if !ok {
				break
			}
			s, got = next, got+1
		}
		if got != want {
			t.Errorf("%v: %d tokens after 100 intervals, want %d", l, got, want)
		}
	}
}

func TestTakeMustNot(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	ok := ratelimit.Limit{Capacity: 10, Refill: 1}
	for name, c := range map[string]struct {
		limit ratelimit.Limit
		cost  float64
	}{
		"cost above capacity": {ok, 10.001},
		"negative cost":       {ok, -1},
		"cost is no number":   {ok, nan},
		"infinite cost":       {ok, inf},
		"no refill":           {ratelimit.Limit{Capacity: 10}, 1},
		"no capacity":         {ratelimit.Limit{Refill: 10}, 1},
		"negative capacity":   {ratelimit.Limit{Capacity: -1, Refill: 1}, 1},
		"negative infinity":   {ratelimit.Limit{Capacity: -inf, Refill: 1}, 1},
		"negative refill":     {ratelimit.Limit{Capacity: 10, Refill: -1}, 1},
		"capacity no number":  {ratelimit.Limit{Capacity: nan, Refill: 1}, 1},
		"refill no number":    {ratelimit.Limit{Capacity: 10, Refill: nan}, 1},
	} {
		next, granted, wait := ratelimit.State{}.Take(epoch, c.limit, c.cost)
		if granted || wait != ratelimit.Never || next != (ratelimit.State{}) {
			t.Errorf("%s: granted %v, wait %v, next %v", name, granted, wait, next)
		}
	}
}

func TestTakeUnlimited(t *testing.T) {
	for _, l := range []ratelimit.Limit{{}, ratelimit.Unlimited()} {
		s, ok, _ := ratelimit.State{}.Take(epoch, l, 1e300)
		if !ok || s != (ratelimit.State{}) || !s.Full(epoch, l) {
			t.Errorf("%v: %v %v", l, ok, s)
		}
	}
}

func TestClockStepsBack(t *testing.T) {
	l := ratelimit.Limit{Capacity: 2, Refill: 1}
	var s ratelimit.State
	for range 2 {
		s, _, _ = s.Take(epoch, l, 1)
	}
	if _, ok, wait := s.Take(epoch.Add(-time.Hour), l, 1); ok || wait != time.Hour+time.Second {
		t.Errorf("an hour back: granted %v, wait %v", ok, wait)
	}
	// The step itself must not have refilled anything.
	if _, ok, _ := s.Take(epoch.Add(time.Second-1), l, 1); ok {
		t.Error("granted before the refill")
	}
	if s.Full(epoch.Add(-time.Hour), l) {
		t.Error("full an hour before")
	}
	start := time.Now()
	if got := ratelimit.Steady(start, start.Add(time.Minute)).Sub(start); got != time.Minute {
		t.Errorf("steady: %v", got)
	}
}

// TestExtremes looks for wrap-around: whatever the values, no grant beyond the first full bucket, and no negative wait.
func TestExtremes(t *testing.T) {
	times := []time.Time{{}, time.Unix(0, 0), time.Unix(0, -1), epoch, time.Unix(1<<62, 0), time.Unix(-1<<62, 0), time.Unix(math.MaxInt64/1_000_000_000, 0), time.Unix(0, math.MaxInt64), time.Unix(0, math.MinInt64)}
	numbers := []float64{math.SmallestNonzeroFloat64, 1e-300, 0.5, 1, 3, 1e9, 1e18, 1e300, math.MaxFloat64}
	for _, now := range times {
		for _, c := range numbers {
			for _, r := range numbers {
				l := ratelimit.Limit{Capacity: c, Refill: r}
				for _, tat := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, epoch.UnixNano()} {
					s := ratelimit.State{TAT: tat}
					next, ok, wait := s.Take(now, l, c)
					if wait < 0 || (ok && wait != 0) || (!ok && next != s) {
						t.Fatalf("take %v at %v from %v: %v %v %v", l, now, s, next, ok, wait)
					}
					if _, again, _ := next.Take(now, l, c); ok && again && c/r > 1e-9 {
						t.Fatalf("%v at %v from %v: all of it drawn twice", l, now, s)
					}
					s.Refund(now, l, c)
					s.Full(now, l)
				}
			}
		}
	}
}

func TestValidate(t *testing.T) {
	for _, l := range []ratelimit.Limit{{}, ratelimit.Unlimited(), {1, 1}, {1, 1e7}, {50, 0.01}} {
		if err := l.Validate(); err != nil {
			t.Errorf("%v: %v", l, err)
		}
	}
	nan := math.NaN()
	for _, l := range []ratelimit.Limit{{0.5, 1}, {-1, 1}, {nan, 1}, {10, 0}, {10, -1}, {10, nan}, {10, 2e7}, {10, math.Inf(1)}, {1e9, 1}, {0, 1}, {math.Inf(-1), 1}} {
		if l.Validate() == nil {
			t.Errorf("%v accepted", l)
		}
	}
}

func TestTable(t *testing.T) {
	table, err := ratelimit.NewTable(ratelimit.Limits{Roles: map[string]ratelimit.Limit{"auditor": {10, 2}, "bot": ratelimit.Unlimited(), "admin": {6000, 100}}})
	if err != nil {
		t.Fatal(err)
	}
	type D = ratelimit.Draw
	type K = ratelimit.Key
	type L = ratelimit.Limit
	global := D{K{Layer: ratelimit.Global}, L{2000, 2000}, 1}
	half := D{K{Layer: ratelimit.GlobalUnauthenticated}, L{1000, 1000}, 1}
	tool := D{K{Layer: ratelimit.Tool, Sub: "read", Server: "files"}, L{1000, 200}, 1}
	both := D{K{Layer: ratelimit.PrincipalTool, ID: "p", Sub: "read", Server: "files"}, L{100, 10}, 1}
	principal := func(c, r float64) D { return D{K{Layer: ratelimit.PrincipalLayer, ID: "p"}, L{c, r}, 1} }
	for name, c := range map[string]struct{ got, want []D }{
		"IPv4":          {table.Admission(nil, "192.0.2.1", "", true), []D{global, {K{Layer: ratelimit.Address, ID: "192.0.2.1"}, L{300, 50}, 1}}},
		"IPv6":          {table.Admission(nil, "64", "48", false), []D{global, half, {K{Layer: ratelimit.Address, ID: "64"}, L{300, 50}, 1}, {K{Layer: ratelimit.AddressWide, ID: "48"}, L{1200, 200}, 1}}},
		"failed":        {table.FailedAuth(nil, "a"), []D{{K{Layer: ratelimit.FailedAuth, ID: "a"}, L{20, 20.0 / 900}, 1}}},
		"no roles":      {table.Call(nil, "p", nil, "files", "read"), []D{principal(50, 1), tool, both}},
		"unknown role":  {table.Call(nil, "p", []string{"root", "Admin"}, "files", ""), []D{principal(50, 1)}},
		"user":          {table.Call(nil, "p", []string{"user"}, "files", ""), []D{principal(200, 5)}},
		"premium":       {table.Call(nil, "p", []string{"user", "premium", "guest"}, "files", ""), []D{principal(1000, 20)}},
		"replaced":      {table.Call(nil, "p", []string{"admin"}, "files", ""), []D{principal(6000, 100)}},
		"own role":      {table.Call(nil, "p", []string{"guest", "auditor"}, "files", ""), []D{principal(10, 2)}},
		"without limit": {table.Call(nil, "p", []string{"bot", "user"}, "files", "read"), []D{tool, both}},
	} {
		if d := cmp.Diff(c.want, c.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestLayerNames(t *testing.T) {
	for l, want := range map[ratelimit.Layer]string{0: "unknown", ratelimit.Global: "global", ratelimit.FailedAuth: "failed_auth", ratelimit.PrincipalLayer: "principal", ratelimit.PrincipalTool: "principal_tool", ratelimit.PrincipalTool + 1: "unknown"} {
		if got := l.String(); got != want {
			t.Errorf("%d: %q, want %q", l, got, want)
		}
	}
}

func TestTableRefusesBadLimits(t *testing.T) {
	bad := ratelimit.Limit{Capacity: -1, Refill: 1}
	for name, l := range map[string]ratelimit.Limits{
		"global":       {Global: bad},
		"half too low": {Global: ratelimit.Limit{Capacity: 1, Refill: 1}},
		"address":      {Address: bad},
		"failed":       {FailedAuth: bad},
		"tool":         {Tool: bad},
		"both":         {PrincipalTool: bad},
		"role":         {Roles: map[string]ratelimit.Limit{"x": bad}},
	} {
		if _, err := ratelimit.NewTable(l); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	table, _ := ratelimit.NewTable(ratelimit.Limits{})
	var room [8]ratelimit.Draw
	roles := []string{"user", "premium"}
	if n := testing.AllocsPerRun(100, func() {
		d := table.Admission(room[:0], "64", "48", false)
		d = table.Call(d, "p", roles, "files", "read")
		for i := range d {
			ratelimit.State{}.Take(epoch, d[i].Limit, d[i].Cost)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkTake asks what one bucket costs on the hot path.
func BenchmarkTake(b *testing.B) {
	b.ReportAllocs()
	l := ratelimit.Limit{Capacity: 1e6, Refill: 1e6}
	var s ratelimit.State
	for b.Loop() {
		s, _, _ = s.Take(epoch, l, 1)
	}
}

// BenchmarkTable asks what listing the draws of both steps costs.
func BenchmarkTable(b *testing.B) {
	b.ReportAllocs()
	table, _ := ratelimit.NewTable(ratelimit.Limits{})
	var room [8]ratelimit.Draw
	roles := []string{"user"}
	for b.Loop() {
		d := table.Admission(room[:0], "64", "48", false)
		table.Call(d, "p", roles, "files", "read")
	}
}
