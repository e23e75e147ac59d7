package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/sallyport-mcp/sallyport/policy"
)

// HandlerConfig describes a Streamable HTTP handler in this process.
type HandlerConfig struct {
	// Handler answers. It sees the requests as if they came from 127.0.0.1:0. Required.
	Handler http.Handler

	// Path is the URL path it sees. Empty: "/".
	Path string

	// Timeout and MaxResponse are as in RemoteConfig.
	Timeout     time.Duration
	MaxResponse int64

	// Context derives the context of the handler's request, so that the handler can be told who calls. Nil: unchanged.
	// It must return a descendant of ctx. p is nil while the server is probed.
	Context func(ctx context.Context, p *policy.Principal) context.Context

	// Header gives headers to add to the handler's request; they override all others. Nil: none.
	Header func(p *policy.Principal) http.Header

	// Logger takes panics of the handler. Nil: slog.Default().
	Logger *slog.Logger
}

// NewHandler returns the upstream that is h, run in this process: the same code as for a remote one over a transport
// without a network. A panic in the handler is an HTTP 502 to its caller and goes to the log; it ends nothing else.
func NewHandler(c HandlerConfig) (Upstream, error) {
	if c.Handler == nil {
		return nil, errors.New("upstream handler is nil")
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	u := newRemote(&url.URL{Scheme: "http", Host: "127.0.0.1", Path: c.Path}, c.Timeout, c.MaxResponse)
	t := &memoryTransport{handler: c.Handler, logger: c.Logger}
	u.send, u.finish = t, t.wait
	u.prepare = func(r *http.Request, p *policy.Principal) *http.Request {
		if c.Context != nil {
			r = r.WithContext(c.Context(r.Context(), p))
		}
		if c.Header != nil {
			for name, values := range c.Header(p) {
				r.Header[http.CanonicalHeaderKey(name)] = values
			}
		}
		return r
	}
	return u, nil
}
