// Package gateway is the HTTP handler in front of MCP servers: the life of one request, for both protocol eras on one
// URL. It decides nothing itself: package guard does, and nothing is forwarded without its Grant.
//
// serve reads top to bottom in the order of the layers; respond.go holds the only function that turns errors into
// answers. What was judged is what is forwarded: the body is read and parsed once, and the upstream gets a message
// emitted from that parse.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/guard"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/validate"
	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// Server is one endpoint.
type Server struct {
	Name            string
	Path            string // exact URL path
	Upstream        upstream.Upstream
	MaxRequest      int64 // bytes of a client message; 0: 4 MiB
	JSONRPCRefusals bool  // answer refusals with HTTP 200, for clients that take a 4xx for a lost connection
}

// Config is what a Gateway is built from. Guard is set later, by Use: the guard needs the gateway's Definitions.
type Config struct {
	Sealer      *wire.Sealer
	Catalogue   *validate.Catalogue
	Settings    Settings
	PrivateList bool             // authentication is on: lists differ by caller and must not be shared by caches
	Logger      *slog.Logger     // nil: slog.Default()
	Now         func() time.Time // nil: time.Now
}

// Settings is the part that a reload replaces as a whole.
type Settings struct {
	Servers   []Server
	Peers     peer.Config
	PublicURL *url.URL // may be nil
	Hosts     []string // allowed Host names, beside PublicURL's and loopback names
	Origins   []string // allowed browser origins, beside PublicURL's and loopback origins
}

// Gateway serves the endpoints. It is safe for concurrent use.
type Gateway struct {
	guard    *guard.Guard
	sealer   *wire.Sealer
	routes   atomic.Pointer[routes]
	sessions sessions
	live     live
	defs     *Definitions
	private  bool
	hinted   atomic.Int64 // Unix time of the last hint in the log
	log      *slog.Logger
	now      func() time.Time
	stop     context.CancelFunc
	done     sync.WaitGroup
}

// routes is one configuration in force; a request uses the same one from beginning to end.
type routes struct {
	settings Settings
	policy   *guard.Settings // nil until Use
	byPath   map[string]*endpoint
	byName   map[string]*endpoint
	front    front
}

// endpoint is a Server with what was found out about it.
type endpoint struct {
	Server
	facts *facts // shared by all endpoints of the same Upstream, before and after a reload
}

// New builds a Gateway. Use must be called before it serves.
func New(c Config) (*Gateway, error) {
	if c.Sealer == nil || c.Catalogue == nil {
		return nil, errors.New("gateway: Sealer and Catalogue are required")
	}
	g := &Gateway{sealer: c.Sealer, private: c.PrivateList, log: c.Logger, now: c.Now}
	if g.log == nil {
		g.log = slog.Default()
	}
	if g.now == nil {
		g.now = time.Now
	}
	g.defs = &Definitions{gateway: g, catalogue: c.Catalogue}
	g.routes.Store(newRoutes(c.Settings, nil))
	return g, nil
}

// Use sets the guard and starts the watch over what is open. Close ends it.
func (g *Gateway) Use(guard *guard.Guard) {
	g.guard = guard
	first := *g.routes.Load()
	first.policy = guard.InForce()
	g.routes.Store(&first)
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.done.Go(func() { g.watch(ctx) })
}

// Apply replaces endpoints, policy and limits, as one, for every request whose body was not read whole before. An
// endpoint whose Upstream stays the same keeps what is known about it. The caller closes upstreams that are no longer
// used. It is used by one goroutine at a time, as is ApplyPolicy.
func (g *Gateway) Apply(s Settings, p guard.Settings) error {
	if err := g.guard.Apply(p); err != nil {
		return err
	}
	next := newRoutes(s, g.routes.Load())
	next.policy = g.guard.InForce()
	g.routes.Store(next)
	return nil
}

// ApplyPolicy replaces policy and limits alone.
func (g *Gateway) ApplyPolicy(p guard.Settings) error {
	if err := g.guard.Apply(p); err != nil {
		return err
	}
	next := *g.routes.Load()
	next.policy = g.guard.InForce()
	g.routes.Store(&next)
	return nil
}

// newRoutes makes routes of settings. old may be nil.
func newRoutes(s Settings, old *routes) *routes {
	next := &routes{settings: s, byPath: map[string]*endpoint{}, byName: map[string]*endpoint{}, front: newFront(s)}
	for _, server := range s.Servers {
		e := &endpoint{Server: server, facts: &facts{}}
		if e.MaxRequest == 0 {
			e.MaxRequest = 4 << 20
		}
		if old != nil {
			if was := old.byName[server.Name]; was != nil && was.Upstream == server.Upstream {
				e.facts = was.facts
			}
		}
		next.byPath[server.Path], next.byName[server.Name] = e, e
	}
	return next
}

// Definitions returns what the guard checks arguments against.
func (g *Gateway) Definitions() *Definitions { return g.defs }

// Live returns how many requests and streams are open.
func (g *Gateway) Live() int { return g.live.count() }

// Probe asks an endpoint's upstream what it speaks, for start-up and checks.
func (g *Gateway) Probe(ctx context.Context, server string) (upstream.Facts, error) {
	e := g.routes.Load().byName[server]
	if e == nil {
		return upstream.Facts{}, errors.New("no such server")
	}
	return g.defs.facts(ctx, e)
}

// Close ends the watch and every open stream. It does not close upstreams.
func (g *Gateway) Close() {
	if g.stop != nil {
		g.stop()
		g.done.Wait()
	}
	g.live.endAll(errStopping)
}

// watch ends, twice a second, what belongs to principals that may no longer be served, so that a revocation reaches
// open streams and children within the second.
func (g *Gateway) watch(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.sweep(ctx)
		}
	}
}

func (g *Gateway) sweep(ctx context.Context) {
	g.live.sweep(func(v *visit) bool { return v.grant.Valid(ctx) })
	for name, e := range g.routes.Load().byName {
		e.Upstream.End(g.invalid(ctx, name))
	}
	g.sessions.expire(g.now())
}

// ServeHTTP checks where the request comes from and goes to, and serves it.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	routes := g.routes.Load()
	x := &exchange{gateway: g, routes: routes, w: w, r: r}
	if err := x.enter(); err != nil {
		x.fail(err)
		return
	}
	switch {
	case x.preflight():
	case x.metadata():
	default:
		x.endpoint = routes.byPath[cleanPath(r)]
		if x.endpoint == nil {
			x.fail(errNoSuchPath)
			return
		}
		if err := x.serve(); err != nil {
			x.fail(err)
		}
	}
}
