package detect_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/detect"
)

var update = flag.Bool("update", false, "rewrite the expected alerts in testdata")

var epoch = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func engine(t testing.TB, c detect.Config) *detect.Engine {
	t.Helper()
	e, err := detect.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// seen is what the tests compare of an alert.
type seen struct {
	Name, Rule, Key, UserID string
	Severity                detect.Severity
	At                      string // after epoch
	Context                 detect.Context
	RequiresAction          bool
}

func short(a detect.Alert) seen {
	return seen{a.Name, a.Rule, a.Key, a.UserID, a.Severity, a.Timestamp.Sub(epoch).String(), a.Context, a.RequiresAction}
}

// TestScenarios reads folders of events, one JSON line each, and compares the alerts they raise.
func TestScenarios(t *testing.T) {
	folders, err := filepath.Glob("testdata/*/events.jsonl")
	if err != nil || len(folders) < 4 {
		t.Fatalf("%d scenarios, %v", len(folders), err)
	}
	for _, path := range folders {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			e := engine(t, detect.Config{})
			got := []seen{}
			for _, ev := range events(t, path) {
				for _, a := range e.Observe(&ev) {
					got = append(got, short(a))
				}
			}
			expected := filepath.Join(dir, "alerts.json")
			if *update {
				text, _ := json.MarshalIndent(got, "", "  ")
				if err := os.WriteFile(expected, append(text, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(expected)
			if err != nil {
				t.Fatal(err)
			}
			var want []seen
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("alerts (-want +got):\n%s", d)
			}
		})
	}
}

// events reads a file of events and numbers them from 1.
func events(t *testing.T, path string) []audit.Event {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []audit.Event
	for s := bufio.NewScanner(f); s.Scan(); {
		e, err := audit.Decode(s.Bytes())
		if err != nil {
			t.Fatalf("%s:%d: %v", path, len(list)+1, err)
		}
		e.Seq = uint64(len(list) + 1)
		list = append(list, e)
	}
	return list
}

func failed(claim string, at time.Duration) *audit.Event {
	return &audit.Event{Kind: audit.AuthFailed, Time: epoch.Add(at), Claimed: claim, IP: netip.MustParseAddr("192.0.2.1")}
}

func denied(name string, at time.Duration) *audit.Event {
	return &audit.Event{Kind: audit.PermissionDenied, Time: epoch.Add(at), Principal: audit.Identity{Issuer: "key", Subject: name, Name: name}}
}

func limited(name string, at time.Duration) *audit.Event {
	return &audit.Event{Kind: audit.RateLimitExceeded, Time: epoch.Add(at), Principal: audit.Identity{Issuer: "key", Subject: name, Name: name}}
}

// TestThresholdsAreExact holds each threshold one below, at and one above, and both sides of its window.
func TestThresholdsAreExact(t *testing.T) {
	const m, h = time.Minute, time.Hour
	for name, c := range map[string]struct {
		event func(string, time.Duration) *audit.Event
		at    []time.Duration
		want  []int // indexes of the events that raise an alert
	}{
		"4 failures":                      {failed, []time.Duration{0, 1, 2, 3}, nil},
		"5 failures":                      {failed, []time.Duration{0, 1, 2, 3, 4}, []int{4}},
		"6 failures":                      {failed, []time.Duration{0, 1, 2, 3, 4, 5}, []int{4}},
		"5 failures in just 15 min":       {failed, []time.Duration{0, 1, 2, 3, 15 * m}, []int{4}},
		"5 failures in just over 15 min":  {failed, []time.Duration{0, 1, 2, 3, 15*m + 1}, nil},
		"the oldest slides out":           {failed, []time.Duration{0, 10 * m, 11 * m, 12 * m, 16 * m, 17 * m}, []int{5}},
		"9 denials":                       {denied, times(9, m), nil},
		"10 denials":                      {denied, times(10, m), []int{9}},
		"11 denials":                      {denied, times(11, m), []int{9}},
		"10 denials in just 1 h":          {denied, times(10, h/9), []int{9}},
		"10 denials in just over 1 h":     {denied, append(times(9, m), h+1), nil},
		"2 episodes":                      {limited, []time.Duration{0, m}, nil},
		"3 episodes":                      {limited, []time.Duration{0, 2 * m, 4 * m}, []int{2}},
		"4 episodes":                      {limited, []time.Duration{0, 2 * m, 4 * m, 6 * m}, []int{2}},
		"3 episodes in just 10 min":       {limited, []time.Duration{0, 5 * m, 10 * m}, []int{2}},
		"3 episodes in just over 10 min":  {limited, []time.Duration{0, 5 * m, 10*m + 1}, nil},
		"a pause of just a minute":        {limited, []time.Duration{0, m, 2 * m}, []int{2}},
		"one run of less than two min":    {limited, times(120, 59*time.Second/60), nil},
		"a run that lasts two minutes":    {limited, times(121, time.Second), []int{120}},
		"a run of an hour: once a window": {limited, times(3600, time.Second), []int{120, 720, 1320, 1920, 2520, 3120}},
		"a run with pauses of 59 s":       {limited, times(4, 59*time.Second), []int{3}},
		"one burst":                       {limited, times(1000, time.Millisecond), nil},
		"failures without end":            {failed, times(60, m), []int{4, 19, 34, 49}},
		"one failure a window later":      {failed, []time.Duration{0, 0, 0, 0, 0, 15 * m}, []int{4}},
		"five failures a window later":    {failed, []time.Duration{0, 0, 0, 0, 0, 15 * m, 15 * m, 15 * m, 15 * m, 15 * m}, []int{4, 9}},
		"five just before that":           {failed, []time.Duration{0, 0, 0, 0, 0, 14 * m, 14 * m, 14 * m, 14 * m, 14 * m, 15 * m}, []int{4, 10}},
	} {
		e := engine(t, detect.Config{})
		var got []int
		for i, at := range c.at {
			for _, a := range e.Observe(c.event("alice", at)) {
				if a.Rule != "failed_auth_address" {
					got = append(got, i)
				}
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func times(n int, step time.Duration) []time.Duration {
	var list []time.Duration
	for i := range n {
		list = append(list, time.Duration(i)*step)
	}
	return list
}

// TestMustNotCount holds what looks like an occurrence and is none.
func TestMustNotCount(t *testing.T) {
	e := engine(t, detect.Config{})
	for i := range 100 {
		at := time.Duration(i) * time.Second
		expired, repeat, nobody := failed("alice", at), denied("alice", at), &audit.Event{Kind: audit.PermissionDenied, Time: epoch.Add(at)}
		expired.Kind, repeat.Repeat = audit.TokenExpired, true
		required := failed("", at)
		required.Kind = audit.AuthRequired
		other := failed(fmt.Sprint("user", i), at)
		other.IP = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		for _, ev := range []*audit.Event{expired, repeat, nobody, required, other, {Kind: audit.AuthFailed}, {Kind: audit.CallAllowed}} {
			if a := e.Observe(ev); a != nil {
				t.Fatalf("%s raised %v", ev.Kind, a)
			}
		}
	}
}

// TestKeys holds who shares a window with whom.
func TestKeys(t *testing.T) {
	with := func(change func(e *audit.Event, i int)) func(int) *audit.Event {
		return func(i int) *audit.Event {
			e := failed("", time.Duration(i))
			change(e, i)
			return e
		}
	}
	ip := netip.MustParseAddr
	for name, c := range map[string]struct {
		event func(int) *audit.Event
		key   string // of the alert after five; empty: none
	}{
		"no claim: the address":    {with(func(*audit.Event, int) {}), "ip:192.0.2.1"},
		"IPv4 in IPv6 is IPv4":     {with(func(e *audit.Event, i int) { e.IP = ip([]string{"192.0.2.1", "::ffff:192.0.2.1"}[i%2]) }), "ip:192.0.2.1"},
		"one /64":                  {with(func(e *audit.Event, i int) { e.IP = ip(fmt.Sprintf("2001:db8::%d", i)) }), "ip:2001:db8::/64"},
		"several /64":              {with(func(e *audit.Event, i int) { e.IP = ip(fmt.Sprintf("2001:db8:0:%d::1", i)) }), ""},
		"zones":                    {with(func(e *audit.Event, i int) { e.IP = ip(fmt.Sprintf("fe80::1%%eth%d", i)) }), "ip:fe80::/64"},
		"several addresses":        {with(func(e *audit.Event, i int) { e.IP = ip(fmt.Sprintf("192.0.2.%d", i)) }), ""},
		"a claim from anywhere":    {with(func(e *audit.Event, i int) { e.Claimed, e.IP = "bob", ip(fmt.Sprintf("192.0.2.%d", i)) }), "claimed:bob"},
		"a claim in all spellings": {with(func(e *audit.Event, i int) { e.Claimed = []string{"bob", "BOB", " Bob", "bob ", "bOb"}[i%5] }), "claimed:bob"},
		"several claims":           {with(func(e *audit.Event, i int) { e.Claimed = fmt.Sprint("bob", i) }), ""},
	} {
		e := engine(t, detect.Config{})
		got := ""
		for i := range 5 {
			for _, a := range e.Observe(c.event(i)) {
				got = a.Key
			}
		}
		if got != c.key {
			t.Errorf("%s: %q, want %q", name, got, c.key)
		}
	}
}

// TestAddressRule holds that one address guessing at many accounts is found, twenty failures in.
func TestAddressRule(t *testing.T) {
	e := engine(t, detect.Config{})
	for i := range 25 {
		got := e.Observe(failed(fmt.Sprint("user", i), time.Duration(i)*time.Second))
		if (len(got) == 1) != (i == 19) {
			t.Errorf("failure %d raised %v", i+1, got)
		}
	}
}

func TestFoldedRecords(t *testing.T) {
	e := engine(t, detect.Config{})
	one, fold := failed("alice", 0), failed("alice", 10*time.Second)
	one.Seq, fold.Seq, fold.Count, fold.First = 7, 8, 4, epoch.Add(time.Second)
	if a := e.Observe(one); a != nil {
		t.Fatal(a)
	}
	got := e.Observe(fold)
	if len(got) != 1 {
		t.Fatalf("1+4 raised %v", got)
	}
	want := detect.Context{Count: 5, Window: "15m0s", First: epoch, Last: epoch.Add(10 * time.Second), Address: "192.0.2.1", Evidence: []uint64{7, 8}}
	if d := cmp.Diff(want, got[0].Context); d != "" {
		t.Errorf("context (-want +got):\n%s", d)
	}
	huge := failed("mallory", 0)
	huge.Count = 1 << 30
	if got := e.Observe(huge); len(got) != 2 { // the identity, and the address
		t.Errorf("a billion raised %v", got)
	}
	run := limited("bob", 2*time.Minute)
	run.Count, run.First = 5000, epoch
	if got := e.Observe(run); len(got) != 1 {
		t.Errorf("a folded run of two minutes raised %v", got)
	}
	run = limited("carol", 119*time.Second)
	run.Count, run.First = 5000, epoch
	if got := e.Observe(run); got != nil {
		t.Errorf("a folded run of less raised %v", got)
	}
	run = limited("dave", 0)
	run.Count, run.First = 5000, epoch.Add(-1000*time.Hour)
	if got := e.Observe(run); len(got) != 1 {
		t.Errorf("a folded run of weeks raised %v", got)
	}
}

// TestClock holds that neither a clock that is set back nor events out of order hide an occurrence or count one twice.
func TestClock(t *testing.T) {
	for name, c := range map[string]struct {
		at   []time.Duration
		want []int
	}{
		"an hour back before the fifth":      {[]time.Duration{0, 1, 2, 3, -time.Hour}, []int{4}},
		"an hour back after the alert":       {[]time.Duration{0, 1, 2, 3, 4, -time.Hour, -time.Hour, -time.Hour, -time.Hour, -time.Hour}, []int{4}},
		"back, and time goes on":             {[]time.Duration{0, 1, 2, 3, -time.Hour + 16*time.Minute, -time.Hour + 17*time.Minute}, []int{4}},
		"back, then too long":                {[]time.Duration{0, 1, 2, -time.Hour, -time.Hour + 16*time.Minute}, nil},
		"back again and again":               {[]time.Duration{0, -time.Hour, -2 * time.Hour, -3 * time.Hour, -4 * time.Hour, -5 * time.Hour}, []int{4}},
		"a little late":                      {[]time.Duration{30 * time.Second, 0, 20 * time.Second, 10 * time.Second, 5 * time.Second}, []int{4}},
		"late, and out of the window":        {[]time.Duration{0, 15*time.Minute + 30*time.Second, 15*time.Minute + 29*time.Second, 15*time.Minute + 10*time.Second, 15*time.Minute + 1}, nil},
		"late, and just in the window":       {[]time.Duration{0, 15 * time.Minute, 15*time.Minute - 1, 15*time.Minute - 2, 15*time.Minute - 3}, []int{4}},
		"late after the alert: not again":    {[]time.Duration{60, 61, 62, 63, 64, 1, 2, 3, 4, 5, 6}, []int{4}},
		"a step forward is time that passed": {[]time.Duration{0, 1, 2, 3, time.Hour}, nil},
	} {
		e := engine(t, detect.Config{})
		var got []int
		for i, at := range c.at {
			if len(e.Observe(failed("alice", at))) > 0 {
				got = append(got, i)
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// TestAgainstModel compares with the plain reading of the rule: all occurrences kept, counted anew each time.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := detect.Threshold{Count: rapid.IntRange(1, 6).Draw(t, "count"), Window: time.Duration(rapid.IntRange(1, 20).Draw(t, "window"))}
		e, err := detect.New(detect.Config{Thresholds: detect.Thresholds{Denials: limit}})
		if err != nil {
			t.Fatal(err)
		}
		var kept []time.Duration
		var at time.Duration
		fired := time.Duration(-1 << 60)
		for i := range rapid.IntRange(1, 60).Draw(t, "events") {
			at += time.Duration(rapid.IntRange(0, 8).Draw(t, "gap"))
			kept = append(kept, at)
			n := 0
			for _, k := range kept {
				if at-k <= limit.Window {
					n++
				}
			}
			want := n >= limit.Count && at-fired >= limit.Window
			if want {
				kept, fired = nil, at
			}
			if got := len(e.Observe(denied("alice", at))) > 0; got != want {
				t.Fatalf("event %d at %v: alert %v, want %v", i, at, got, want)
			}
		}
	})
}

// TestTheOldestIsForgotten holds which key goes at the bound.
func TestTheOldestIsForgotten(t *testing.T) {
	e := engine(t, detect.Config{MaxKeys: 2, Thresholds: detect.Thresholds{Denials: detect.Threshold{Count: 2, Window: time.Hour}}})
	for i, step := range []struct {
		name  string
		alert bool
	}{{"a", false}, {"b", false}, {"a", true}, {"c", false}, {"b", false}, {"c", true}} {
		if got := len(e.Observe(denied(step.name, time.Duration(i)))) > 0; got != step.alert {
			t.Errorf("step %d, %s: alert %v", i, step.name, got)
		}
	}
}

func TestRaise(t *testing.T) {
	var raised []detect.Alert
	var e *detect.Engine
	e = engine(t, detect.Config{
		Now: func() time.Time { return epoch },
		Raise: func(a detect.Alert) {
			raised = append(raised, a)
			e.Observe(failed("alice", 0)) // holds no lock
		},
	})
	ids := map[string]bool{}
	for i := range 10 {
		ev := failed(fmt.Sprint("user", i/5), 0)
		ev.Time = time.Time{}
		for _, a := range e.Observe(ev) {
			ids[a.ID] = true
			if !a.Timestamp.Equal(epoch) || len(a.ID) < 20 {
				t.Errorf("%+v", a)
			}
		}
	}
	if len(raised) != 2 || len(ids) != 2 {
		t.Errorf("raised %v", raised)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]detect.Config{
		"keys":      {MaxKeys: -1},
		"count":     {Thresholds: detect.Thresholds{FailedAuth: detect.Threshold{Count: -1, Window: time.Hour}}},
		"no count":  {Thresholds: detect.Thresholds{Denials: detect.Threshold{Window: time.Hour}}},
		"no window": {Thresholds: detect.Thresholds{LimitEpisodes: detect.Threshold{Count: 3}}},
		"too many":  {Thresholds: detect.Thresholds{FailedAuthAddress: detect.Threshold{Count: 1e6, Window: time.Hour}}},
	} {
		if _, err := detect.New(c); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

func TestConcurrentObserve(t *testing.T) {
	e := engine(t, detect.Config{})
	var mu sync.Mutex
	var wait sync.WaitGroup
	alerts := 0
	for range 8 {
		wait.Go(func() {
			for range 100 {
				n := len(e.Observe(denied("alice", 0)))
				mu.Lock()
				alerts += n
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if alerts != 1 {
		t.Errorf("%d alerts, want 1", alerts)
	}
}
