package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Defaults of RemoteConfig and HandlerConfig.
const (
	DefaultTimeout     = 60 * time.Second
	DefaultMaxResponse = 16 << 20 // bytes
)

// maxAbandoned bounds the answers read on in the background after their callers have left; beyond it they are cut.
const maxAbandoned = 512

// RemoteConfig describes a Streamable HTTP endpoint.
type RemoteConfig struct {
	// URL is the endpoint, http or https, with a host; without user information and fragment.
	URL string

	// Transport sends the requests. Nil: a pooled transport of this upstream's own that speaks HTTP/1.1, never follows a
	// redirect and ignores HTTP_PROXY and its kin: what is guarded is reached directly or not at all.
	Transport http.RoundTripper

	// Timeout bounds the wait for headers and a whole JSON answer, and each wait between stream events. 0: 60 s.
	Timeout time.Duration

	// MaxResponse bounds a JSON answer and each stream event, in bytes. 0: 16 MiB.
	MaxResponse int64

	// Header is sent with every request, such as the operator's own Authorization for this server. Nil: none. Headers
	// that the protocol or the connection owns are refused.
	Header http.Header
}

// remote is an upstream behind an http.RoundTripper.
type remote struct {
	url      *url.URL
	header   http.Header // the operator's
	send     http.RoundTripper
	timeout  time.Duration
	max      int64
	prepare  func(*http.Request, *policy.Principal) *http.Request // hook of NewHandler; nil does nothing
	finish   func(context.Context) error                          // ends the round tripper itself; waits
	live     *registry
	deserted chan struct{} // one place for each abandoned answer
}

var _ Upstream = (*remote)(nil)

// NewRemote returns the upstream at a URL. It connects on first use. Errors name the field that is wrong.
func NewRemote(c RemoteConfig) (Upstream, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the upstream URL: %w", errors.Unwrap(err))
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("upstream URL must begin with http:// or https://, not %q", u.Scheme)
	case u.Host == "":
		return nil, errors.New("upstream URL has no host")
	case u.User != nil:
		return nil, errors.New("upstream URL holds credentials: set them as a header")
	case u.Fragment != "":
		return nil, errors.New("upstream URL has a fragment")
	}
	if err := checkOperatorHeader(c.Header); err != nil {
		return nil, err
	}
	r := newRemote(u, c.Timeout, c.MaxResponse)
	r.header = c.Header.Clone()
	r.send, r.finish = c.Transport, func(context.Context) error { return nil }
	if c.Transport == nil {
		t := newTransport()
		r.send, r.finish = t, func(context.Context) error { t.CloseIdleConnections(); return nil }
	}
	return r, nil
}

func newRemote(u *url.URL, timeout time.Duration, maxResponse int64) *remote {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	if maxResponse <= 0 {
		maxResponse = DefaultMaxResponse
	}
	return &remote{
		url: u, timeout: timeout, max: maxResponse,
		live: newRegistry(), deserted: make(chan struct{}, maxAbandoned),
	}
}

// newTransport makes the pooled default. HTTP/1.1 gives every call a connection of its own, so a slow answer never
// stands in the way of another. Idle connections go after 4 s, before the 5 s at which common servers (Node, uvicorn)
// close theirs: a call written into a closing connection cannot be repeated safely and would be lost.
func newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols:              protocols,
		MaxIdleConns:           0, // no limit over all hosts; there is one
		MaxIdleConnsPerHost:    1024,
		IdleConnTimeout:        4 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
	}
}

// RoundTrip implements Upstream. In the modern era, and for GET, ctx must live as long as the answer's stream: its end
// closes the connection, which cancels the call.
func (u *remote) RoundTrip(ctx context.Context, r *Request) (*Response, error) {
	req, err := u.request(r)
	if err != nil {
		return nil, err
	}
	x := &exchange{upstream: u, caller: ctx, verb: r.Verb, session: r.Session, principal: r.Principal}
	if m := r.Message; m != nil {
		x.wantsAnswer = m.Kind == wire.Request
		x.initialize = m.Method == "initialize"
		x.patient = m.Method == "subscriptions/listen" // may be silent for ever, like the GET stream
	}
	x.patient = x.patient || r.Verb == http.MethodGet
	x.detached = r.Era == wire.Legacy && r.Verb != http.MethodGet
	if !x.begin() {
		return nil, fmt.Errorf("%w: it is closed", ErrUnavailable)
	}
	if u.prepare != nil {
		req = u.prepare(req.WithContext(x.ctx), r.Principal)
	} else {
		req = req.WithContext(x.ctx)
	}
	go x.run(req)
	select {
	case a := <-x.answered:
		return a.response, a.err
	case <-ctx.Done():
		x.desert()
		return nil, callerLeft(ctx)
	}
}

// callerLeft says that ctx ended before the answer came.
func callerLeft(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
}

// Probe implements Upstream.
func (u *remote) Probe(ctx context.Context) (Facts, error) {
	return probe(ctx, u, 2*u.timeout, 2*u.timeout)
}

// End implements Upstream: calls and streams under way for matched principals are cut. Their sessions at the server are
// the server's; whoever holds their sealed names asks for their end.
func (u *remote) End(match func(*policy.Principal) bool) {
	u.live.end(func(x *exchange) bool { return x.principal != nil && match(x.principal) }, errEnded)
}

// Close implements Upstream.
func (u *remote) Close(ctx context.Context) error {
	err := u.live.close(ctx)
	return errors.Join(err, u.finish(ctx))
}
