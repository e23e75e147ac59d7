package guard

import (
	"context"
	"math"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Meta is what a record says of a call beside what was decided.
type Meta struct {
	Session string // hash of the session id; empty in the modern era
	Body    []byte // the message as it came: its size is recorded, and its hash tells a client's automatic repetition
}

// Grant is the permission to make one call. Whoever has one must Leave it. It is used by one goroutine, but for Valid.
type Grant struct {
	Caller *Caller
	Seq    uint64 // of the record of the decision
	event  audit.Event
	start  time.Time
	call   *policy.Call
}

// Valid reports whether the grant would still be given: the caller's credential is good, and the policy in force now
// allows the call. Open streams are asked about twice a second.
func (g *Grant) Valid(ctx context.Context) bool {
	c, guard := g.Caller, g.Caller.admitted.guard
	return guard.authn.Valid(ctx, c.Principal, guard.now()) && guard.settings.Load().Rules.Allows(c.Principal, g.call).Allowed
}

// Leave ends the call: it is under way no more. It is called once.
func (g *Grant) Leave() { g.Caller.admitted.guard.inFlight.leave(g.Caller.Principal) }

// Authorize decides one call: rules, then the caller's buckets, then the arguments. The decision is on record when it
// returns, in durable mode on disk. A refusal is computed from the caller and the requested name alone.
func (c *Caller) Authorize(ctx context.Context, call *policy.Call, m Meta) (*Grant, *Denial) {
	g := c.admitted.guard
	e := c.describe(call, m)
	v := c.admitted.settings.Rules.Allows(c.Principal, call)
	e.Rule, e.Permission = v.Rule, v.Permission
	if !v.Allowed {
		e.Repeat = g.repeats.seen(c.fingerprint(m), e.Time)
		return nil, g.refuse(ctx, e, &Denial{
			Kind: audit.PermissionDenied, Status: 403, Permission: v.Permission, Reason: v.Reason,
			Scope: v.Reason == policy.ReasonScope,
		}, true)
	}
	if d := c.draw(ctx, call); d != nil {
		e.Rule = d.Rule
		return nil, g.refuse(ctx, e, d, true)
	}
	if d := c.arguments(ctx, call); d != nil {
		e.Rule = d.Rule
		return nil, g.refuse(ctx, e, d, true)
	}
	if d := c.still(ctx); d != nil {
		e.Rule = d.Rule
		return nil, g.refuse(ctx, e, d, true)
	}
	if !g.inFlight.enter(c.Principal, c.atOnce()) {
		e.Rule = inFlightRule
		return nil, g.refuse(ctx, e, &Denial{Kind: audit.RateLimitExceeded, Status: 429, Rule: inFlightRule, Reason: "too many requests and streams are open", RetryAfter: time.Second}, true)
	}
	e.Kind, e.Outcome = audit.CallAllowed, audit.Allowed
	if err := g.recorder.Record(ctx, e); err != nil {
		g.inFlight.leave(c.Principal)
		return nil, unrecorded(err)
	}
	return &Grant{Caller: c, Seq: e.Seq, event: *e, start: e.Time, call: call}, nil
}

// Reject records that a caller's message was not acceptable: it could not be parsed, or breaks a rule of its era.
func (c *Caller) Reject(ctx context.Context, call *policy.Call, m Meta, d *Denial) *Denial {
	e := c.describe(call, m)
	return c.admitted.guard.refuse(ctx, e, d, true)
}

// describe starts the record of a call; a nil call has no MCP fields.
func (c *Caller) describe(call *policy.Call, m Meta) *audit.Event {
	e := c.event()
	e.Session, e.BytesIn = m.Session, int64(len(m.Body))
	if call != nil {
		e.Method, e.Tool = call.Method, call.Target.Name
	}
	return e
}

// draw takes the call from the principal's and the tool's buckets. A refusal gives back the global token: the call
// cost the others nothing.
func (c *Caller) draw(ctx context.Context, call *policy.Call) *Denial {
	a, g := c.admitted, c.admitted.guard
	tool := ""
	if call.Target.Kind == policy.Tool {
		tool = call.Target.Name
	}
	var space [3]ratelimit.Draw
	draws := a.settings.Limits.Call(space[:0], c.Principal.ID(), c.Principal.Roles, call.Server, tool)
	v, err := g.buckets.Take(ctx, g.now(), draws)
	switch {
	case err != nil:
		return unavailable("limits", err)
	case v.OK:
		return nil
	}
	if a.shared[0].Cost > 0 {
		_ = g.buckets.Refund(ctx, g.now(), a.shared[:]) // too strict at worst
		a.shared[0].Cost = 0
	}
	return limited(draws[v.Refused].Key.Layer, v.RetryAfter)
}

const inFlightRule = "limit:in_flight"

// atOnce is how many requests and streams the caller may have open: as many as its bucket holds.
func (c *Caller) atOnce() int {
	limit := c.admitted.settings.Limits.Role(c.Principal.Roles)
	if limit.IsUnlimited() {
		return math.MaxInt
	}
	return max(minInFlight, int(limit.Capacity))
}

// arguments checks a tool call against the definition its server advertised.
func (c *Caller) arguments(ctx context.Context, call *policy.Call) *Denial {
	if call.Target.Kind != policy.Tool {
		return nil
	}
	problem, err := c.admitted.guard.args.Check(ctx, call.Server, call.Target.Name, call.Arguments)
	switch {
	case err != nil:
		return &Denial{Kind: audit.UpstreamFailed, Status: 502, Rule: "validation", Reason: "the tool's definition could not be had: " + err.Error(), RetryAfter: time.Second}
	case problem != nil:
		return &Denial{Kind: audit.InputRejected, Status: 400, Rule: "validation", Pointer: problem.Pointer, Detail: problem.Message, Reason: problem.Place + ": " + problem.Message}
	}
	return nil
}

// still refuses a caller whose credential ended since it was authenticated: while the body was on its way, or while the
// server was asked for its definitions.
func (c *Caller) still(ctx context.Context) *Denial {
	g, p := c.admitted.guard, c.Principal
	now := g.now()
	switch {
	case g.authn.Valid(ctx, p, now):
		return nil
	case !p.Expires.IsZero() && !now.Before(p.Expires):
		return &Denial{Kind: audit.TokenExpired, Status: 401, Rule: "authentication", Reason: "the credential expired while the request was on its way"}
	}
	return &Denial{Kind: audit.AuthFailed, Status: 401, Rule: "authentication", Reason: "the credential was taken back while the request was on its way"}
}

// Result is how a granted call ended.
type Result struct {
	Outcome  audit.Outcome // Allowed: answered; Failed: the upstream did not answer as it should
	Status   int
	BytesOut int64
	Reason   string // why it failed; empty otherwise
}

// Finish records the outcome of the call. It does not wait for the disk.
func (g *Grant) Finish(r Result) {
	guard := g.Caller.admitted.guard
	e := g.event
	e.Seq, e.Repeat = 0, false
	e.Kind, e.Outcome, e.Ref = audit.CallCompleted, r.Outcome, g.Seq
	e.Time = guard.now().UTC()
	e.Duration = max(0, e.Time.Sub(g.start))
	e.Status, e.BytesOut, e.Reason = r.Status, r.BytesOut, r.Reason
	guard.recorder.Note(&e)
}

// Note records something that happened under the grant, such as the end of a session.
func (g *Grant) Note(kind audit.Kind, reason string) {
	guard := g.Caller.admitted.guard
	e := g.event
	e.Seq, e.Kind, e.Outcome, e.Ref, e.Reason = 0, kind, audit.Info, g.Seq, reason
	e.Time = guard.now().UTC()
	guard.recorder.Note(&e)
}
