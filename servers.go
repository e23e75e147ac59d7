package sallyport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/gateway"
	"github.com/sallyport-mcp/sallyport/internal/guard"
	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/internal/sandbox"
	"github.com/sallyport-mcp/sallyport/internal/securitymcp"
	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/policy"
)

// securityPath is the endpoint of Sallyport's own MCP server.
const securityPath = "/security/mcp"

// opened is an upstream in use and what it was made from.
type opened struct {
	server   Server
	upstream upstream.Upstream
}

// endpoints opens the upstreams of a configuration, taking over those that did not change. On an error everything that
// this call opened is closed again.
func (g *Guard) endpoints(c Config) (_ gateway.Settings, _ map[string]opened, err error) {
	settings, err := g.front(c)
	if err != nil {
		return settings, nil, err
	}
	if err := checkPaths(c.Servers); err != nil {
		return settings, nil, err
	}
	ups := map[string]opened{}
	defer func() {
		if err != nil {
			g.closeUnused(context.Background(), ups)
		}
	}()
	for _, s := range c.Servers {
		up, err := g.upstream(c, s)
		if err != nil {
			return settings, nil, fmt.Errorf("server %q: %w", s.Name, err)
		}
		ups[s.Name] = opened{server: s, upstream: up}
		settings.Servers = append(settings.Servers, gateway.Server{
			Name: s.Name, Path: s.Path, Upstream: up,
			MaxRequest: s.MaxRequest, JSONRPCRefusals: s.JSONRPCRefusals,
		})
	}
	security, err := g.security()
	if err != nil {
		return settings, nil, err
	}
	ups[policy.SecurityServer] = security
	settings.Servers = append(settings.Servers, gateway.Server{Name: policy.SecurityServer, Path: securityPath, Upstream: security.upstream})
	return settings, ups, nil
}

// upstream opens the upstream of one server, or takes over the one in use.
func (g *Guard) upstream(c Config, s Server) (upstream.Upstream, error) {
	if was, ok := g.ups[s.Name]; ok && sameUpstream(was.server, s) && slices.Equal(g.config.Hidden, c.Hidden) {
		return was.upstream, nil
	}
	set := 0
	for _, given := range []bool{len(s.Command) > 0, s.URL != "", s.Handler != nil} {
		if given {
			set++
		}
	}
	if set != 1 {
		return nil, errors.New("set exactly one of command, URL and handler")
	}
	switch {
	case s.URL != "":
		return upstream.NewRemote(upstream.RemoteConfig{URL: s.URL, Timeout: s.Timeout, MaxResponse: s.MaxResponse})
	case s.Handler != nil:
		return upstream.NewHandler(upstream.HandlerConfig{
			Handler: identified(s.Handler), Path: s.Path, Timeout: s.Timeout,
			MaxResponse: s.MaxResponse, Context: withPrincipal, Header: withPlaceholder, Logger: c.Log,
		})
	case len(c.ChildExec) == 0:
		return nil, errors.New("commands are refused: Config.ChildExec is empty")
	}
	return newChild(c, s)
}

// newChild opens the upstream of a command, which starts inside the sandbox.
func newChild(c Config, s Server) (upstream.Upstream, error) {
	if err := sandbox.CheckUser(s.User); err != nil {
		return nil, err
	}
	confined := sandbox.Policy{User: s.User}
	switch s.Sandbox {
	case "":
	case "landlock":
		hidden, err := sandbox.Hide(append([]string{c.DataDir}, c.Hidden...)...)
		if err != nil {
			return nil, err
		}
		confined.Hidden = hidden
	default:
		return nil, fmt.Errorf("sandbox %q is not known: use landlock", s.Sandbox)
	}
	return upstream.NewStdio(upstream.StdioConfig{
		Command: s.Command, Env: s.Env, Dir: s.Dir, Exec: slices.Concat(c.ChildExec, confined.Arguments()), Timeout: s.Timeout,
		MaxLine: int(s.MaxResponse), Logger: c.Log.With("server", s.Name),
	})
}

// sameUpstream reports whether two servers are reached in the same way. Handlers are compared by identity where they
// can be.
func sameUpstream(a, b Server) bool {
	if !sameHandler(a.Handler, b.Handler) {
		return false
	}
	a.Handler, b.Handler = nil, nil
	a.JSONRPCRefusals, b.JSONRPCRefusals = false, false
	a.MaxRequest, b.MaxRequest = 0, 0
	return reflect.DeepEqual(a, b)
}

func sameHandler(a, b http.Handler) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}

// security opens Sallyport's own MCP server, once.
func (g *Guard) security() (opened, error) {
	if was, ok := g.ups[policy.SecurityServer]; ok {
		return was, nil
	}
	up, err := upstream.NewHandler(upstream.HandlerConfig{Handler: securitymcp.New(g.report), Path: securityPath})
	return opened{server: Server{Name: policy.SecurityServer}, upstream: up}, err
}

// checkPaths refuses paths that are unclean, reserved, or overlap.
func checkPaths(servers []Server) error {
	reserved := []string{"/security", "/.well-known", "/oauth", "/console", "/api", "/healthz", "/readyz", "/metrics"}
	for i, s := range servers {
		if !strings.HasPrefix(s.Path, "/") || strings.ContainsAny(s.Path, "%?#{} ") || strings.Contains(s.Path, "//") || (s.Path != "/" && strings.HasSuffix(s.Path, "/")) {
			return fmt.Errorf("server %q: path %q is not a clean path such as /files/mcp", s.Name, s.Path)
		}
		for _, r := range reserved {
			if overlaps(s.Path, r) {
				return fmt.Errorf("server %q: path %q is reserved (%s)", s.Name, s.Path, r)
			}
		}
		for _, other := range servers[:i] {
			if overlaps(s.Path, other.Path) {
				return fmt.Errorf("server %q: path %q overlaps %q of server %q", s.Name, s.Path, other.Path, other.Name)
			}
		}
	}
	return nil
}

// overlaps reports whether two paths are equal or one contains the other.
func overlaps(a, b string) bool {
	return a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/") || strings.HasPrefix(b, strings.TrimSuffix(a, "/")+"/")
}

// Reload puts another configuration in force: servers, paths, permissions, roles, limits, hosts, origins and proxies,
// all or nothing. No request sees half of it. What needs a restart (data directory, store, authentication, audit,
// detection, public URL) must be unchanged. The change is recorded before it takes effect; so is a refused one.
func (g *Guard) Reload(ctx context.Context, c Config) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	c = withDefaults(c)
	if err := g.reload(ctx, c); err != nil {
		g.recorder.Note(&audit.Event{Time: g.now().UTC(), Kind: audit.ConfigRejected, Outcome: audit.Denied, Reason: err.Error()})
		return err
	}
	return nil
}

func (g *Guard) reload(ctx context.Context, c Config) error {
	if err := needsRestart(&g.config, &c); err != nil {
		return err
	}
	c.Store, c.Log, c.Now, c.Purpose = g.store, g.logger, g.now, g.config.Purpose
	rules, err := g.compile(ctx, c)
	if err != nil {
		return err
	}
	limits, err := ratelimit.NewTable(c.Limits)
	if err != nil {
		return err
	}
	settings, ups, err := g.endpoints(c)
	if err != nil {
		return err
	}
	changed := &audit.Event{Time: c.Now().UTC(), Kind: audit.ConfigChanged, Outcome: audit.Info}
	if err := g.recorder.Record(ctx, changed); err != nil {
		g.closeUnused(ctx, ups)
		return fmt.Errorf("the change could not be recorded: %w", err)
	}
	if err := g.gateway.Apply(settings, guard.Settings{Rules: rules, Limits: limits}); err != nil {
		return err
	}
	g.limits = limits
	old := g.ups
	g.ups, g.config = ups, c
	for name, was := range old {
		if now, ok := ups[name]; !ok || now.upstream != was.upstream {
			_ = was.upstream.Close(ctx) // nobody is sent there any more
		}
	}
	return nil
}

// needsRestart names the first part of the configuration that cannot change in a running program.
func needsRestart(a, b *Config) error {
	for name, same := range map[string]bool{
		"data_dir":   a.DataDir == b.DataDir,
		"public_url": a.PublicURL == b.PublicURL,
		"auth":       reflect.DeepEqual(a.Auth, b.Auth),
		"audit":      a.Audit.Mode == b.Audit.Mode && a.Audit.Retention == b.Audit.Retention,
		"detect":     reflect.DeepEqual(a.Detect, b.Detect),
	} {
		if !same {
			return fmt.Errorf("%s cannot change while the gateway runs: restart it", name)
		}
	}
	return nil
}

// closeUnused closes upstreams that are not the ones in use.
func (g *Guard) closeUnused(ctx context.Context, ups map[string]opened) {
	for name, up := range ups {
		if was, ok := g.ups[name]; !ok || was.upstream != up.upstream {
			_ = up.upstream.Close(ctx) // it served nobody
		}
	}
}

// closeUpstreams closes everything in use.
func (g *Guard) closeUpstreams(ctx context.Context) error {
	var errs []error
	for _, up := range g.ups {
		errs = append(errs, up.upstream.Close(ctx))
	}
	return errors.Join(errs...)
}

// Probe asks every server what it speaks, and returns what went wrong by server name.
func (g *Guard) Probe(ctx context.Context) map[string]error {
	g.mu.Lock()
	servers := g.config.Servers
	g.mu.Unlock()
	failed := map[string]error{}
	for _, s := range servers {
		if _, err := g.gateway.Probe(ctx, s.Name); err != nil {
			failed[s.Name] = err
		}
	}
	return failed
}
