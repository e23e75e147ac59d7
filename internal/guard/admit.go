package guard

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Admitted is a connection that may go on to authenticate.
type Admitted struct {
	guard    *Guard
	settings *Settings
	peer     peer.Peer
	shared   [1]ratelimit.Draw // the draw on the global bucket, for the refund
}

// Admit takes the request from the global and the address's buckets, under the policy in force. Requests whose
// credential is not known to be good share half of the global bucket, so that they cannot use up what callers need.
func (g *Guard) Admit(ctx context.Context, p peer.Peer) (*Admitted, *Denial) {
	return g.AdmitUnder(ctx, g.settings.Load(), p)
}

// AdmitUnder is Admit under a snapshot of the policy, for who must see policy and other settings change as one.
func (g *Guard) AdmitUnder(ctx context.Context, s *Settings, p peer.Peer) (*Admitted, *Denial) {
	a := &Admitted{guard: g, settings: s, peer: p}
	var space [4]ratelimit.Draw
	draws := a.settings.Limits.Admission(space[:0], peer.Bucket64(p.Addr), peer.Bucket48(p.Addr), g.authn.Cached(p))
	for i := range draws {
		if draws[i].Key.Layer == ratelimit.Global {
			a.shared[0] = draws[i]
		}
	}
	v, err := g.buckets.Take(ctx, g.now(), draws)
	switch {
	case err != nil:
		return nil, g.refuse(ctx, a.event(), unavailable("limits", err), false)
	case !v.OK:
		return nil, g.refuse(ctx, a.event(), limited(draws[v.Refused].Key.Layer, v.RetryAfter), false)
	}
	return a, nil
}

// Refuse records a refusal made before or beside authentication: a forbidden Host or Origin, an unusable forwarding
// header.
func (g *Guard) Refuse(ctx context.Context, p peer.Peer, d *Denial) *Denial {
	a := Admitted{guard: g, peer: p}
	return g.refuse(ctx, a.event(), d, false)
}

// Authenticate verifies the credential for a server and records the outcome, unless it was verified before.
func (a *Admitted) Authenticate(ctx context.Context, server string) (*Caller, *Denial) {
	g := a.guard
	principal, cached, err := g.authn.Authenticate(ctx, a.peer, server)
	if err != nil {
		return nil, a.unauthenticated(ctx, server, err)
	}
	c := &Caller{admitted: a, Principal: principal, server: server}
	if !cached {
		e := c.event()
		e.Kind, e.Outcome, e.Rule = audit.AuthSuccess, audit.Allowed, principal.Method
		if principal.Method == "api_key" {
			e.Kind = audit.APIKeyUsed
		}
		g.recorder.Note(e) // in the queue before any record of a call, so on disk before the call runs
	}
	return c, nil
}

func (a *Admitted) unauthenticated(ctx context.Context, server string, err error) *Denial {
	var r *peer.Refusal
	if !errors.As(err, &r) {
		r = &peer.Refusal{Why: peer.Unavailable, Reason: err.Error()}
	}
	d := &Denial{Kind: audit.AuthFailed, Status: 401, Rule: "authentication", Reason: r.Reason}
	switch r.Why {
	case peer.Missing:
		d.Kind = audit.AuthRequired
	case peer.Malformed:
		d.Kind, d.Status = audit.InputRejected, 400
	case peer.Expired:
		d.Kind = audit.TokenExpired
	case peer.Unavailable:
		d = unavailable("credentials", err)
	case peer.Invalid, peer.Revoked:
		a.drawFailure(ctx, d)
	}
	e := a.event()
	e.Server, e.Claimed = server, r.Claimed
	return a.guard.refuse(ctx, e, d, false)
}

// drawFailure takes a failed authentication from the address's bucket. When it is empty the answer says to wait; it
// stays a failed authentication, so that nobody hides in a run of refusals, and a good credential from the same
// address is still accepted.
func (a *Admitted) drawFailure(ctx context.Context, d *Denial) {
	var space [1]ratelimit.Draw
	draws := a.settings.Limits.FailedAuth(space[:0], peer.Bucket64(a.peer.Addr))
	v, err := a.guard.buckets.Take(ctx, a.guard.now(), draws)
	if err != nil || !v.OK {
		d.Status, d.Rule, d.RetryAfter = 429, "limit:"+ratelimit.FailedAuth.String(), max(v.RetryAfter, time.Second)
	}
}

func (a *Admitted) event() *audit.Event {
	return &audit.Event{Time: a.guard.now().UTC(), IP: a.peer.Addr, UserAgent: a.peer.UserAgent}
}

func unavailable(layer string, err error) *Denial {
	return &Denial{Kind: audit.StoreDegraded, Status: 503, Rule: layer, Reason: err.Error(), RetryAfter: time.Second}
}

func limited(layer ratelimit.Layer, after time.Duration) *Denial {
	return &Denial{Kind: audit.RateLimitExceeded, Status: 429, Rule: "limit:" + layer.String(), Reason: "the bucket is empty", RetryAfter: after}
}

// Caller is an authenticated connection: the principal, on one server, under one policy.
type Caller struct {
	Principal *policy.Principal
	admitted  *Admitted
	server    string
}

// Peer returns the connection.
func (c *Caller) Peer() *peer.Peer { return &c.admitted.peer }

// Under replaces the snapshot of the policy: between the request's head, on which the caller was authenticated, and the
// end of its body there is as much time as the client likes.
func (c *Caller) Under(s *Settings) { c.admitted.settings = s }

// Visible reports whether an entry of one of the server's lists is shown to the caller. The policy in force now decides:
// streams live longer than policies.
func (c *Caller) Visible(kind policy.Target, name string) bool {
	return c.admitted.guard.settings.Load().Rules.Visible(c.Principal, c.server, policy.Named{Kind: kind, Name: name})
}

func (c *Caller) event() *audit.Event {
	e := c.admitted.event()
	p := c.Principal
	e.Principal = audit.Identity{Issuer: p.Issuer, Subject: p.Subject, Name: p.Name}
	e.Credential, e.Client, e.Server = p.Credential, p.Client, c.server
	return e
}
