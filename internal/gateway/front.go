package gateway

import (
	"bytes"
	"errors"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/guard"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// front holds the allow-lists for Host and Origin (MCP 2025-11-25, transports: DNS rebinding).
type front struct {
	hosts   map[string]struct{}
	origins map[string]struct{}
}

func newFront(s Settings) front {
	f := front{hosts: map[string]struct{}{}, origins: map[string]struct{}{}}
	for _, h := range s.Hosts {
		f.hosts[strings.ToLower(h)] = struct{}{}
	}
	for _, o := range s.Origins {
		f.origins[strings.ToLower(strings.TrimSuffix(o, "/"))] = struct{}{}
	}
	if s.PublicURL != nil {
		f.hosts[strings.ToLower(s.PublicURL.Hostname())] = struct{}{}
		f.origins[strings.ToLower(s.PublicURL.Scheme+"://"+s.PublicURL.Host)] = struct{}{}
	}
	return f
}

// allowsHost reports whether a Host header names us: an allowed name, or loopback. The port does not matter; a
// trailing dot or anything that is not a plain host is refused.
func (f *front) allowsHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	} else {
		name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	}
	name = strings.ToLower(name)
	if _, ok := f.hosts[name]; ok {
		return true
	}
	return loopbackName(name)
}

// allowsOrigin reports whether a browser page of that origin may call. No Origin (a native client) may.
func (f *front) allowsOrigin(origins []string) bool {
	if len(origins) == 0 {
		return true
	}
	origin := strings.ToLower(origins[0])
	u, err := url.Parse(origin)
	if len(origins) > 1 || err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || origin != u.Scheme+"://"+u.Host {
		return false
	}
	if _, ok := f.origins[origin]; ok {
		return true
	}
	return loopbackName(u.Hostname())
}

func loopbackName(name string) bool {
	if name == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Zone() == "" && addr.IsLoopback()
}

// enter checks where the request comes from and is for, and admits it.
func (x *exchange) enter() error {
	ctx, g := x.r.Context(), x.gateway.guard
	p, err := peer.From(x.r, &x.routes.settings.Peers)
	x.peer = p
	setSecurityHeaders(x.w.Header(), p.Secure)
	deny := func(status int, kind audit.Kind, reason string) error {
		return g.Refuse(ctx, p, &guard.Denial{Kind: kind, Status: status, Rule: "front", Reason: reason})
	}
	switch {
	case err != nil:
		x.gateway.hint("refused a request", "from", p.Direct, "err", err)
		return deny(http.StatusBadRequest, audit.InputRejected, err.Error())
	case x.plain():
		return deny(http.StatusForbidden, audit.AddressRefused, "plain HTTP from an address that does not terminate TLS")
	case !x.routes.front.allowsHost(x.r.Host):
		return deny(http.StatusForbidden, audit.AddressRefused, "the Host header names another server")
	case !x.routes.front.allowsOrigin(x.r.Header.Values("Origin")):
		return deny(http.StatusForbidden, audit.AddressRefused, "the Origin is not allowed")
	}
	admitted, denial := g.AdmitUnder(ctx, x.routes.policy, p)
	if denial != nil {
		return denial
	}
	x.admitted = admitted
	return nil
}

// plain reports whether the request came in clear although proxies terminate TLS for us: whoever reaches us past them
// sends credentials in clear. This machine may.
func (x *exchange) plain() bool {
	return len(x.routes.settings.Peers.TerminatedBy) > 0 && !x.peer.Secure && !x.peer.Direct.IsLoopback()
}

// hint logs what an operator should know of a refused request, at most once in ten seconds: anybody can send those.
func (g *Gateway) hint(message string, args ...any) {
	now := g.now().Unix()
	if last := g.hinted.Load(); now-last >= 10 && g.hinted.CompareAndSwap(last, now) {
		g.log.Warn(message, args...)
	}
}

// setSecurityHeaders sets what every answer carries; nothing we serve here is a page.
func setSecurityHeaders(h http.Header, secure bool) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if secure { // RFC 6797 §7.2: not over plain HTTP
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// cleanPath returns the path of a request, or "" for one that is encoded or not clean.
func cleanPath(r *http.Request) string {
	if r.URL.RawPath != "" || path.Clean(r.URL.Path) != r.URL.Path || strings.Contains(r.RequestURI, "%") {
		return ""
	}
	return r.URL.Path
}

// maxClaim is how much is set aside for a body on its mere claim of a length.
const maxClaim = 128 << 10

// read takes the whole body, bounded, before anything is decided on it.
func (x *exchange) read() error {
	kind, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return refused(http.StatusUnsupportedMediaType, wire.CodeInvalidRequest, "Content-Type must be application/json")
	}
	if x.r.Header.Get("Content-Encoding") != "" {
		return refused(http.StatusUnsupportedMediaType, wire.CodeInvalidRequest, "encoded bodies are not accepted")
	}
	if !accepts(x.r.Header) {
		return refused(http.StatusNotAcceptable, wire.CodeInvalidRequest, "Accept must list application/json and text/event-stream")
	}
	limit := x.endpoint.MaxRequest
	if x.r.ContentLength > limit {
		return errTooLarge
	}
	buf := bytes.NewBuffer(make([]byte, 0, min(max(x.r.ContentLength, 0), maxClaim)+bytes.MinRead))
	_, err = buf.ReadFrom(http.MaxBytesReader(x.w, x.r.Body, limit))
	x.body = buf.Bytes()
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errTooLarge
	}
	if err != nil {
		return refused(http.StatusBadRequest, wire.CodeParse, "the body could not be read")
	}
	return nil
}

var errTooLarge = refused(http.StatusRequestEntityTooLarge, wire.CodeInvalidRequest, "the message is too large")

// accepts reports whether the client takes both forms of answer (MCP 2025-11-25, sending messages to the server).
func accepts(h http.Header) bool {
	json, stream := false, false
	for _, value := range h.Values("Accept") {
		for part := range strings.SplitSeq(value, ",") {
			kind, _, err := mime.ParseMediaType(part)
			if err != nil {
				continue
			}
			json = json || kind == "application/json" || kind == "application/*" || kind == "*/*"
			stream = stream || kind == "text/event-stream" || kind == "text/*" || kind == "*/*"
		}
	}
	return json && stream
}
