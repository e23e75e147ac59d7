// Package guard decides: may this connection speak, who is it, and may it make this call. Deciding and recording are
// one act: whatever is decided here is one event, and a decision whose record cannot be kept is a refusal.
//
// The steps are types, so that a wrong order does not compile: [Guard.Admit] gives an [Admitted], its Authenticate a
// [Caller], and the Caller's Authorize a [Grant], without which no upstream is asked. One request sees one policy: the
// snapshot is taken by Admit and handed on.
//
// Fail closed: when buckets, credentials or the log cannot be asked, the answer is a Denial with status 503.
package guard

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/internal/validate"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Authenticator turns a presented credential into a principal. Errors are *peer.Refusal. It is safe for concurrent use.
type Authenticator interface {
	// Authenticate verifies the peer's credential for a server. cached reports that it was verified before and only
	// its expiry and revocation were checked now.
	Authenticate(ctx context.Context, p peer.Peer, server string) (principal *policy.Principal, cached bool, err error)
	// Cached reports whether the credential is known to be good, without cryptography or a store.
	Cached(p peer.Peer) bool
	// Valid reports whether the principal's credential has neither expired nor been taken back.
	Valid(ctx context.Context, p *policy.Principal, now time.Time) bool
}

// Arguments checks the arguments of a tool call. A nil Problem is good; an error means that the tool's definition
// could not be had.
type Arguments interface {
	Check(ctx context.Context, server, tool string, arguments []byte) (*validate.Problem, error)
}

// Recorder keeps events. *audit.Recorder is one.
type Recorder interface {
	Record(ctx context.Context, e *audit.Event) error
	Note(e *audit.Event)
}

// Config is what a Guard is built from. Every field but Logger and Now is required.
type Config struct {
	Authenticator Authenticator
	Arguments     Arguments
	Buckets       ratelimit.Buckets
	Recorder      Recorder
	Settings      Settings
	Logger        *slog.Logger     // nil: slog.Default()
	Now           func() time.Time // nil: time.Now
}

// Settings is the part that a reload replaces as a whole.
type Settings struct {
	Rules  *policy.Rules
	Limits *ratelimit.Table
}

// Guard is the one decision maker of a program. It is safe for concurrent use.
type Guard struct {
	authn    Authenticator
	args     Arguments
	buckets  ratelimit.Buckets
	recorder Recorder
	settings atomic.Pointer[Settings]
	repeats  repeats
	inFlight inFlight
	log      *slog.Logger
	now      func() time.Time
}

// New checks the configuration and builds a Guard.
func New(c Config) (*Guard, error) {
	if c.Authenticator == nil || c.Arguments == nil || c.Buckets == nil || c.Recorder == nil {
		return nil, errors.New("guard: Authenticator, Arguments, Buckets and Recorder are required")
	}
	g := &Guard{authn: c.Authenticator, args: c.Arguments, buckets: c.Buckets, recorder: c.Recorder, log: c.Logger, now: c.Now}
	if g.log == nil {
		g.log = slog.Default()
	}
	if g.now == nil {
		g.now = time.Now
	}
	return g, g.Apply(c.Settings)
}

// Apply replaces policy and limits for every request that is admitted from now on.
func (g *Guard) Apply(s Settings) error {
	if s.Rules == nil || s.Limits == nil {
		return errors.New("guard: Settings need Rules and Limits")
	}
	g.settings.Store(&s)
	return nil
}

// InForce returns the snapshot of policy and limits in force. It is not to be changed.
func (g *Guard) InForce() *Settings { return g.settings.Load() }

// Rules returns the policy in force.
func (g *Guard) Rules() *policy.Rules { return g.settings.Load().Rules }

// Valid reports whether a principal may still be served: its credential is good, and it still has a permission on the
// server. Open streams and children are asked about twice a second.
func (g *Guard) Valid(ctx context.Context, p *policy.Principal, server string) bool {
	return g.authn.Valid(ctx, p, g.now()) && g.settings.Load().Rules.Any(p, server)
}

// refuse records a denial and returns it. Refusals after authentication wait for the record (wait), those before do
// not. When the record of a refusal cannot be kept the refusal stands: nothing ran.
func (g *Guard) refuse(ctx context.Context, e *audit.Event, d *Denial, wait bool) *Denial {
	e.Kind, e.Outcome, e.Status, e.Reason, e.Permission = d.Kind, audit.Denied, d.Status, d.Reason, d.Permission
	if e.Rule == "" {
		e.Rule = d.Rule
	}
	if !wait {
		g.recorder.Note(e)
		return d
	}
	if err := g.recorder.Record(ctx, e); err != nil {
		return unrecorded(err)
	}
	d.Seq = e.Seq
	return d
}

// unrecorded is the denial of a decision that could not be recorded.
func unrecorded(err error) *Denial {
	return &Denial{Kind: audit.StoreDegraded, Status: 503, Rule: "audit", Reason: "the record could not be kept: " + err.Error(), RetryAfter: time.Second}
}
