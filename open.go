package sallyport

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
	"github.com/sallyport-mcp/sallyport/internal/authn"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/internal/gateway"
	"github.com/sallyport-mcp/sallyport/internal/guard"
	"github.com/sallyport-mcp/sallyport/internal/memstore"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/internal/token"
	"github.com/sallyport-mcp/sallyport/internal/validate"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Guard is a running guard in front of MCP servers. It is safe for concurrent use.
type Guard struct {
	config    Config // as of the last Reload, defaults filled in; guarded by mu
	dataDir   string // this and the next two never change
	logger    *slog.Logger
	now       func() time.Time
	mu        sync.Mutex
	gateway   *gateway.Gateway
	guard     *guard.Guard
	recorder  *audit.Recorder
	log       audit.Log
	detect    *detect.Engine
	keys      *apikey.Service
	tokens    *token.Service
	store     Store
	ups       map[string]opened // by server name; guarded by mu
	limits    *ratelimit.Table  // guarded by mu
	counter   admin.Counter
	retention time.Duration // of records; never changed
	ops       *admin.Operations
	closers   []func(context.Context) error // in the order of opening; guarded by mu
}

// ErrAuditLog is wrapped by Open when the audit log in the data directory cannot be continued: it is damaged, belongs to
// another key, or cannot be opened. Nothing is changed then.
var ErrAuditLog = errors.New("audit log")

// Open checks the configuration and starts a guard. The caller must Close it. Nothing listens: serve Handler.
// Everything that was opened is closed again when Open fails.
func Open(ctx context.Context, c Config) (_ *Guard, err error) {
	if c.DataDir == "" {
		return nil, errors.New("sallyport: Config.DataDir is required")
	}
	c = withDefaults(c)
	g := &Guard{config: c, dataDir: c.DataDir, logger: c.Log, now: c.Now, store: c.Store, ups: map[string]opened{}}
	defer func() {
		if err != nil {
			_ = g.Close(context.WithoutCancel(ctx)) // the first error is the one that counts
		}
	}()
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	rules, err := g.compile(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := g.openIdentity(ctx, c); err != nil {
		return nil, err
	}
	recovered, err := g.openRecord(c)
	if err != nil {
		return nil, err
	}
	if err := g.openGateway(ctx, c, rules); err != nil {
		return nil, err
	}
	if recovered != nil {
		g.recorder.Note(recovered)
	}
	started := &audit.Event{Time: c.Now().UTC(), Kind: audit.ServerStarted, Outcome: audit.Info, Reason: c.Purpose}
	if err := g.recorder.Record(ctx, started); err != nil {
		return nil, fmt.Errorf("the audit log takes no record: %w", err)
	}
	return g, nil
}

func withDefaults(c Config) Config {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Store == nil {
		c.Store = memstore.New()
	}
	if c.Auth.AnonymousRole == "" {
		c.Auth.AnonymousRole = "guest"
	}
	c.Servers = slices.Clone(c.Servers)
	for i := range c.Servers {
		if c.Servers[i].Path == "" {
			c.Servers[i].Path = "/" + c.Servers[i].Name + "/mcp"
		}
	}
	return c
}

// compile builds the policy from defaults, configuration and stored roles. A stored role never replaces a configured one.
func (g *Guard) compile(ctx context.Context, c Config) (*policy.Rules, error) {
	stored, err := c.Store.StoredRoles(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the stored roles: %w", err)
	}
	roles := withRoles(c.Roles, stored, policy.DefaultRoles())
	names := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		names[i] = s.Name
	}
	return policy.Compile(policy.Config{Servers: names, Roles: roles, Rules: c.Permissions})
}

// withRoles adds the roles of further lists whose names are not taken.
func withRoles(first []policy.Role, further ...[]policy.Role) []policy.Role {
	roles := slices.Clone(first)
	for _, more := range further {
		for _, role := range more {
			if !slices.ContainsFunc(roles, func(r policy.Role) bool { return r.Name == role.Name }) {
				roles = append(roles, role)
			}
		}
	}
	return roles
}

// openIdentity opens what verifies credentials.
func (g *Guard) openIdentity(ctx context.Context, c Config) error {
	keys, err := apikey.New(ctx, apikey.Config{Store: c.Store, Now: c.Now, Logger: c.Log, Roles: func(name string) bool {
		return g.guard == nil || g.guard.Rules().HasRole(name)
	}})
	if err != nil {
		return err
	}
	g.keys = keys
	g.closers = append(g.closers, func(context.Context) error { return keys.Close() })
	signing, err := tokenConfig(c)
	if err != nil {
		return err
	}
	g.tokens, err = token.New(ctx, signing)
	return err
}

func tokenConfig(c Config) (token.Config, error) {
	t := token.Config{Store: c.Store, Issuer: issuer(c), TTL: c.Auth.AccessTTL, Now: c.Now}
	switch c.Auth.Algorithm {
	case "", "EdDSA":
		seed, err := loadKey(c.DataDir, "token-eddsa")
		if err != nil {
			return t, err
		}
		t.Private = ed25519.NewKeyFromSeed(seed)
	case "HS256":
		t.Secret = c.Auth.HS256Secret
		if t.Secret.IsZero() {
			key, err := loadKey(c.DataDir, "token-hs256")
			if err != nil {
				return t, err
			}
			t.Secret = NewSecret(string(key))
		}
	default:
		return t, fmt.Errorf("token algorithm %q is not known: use EdDSA or HS256", c.Auth.Algorithm)
	}
	return t, nil
}

func issuer(c Config) string {
	if c.PublicURL == "" {
		return "http://localhost"
	}
	return strings.TrimSuffix(c.PublicURL, "/")
}

// openRecord opens the audit log, detection and the recorder between them. The event tells of a torn tail that was cut.
func (g *Guard) openRecord(c Config) (recovered *audit.Event, err error) {
	g.retention = c.Audit.Retention
	if g.retention == 0 {
		g.retention = recordsKept
	}
	g.log = c.Audit.Log
	if g.log == nil {
		if recovered, err = g.openLog(c); err != nil {
			return nil, err
		}
	}
	g.closers = append(g.closers, func(context.Context) error { return g.log.Close() })
	if g.detect, err = detect.New(detect.Config{Thresholds: c.Detect, Now: c.Now}); err != nil {
		return nil, err
	}
	durable, err := durability(c.Audit.Mode)
	if err != nil {
		return nil, err
	}
	if !durable {
		c.Log.Warn("audit mode is async: calls do not wait for their record, and a crash can lose the last ones")
	}
	g.recorder, err = audit.NewRecorder(audit.RecorderConfig{Log: g.log, Durable: durable, Observe: g.observe, Now: c.Now, Logger: c.Log})
	if err != nil {
		return nil, err
	}
	g.closers = append(g.closers, g.recorder.Close)
	return recovered, nil
}

func durability(mode string) (durable bool, err error) {
	switch mode {
	case "", "durable":
		return true, nil
	case "async":
		return false, nil
	}
	return false, fmt.Errorf("audit mode %q is not known: use durable or async", mode)
}

// openGateway builds the guard and the handler in front of the servers.
func (g *Guard) openGateway(ctx context.Context, c Config, rules *policy.Rules) error {
	seal, err := loadKey(c.DataDir, "seal")
	if err != nil {
		return err
	}
	sealer, err := wire.NewSealer(NewSecret(string(seal)))
	if err != nil {
		return err
	}
	settings, ups, err := g.endpoints(c)
	if err != nil {
		return err
	}
	g.ups = ups
	g.closers = append(g.closers, g.closeUpstreams)
	g.gateway, err = gateway.New(gateway.Config{
		Sealer: sealer, Catalogue: validate.NewCatalogue(validate.Limits{}), Settings: settings,
		PrivateList: !c.Auth.Disabled, Logger: c.Log, Now: c.Now,
	})
	if err != nil {
		return err
	}
	limits, err := ratelimit.NewTable(c.Limits)
	if err != nil {
		return err
	}
	g.limits = limits
	authenticator, err := authn.New(authn.Config{Keys: g.keys, Tokens: g.tokens, Anonymous: anonymous(c), Audience: g.gateway.Resource, Now: c.Now})
	if err != nil {
		return err
	}
	g.guard, err = guard.New(guard.Config{
		Authenticator: authenticator, Arguments: g.gateway.Definitions(),
		Buckets: memstore.NewBuckets(memstore.BucketsConfig{}), Recorder: g.recorder, Logger: c.Log, Now: c.Now,
		Settings: guard.Settings{Rules: rules, Limits: limits},
	})
	if err != nil {
		return err
	}
	g.gateway.Use(g.guard)
	g.closers = append(g.closers, func(context.Context) error { g.gateway.Close(); return nil })
	g.ops = g.operations()
	keeping, stop := context.WithCancel(context.Background())
	var kept sync.WaitGroup
	kept.Go(func() { g.keepRetention(keeping) })
	if log, ok := g.log.(*auditlog.Log); ok {
		kept.Go(func() { g.keepSpace(keeping, log, c.Audit.WhenFull == "refuse") })
	}
	g.closers = append(g.closers, func(context.Context) error { stop(); kept.Wait(); return nil })
	return nil
}

func anonymous(c Config) *policy.Principal {
	if !c.Auth.Disabled {
		return nil
	}
	return &policy.Principal{Issuer: "none", Subject: "anonymous", Name: "anonymous", Method: "anonymous", Roles: []string{c.Auth.AnonymousRole}}
}

// settings is the part of the configuration that the handler needs, beside its endpoints.
func (g *Guard) front(c Config) (gateway.Settings, error) {
	s := gateway.Settings{Hosts: c.AllowedHosts, Origins: c.AllowedOrigins}
	s.Peers = peer.Config{TrustedProxies: c.TrustedProxies, TerminatedBy: c.TLSTerminatedBy}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || (u.Path != "" && u.Path != "/") {
			return s, fmt.Errorf("public URL %q must be an origin such as https://mcp.example.com", c.PublicURL)
		}
		s.PublicURL = u
	}
	return s, nil
}

// Handler returns the HTTP handler of all endpoints.
func (g *Guard) Handler() http.Handler { return g.gateway }

// Ready reports why calls cannot be served at present: the store does not answer, or the audit log cannot be written.
func (g *Guard) Ready(ctx context.Context) error {
	if g.recorder.Failing() {
		return errors.New("the audit log cannot be written")
	}
	return g.store.Ping(ctx)
}

// Operations returns what the command line, the console and jobs may do.
func (g *Guard) Operations() *admin.Operations { return g.ops }

// Close ends open streams, children and upstreams, writes the last records and closes the log. It does not close the
// Store it was given.
func (g *Guard) Close(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.guard != nil && len(g.closers) > 0 {
		g.recorder.Note(&audit.Event{Time: g.now().UTC(), Kind: audit.ServerStopped, Outcome: audit.Info, Reason: g.config.Purpose})
	}
	var errs []error
	for _, closer := range slices.Backward(g.closers) {
		errs = append(errs, closer(ctx))
	}
	g.closers = nil
	return errors.Join(errs...)
}
