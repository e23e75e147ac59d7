package guard_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/guard"
	"github.com/sallyport-mcp/sallyport/internal/memstore"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/internal/validate"
	"github.com/sallyport-mcp/sallyport/policy"
)

// doubles are the guard's neighbours, each able to fail.
type doubles struct {
	mu       sync.Mutex
	events   []audit.Event
	record   error // of Record
	refusal  *peer.Refusal
	cached   bool
	revoked  bool
	who      policy.Principal
	problem  *validate.Problem
	checkErr error
	checks   int
	takeErr  error
	buckets  ratelimit.Buckets
	now      time.Time
}

func (d *doubles) Authenticate(context.Context, peer.Peer, string) (*policy.Principal, bool, error) {
	if d.refusal != nil {
		return nil, false, d.refusal
	}
	return &d.who, d.cached, nil
}
func (d *doubles) Cached(peer.Peer) bool                                    { return d.cached }
func (d *doubles) Valid(context.Context, *policy.Principal, time.Time) bool { return !d.revoked }
func (d *doubles) Refund(c context.Context, n time.Time, r []ratelimit.Draw) error {
	return d.buckets.Refund(c, n, r)
}

func (d *doubles) Take(c context.Context, n time.Time, r []ratelimit.Draw) (ratelimit.Verdict, error) {
	if d.takeErr != nil {
		return ratelimit.Verdict{}, d.takeErr
	}
	return d.buckets.Take(c, n, r)
}

func (d *doubles) Check(context.Context, string, string, []byte) (*validate.Problem, error) {
	d.checks++
	return d.problem, d.checkErr
}

func (d *doubles) Record(_ context.Context, e *audit.Event) error {
	if d.record != nil {
		return d.record
	}
	d.Note(e)
	return nil
}

func (d *doubles) Note(e *audit.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.Seq = uint64(len(d.events) + 1)
	d.events = append(d.events, *e)
}

// last returns the kinds recorded since the call before.
func (d *doubles) kinds() []audit.Kind {
	var kinds []audit.Kind
	for _, e := range d.events {
		kinds = append(kinds, e.Kind)
	}
	d.events = nil
	return kinds
}

func open(t testing.TB, limits ratelimit.Limits) (*guard.Guard, *doubles) {
	t.Helper()
	rules, err := policy.Compile(policy.Config{
		Servers: []string{"files"},
		Roles:   []policy.Role{{Name: "user", Permissions: []string{"files:read"}}},
		Rules:   []policy.Rule{{Server: "files", Tool: "read", Require: "files:read"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	table, err := ratelimit.NewTable(limits)
	if err != nil {
		t.Fatal(err)
	}
	d := &doubles{
		who:     policy.Principal{Issuer: "key", Subject: "a", Name: "alice", Method: "api_key", Credential: "k1", Roles: []string{"user"}},
		buckets: memstore.NewBuckets(memstore.BucketsConfig{}),
		now:     time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
	}
	g, err := guard.New(guard.Config{
		Authenticator: d, Arguments: d, Buckets: d, Recorder: d,
		Settings: guard.Settings{Rules: rules, Limits: table}, Now: func() time.Time { return d.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, d
}

var connection = peer.Peer{
	Addr: netip.MustParseAddr("192.0.2.7"), UserAgent: "test",
	Credential: peer.Credential{Kind: peer.Bearer, Value: secret.New("x")},
}

func call(name string) *policy.Call {
	return &policy.Call{Server: "files", Method: "tools/call", Target: policy.Named{Kind: policy.Tool, Name: name}}
}

// walk takes one call through all steps.
func walk(g *guard.Guard, c *policy.Call) (*guard.Grant, *guard.Denial) {
	ctx := context.Background()
	admitted, denial := g.Admit(ctx, connection)
	if denial != nil {
		return nil, denial
	}
	caller, denial := admitted.Authenticate(ctx, "files")
	if denial != nil {
		return nil, denial
	}
	return caller.Authorize(ctx, c, guard.Meta{Body: []byte("body of " + c.Target.Name)})
}

// TestEveryDecisionIsOneEvent is the must and must-not table of the guard: what is decided, what is recorded, and that
// nothing is granted without a record (promises 1, 3 and 5).
func TestEveryDecisionIsOneEvent(t *testing.T) {
	down := errors.New("disk full")
	for _, tc := range []struct {
		name   string
		set    func(*doubles)
		tool   string
		status int // 0: granted
		kinds  []audit.Kind
	}{
		{"allowed, first use of the key", nil, "read", 0, []audit.Kind{audit.APIKeyUsed, audit.CallAllowed}},
		{"allowed, known key", func(d *doubles) { d.cached = true }, "read", 0, []audit.Kind{audit.CallAllowed}},
		{"no permission", func(d *doubles) { d.cached = true }, "write", 403, []audit.Kind{audit.PermissionDenied}},
		{"no credential", func(d *doubles) { d.refusal = &peer.Refusal{Why: peer.Missing} }, "read", 401, []audit.Kind{audit.AuthRequired}},
		{"bad credential", func(d *doubles) { d.refusal = &peer.Refusal{Why: peer.Invalid} }, "read", 401, []audit.Kind{audit.AuthFailed}},
		{"revoked credential", func(d *doubles) { d.refusal = &peer.Refusal{Why: peer.Revoked} }, "read", 401, []audit.Kind{audit.AuthFailed}},
		{"expired credential", func(d *doubles) { d.refusal = &peer.Refusal{Why: peer.Expired} }, "read", 401, []audit.Kind{audit.TokenExpired}},
		{"two credentials", func(d *doubles) { d.refusal = &peer.Refusal{Why: peer.Malformed} }, "read", 400, []audit.Kind{audit.InputRejected}},
		{"identity store down: 503, never 401", func(d *doubles) { d.refusal = &peer.Refusal{Why: peer.Unavailable} }, "read", 503, []audit.Kind{audit.StoreDegraded}},
		{"bad arguments", func(d *doubles) { d.cached, d.problem = true, &validate.Problem{Pointer: "/path"} }, "read", 400, []audit.Kind{audit.InputRejected}},
		{"definition not to be had", func(d *doubles) { d.cached, d.checkErr = true, down }, "read", 502, []audit.Kind{audit.UpstreamFailed}},
		{"limits cannot be asked", func(d *doubles) { d.cached, d.takeErr = true, down }, "read", 503, []audit.Kind{audit.StoreDegraded}},
		{"revoked while the body came", func(d *doubles) { d.cached, d.revoked = true, true }, "read", 401, []audit.Kind{audit.AuthFailed}},
		{"expired while the body came", func(d *doubles) { d.cached, d.revoked, d.who.Expires = true, true, d.now }, "read", 401, []audit.Kind{audit.TokenExpired}},
		{"no record, no call", func(d *doubles) { d.cached, d.record = true, down }, "read", 503, nil},
		{"no record of a refusal", func(d *doubles) { d.cached, d.record = true, down }, "write", 503, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g, d := open(t, ratelimit.Limits{})
			if tc.set != nil {
				tc.set(d)
			}
			grant, denial := walk(g, call(tc.tool))
			switch {
			case (grant == nil) == (denial == nil):
				t.Fatal("neither or both of grant and denial")
			case denial == nil && tc.status != 0, denial != nil && denial.Status != tc.status:
				t.Errorf("got %+v, want status %d", denial, tc.status)
			}
			if got := d.kinds(); !equal(got, tc.kinds) {
				t.Errorf("recorded %v, want %v", got, tc.kinds)
			}
		})
	}
}

func equal(a, b []audit.Kind) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestRefusalsAskNothing holds promise 8: a refusal is computed from the caller and the name alone.
func TestRefusalsAskNothing(t *testing.T) {
	g, d := open(t, ratelimit.Limits{})
	_, existing := walk(g, call("write"))
	_, invented := walk(g, call("no_such_tool"))
	if d.checks != 0 {
		t.Error("the tool's definition was looked up for a refused call")
	}
	if existing.Permission != "files:write" || invented.Permission != "files:no_such_tool" || existing.Reason != invented.Reason || existing.Status != invented.Status {
		t.Errorf("the refusals differ by more than the name: %+v, %+v", existing, invented)
	}
}

// TestLimitedCallRefundsTheGlobalBucket: a caller over his own limit costs the others nothing.
func TestLimitedCallRefundsTheGlobalBucket(t *testing.T) {
	g, d := open(t, ratelimit.Limits{
		Global: ratelimit.Limit{Capacity: 10, Refill: 0.001},
		Roles:  map[string]ratelimit.Limit{"user": {Capacity: 2, Refill: 0.001}},
	})
	d.cached = true
	statuses := map[int]int{}
	for range 100 {
		if _, denial := walk(g, call("read")); denial != nil {
			statuses[denial.Status]++
			if denial.RetryAfter <= 0 || denial.Rule != "limit:principal" {
				t.Fatalf("%+v", denial)
			}
		} else {
			statuses[0]++
		}
	}
	if statuses[0] != 2 || statuses[429] != 98 {
		t.Errorf("got %v, want 2 granted and 98 limited by the principal's own bucket", statuses)
	}
}

// TestFailuresOfAnAddressAreLimited: guesses beyond the bucket are told to wait, stay failed authentications, and cost
// a good credential from the same address nothing.
func TestFailuresOfAnAddressAreLimited(t *testing.T) {
	g, d := open(t, ratelimit.Limits{FailedAuth: ratelimit.Limit{Capacity: 3, Refill: 0.001}})
	d.refusal = &peer.Refusal{Why: peer.Invalid, Claimed: "bob"}
	for i := range 5 {
		_, denial := walk(g, call("read"))
		if want := map[bool]int{true: 401, false: 429}[i < 3]; denial.Status != want || denial.Kind != audit.AuthFailed {
			t.Errorf("guess %d: %+v, want %d", i+1, denial, want)
		}
	}
	for _, e := range d.events {
		if e.Claimed != "bob" || e.Principal.Subject != "" {
			t.Errorf("a claimed identity was recorded as a principal: %+v", e)
		}
	}
	d.refusal = nil
	if _, denial := walk(g, call("read")); denial != nil {
		t.Errorf("a good credential behind a guessing address was refused: %+v", denial)
	}
}

// TestRepeatedRefusalIsCountedOnce: the repetition that a client makes by itself is recorded and marked.
func TestRepeatedRefusalIsCountedOnce(t *testing.T) {
	g, d := open(t, ratelimit.Limits{})
	d.cached = true
	var repeats []bool
	for _, pause := range []time.Duration{0, time.Second, time.Second, 3 * time.Second, 0} {
		d.now = d.now.Add(pause)
		_, _ = walk(g, call("write")) // the event is what counts
		repeats = append(repeats, d.events[len(d.events)-1].Repeat)
	}
	want := []bool{false, true, false, false, true}
	for i := range want {
		if repeats[i] != want[i] {
			t.Fatalf("marked as repetition: %v, want %v", repeats, want)
		}
	}
}

func TestFinishRefersToTheDecision(t *testing.T) {
	g, d := open(t, ratelimit.Limits{})
	d.cached = true
	grant, _ := walk(g, call("read"))
	d.now = d.now.Add(40 * time.Millisecond)
	grant.Finish(guard.Result{Outcome: audit.Allowed, Status: 200, BytesOut: 7})
	e := d.events[len(d.events)-1]
	if e.Kind != audit.CallCompleted || e.Ref != grant.Seq || e.Duration != 40*time.Millisecond || e.Tool != "read" || e.Principal.Name != "alice" || e.Status != 200 {
		t.Errorf("got %+v", e)
	}
}

func TestValidNeedsCredentialAndPermission(t *testing.T) {
	g, d := open(t, ratelimit.Limits{})
	ctx := context.Background()
	stranger := d.who
	stranger.Roles = nil
	if !g.Valid(ctx, &d.who, "files") || g.Valid(ctx, &stranger, "files") || g.Valid(ctx, &d.who, "elsewhere") {
		t.Error("Valid does not follow the permissions")
	}
	d.revoked = true
	if g.Valid(ctx, &d.who, "files") {
		t.Error("a revoked principal is still valid")
	}
}

// What do the decisions of one call cost together, without the disk?
func BenchmarkGuard(b *testing.B) {
	huge := ratelimit.Limit{Capacity: 1e7, Refill: 1e7}
	g, d := open(b, ratelimit.Limits{Global: huge, Address: huge, Tool: huge, PrincipalTool: huge, Roles: map[string]ratelimit.Limit{"user": huge}})
	d.cached = true
	c := call("read")
	b.ReportAllocs()
	for b.Loop() {
		if _, denial := walk(g, c); denial != nil {
			b.Fatal(denial)
		}
		d.events = d.events[:0]
	}
}
