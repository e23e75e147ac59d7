package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// StdioConfig describes a server that is a child process speaking newline-delimited JSON-RPC (MCP, transports, stdio).
type StdioConfig struct {
	Command []string          // program and arguments; no shell is involved. Required
	Env     map[string]string // environment of the child, beside PATH, HOME, LANG and TZ of ours
	Dir     string            // working directory of the child. Empty: "/"
	Exec    []string          // argument list put before Command: the re-execution that sets up the sandbox. Empty: started directly

	Timeout      time.Duration // longest wait for an answer and between the messages of one. 0: 60 s
	StartTimeout time.Duration // longest wait for a new child's first word. 0: 60 s
	IdleStop     time.Duration // a child without calls and streams is ended after. 0: 10 min

	MaxLine         int // bytes of one message of the child; a longer one ends it. 0: 16 MiB
	MaxChildren     int // at once. 0: 32
	MaxPerPrincipal int // at once. 0: 8

	Logger *slog.Logger     // takes the child's stderr. Nil: slog.Default()
	Now    func() time.Time // clock for idle times and back-off; timers are real. Nil: time.Now
}

func (c *StdioConfig) argv() []string { return slices.Concat(c.Exec, c.Command) }

// stdio is an upstream of child processes: one for each legacy session, one for all modern calls of a principal.
type stdio struct {
	config  StdioConfig
	limits  wire.Limits // of a child's line
	spawner *spawner
	probing sync.Mutex // one probe at a time; it uses a principal of its own

	mu      sync.Mutex
	closed  bool                  // guarded by mu
	live    map[*session]struct{} // guarded by mu: until their children are gone
	legacy  map[string]*session   // guarded by mu: by session id, until they end
	modern  map[string]*session   // guarded by mu: by principal, until they end
	crashes map[string]*crashes   // guarded by mu: by principal
	empty   chan struct{}         // closed when closed is set and live is empty
}

var _ Upstream = (*stdio)(nil)

// NewStdio returns the upstream that starts c.Command. No child is started before the first call. Errors name the field
// that is wrong.
func NewStdio(c StdioConfig) (Upstream, error) {
	if len(c.Command) == 0 || c.Command[0] == "" {
		return nil, errors.New("upstream command is empty")
	}
	if err := checkEnvironment(c.Env); err != nil {
		return nil, err
	}
	c.Timeout = orDefault(c.Timeout, DefaultTimeout)
	c.StartTimeout = orDefault(c.StartTimeout, 60*time.Second)
	c.IdleStop = orDefault(c.IdleStop, 10*time.Minute)
	c.MaxLine = orDefault(c.MaxLine, DefaultMaxResponse)
	c.MaxChildren = orDefault(c.MaxChildren, 32)
	c.MaxPerPrincipal = orDefault(c.MaxPerPrincipal, 8)
	if c.Dir == "" {
		c.Dir = "/"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &stdio{
		config: c, limits: wire.Limits{Bytes: int64(c.MaxLine)}, spawner: newSpawner(),
		live: make(map[*session]struct{}), legacy: make(map[string]*session), modern: make(map[string]*session),
		crashes: make(map[string]*crashes), empty: make(chan struct{}),
	}, nil
}

func orDefault[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

// RoundTrip implements Upstream. ctx must live as long as the answer's stream.
func (u *stdio) RoundTrip(ctx context.Context, r *Request) (*Response, error) {
	p := r.Principal
	if p == nil {
		p = &policy.Principal{Issuer: "local", Subject: "nobody"} // one identity, whatever the pointer
	}
	if r.Verb == http.MethodPost && r.Message == nil {
		return nil, fmt.Errorf("%w: POST without a message cannot be sent", ErrProtocol)
	}
	if r.Era == wire.Modern {
		return u.serveModern(ctx, r, p)
	}
	if r.Verb == http.MethodPost && r.Session == "" {
		return u.initialize(ctx, r, p)
	}
	s, err := u.find(r.Session, p)
	if err != nil {
		return nil, err
	}
	switch r.Verb {
	case http.MethodPost:
		return s.post(ctx, r.Message, false)
	case http.MethodGet:
		stream, err := s.listen(ctx)
		if err != nil {
			return nil, err
		}
		return &Response{Status: http.StatusOK, Stream: stream}, nil
	case http.MethodDelete:
		s.stop(ErrSessionGone, false)
		return &Response{Status: http.StatusAccepted}, nil
	}
	return nil, fmt.Errorf("%w: no verb %s", ErrProtocol, r.Verb)
}

// serveModern passes a modern message to the principal's child.
func (u *stdio) serveModern(ctx context.Context, r *Request, p *policy.Principal) (*Response, error) {
	if r.Verb != http.MethodPost {
		return &Response{Status: http.StatusMethodNotAllowed}, nil
	}
	if r.Message.Kind != wire.Request {
		return &Response{Status: http.StatusAccepted}, nil // nothing a child would need: calls are cancelled by leaving
	}
	s, err := u.shared(p)
	if err != nil {
		return nil, err
	}
	return s.post(ctx, r.Message, false)
}

// initialize starts a child for a new legacy session.
func (u *stdio) initialize(ctx context.Context, r *Request, p *policy.Principal) (*Response, error) {
	if r.Message.Method != "initialize" {
		return nil, fmt.Errorf("%w: %s", ErrNoSession, clip(r.Message.Method))
	}
	s, err := u.open(wire.Legacy, p)
	if err != nil {
		return nil, err
	}
	resp, err := s.post(ctx, r.Message, true)
	if err != nil {
		s.stop(fmt.Errorf("%w: it did not begin", ErrSessionGone), false) // nobody knows its id
		return nil, fmt.Errorf("initialize: %w", err)
	}
	if resp.Stream == nil && isErrorMessage(resp.Body) {
		s.stop(fmt.Errorf("%w: it was refused", ErrSessionGone), false)
		return resp, nil
	}
	resp.Session = s.id
	return resp, nil
}

// Probe implements Upstream. Its children are its own and end with it.
func (u *stdio) Probe(ctx context.Context) (Facts, error) {
	u.probing.Lock()
	defer u.probing.Unlock()
	p := &policy.Principal{Issuer: probeIssuer, Subject: "probe"}
	defer u.end(func(other *policy.Principal) bool { return other == p })
	return probe(ctx, as{u, p}, u.config.StartTimeout+u.config.Timeout, min(u.config.Timeout, 10*time.Second))
}

// as sends every request for one principal.
type as struct {
	u *stdio
	p *policy.Principal
}

func (a as) RoundTrip(ctx context.Context, r *Request) (*Response, error) {
	r.Principal = a.p
	return a.u.RoundTrip(ctx, r)
}

// probeIssuer marks the principal of our own probes. No issuer of credentials has that name.
const probeIssuer = "\x00probe"

// End implements Upstream: the children of matched principals are ended at once and their callers cut. Our own probes are
// nobody's and go on.
func (u *stdio) End(match func(*policy.Principal) bool) {
	u.end(func(p *policy.Principal) bool { return p.Issuer != probeIssuer && match(p) })
}

func (u *stdio) end(match func(*policy.Principal) bool) {
	for _, s := range u.all() {
		if match(s.principal) {
			s.stop(fmt.Errorf("%w: %w", ErrSessionGone, errEnded), true)
		}
	}
}

// Children returns how many child processes run.
func (u *stdio) Children() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.live)
}

func (u *stdio) all() []*session {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make([]*session, 0, len(u.live))
	for s := range u.live {
		all = append(all, s)
	}
	return all
}

// Close implements Upstream.
func (u *stdio) Close(ctx context.Context) error {
	u.mu.Lock()
	first := !u.closed
	u.closed = true
	if first && len(u.live) == 0 {
		u.emptied()
	}
	u.mu.Unlock()
	for _, s := range u.all() {
		s.stop(fmt.Errorf("%w: %w", ErrUnavailable, errClosed), false)
	}
	select {
	case <-u.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
