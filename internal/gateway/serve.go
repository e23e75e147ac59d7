package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/guard"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// exchange is one HTTP request on its way through the layers. It is used by one goroutine.
type exchange struct {
	gateway  *Gateway
	routes   *routes
	endpoint *endpoint
	w        http.ResponseWriter
	r        *http.Request

	peer     peer.Peer
	admitted *guard.Admitted
	caller   *guard.Caller
	era      wire.Era
	call     *policy.Call  // what is asked for; nil while that is not known
	message  *wire.Message // nil for GET and DELETE
	body     []byte        // what message was parsed from
	session  session       // legacy: the session the request belongs to
	grant    *guard.Grant
	handle   string // initialize: the sealed id of the new session

	status int // written to the client; 0 while nothing is
	bytes  int64
}

// serve is the way of one request. The order of the layers is here and nowhere else.
func (x *exchange) serve() error {
	caller, denial := x.admitted.Authenticate(x.r.Context(), x.endpoint.Name)
	if denial != nil {
		return denial
	}
	x.caller = caller
	if err := x.parse(); err != nil {
		return x.reject(err)
	}
	grant, denial := caller.Authorize(x.r.Context(), x.call, guard.Meta{Session: x.session.hash, Body: x.body})
	if denial != nil {
		return denial
	}
	x.grant = grant
	defer grant.Leave()
	ctx, leave := x.gateway.live.enter(x.r.Context(), grant)
	defer leave()
	err := x.forward(ctx)
	if cause := context.Cause(ctx); err != nil && (errors.Is(cause, errRevoked) || errors.Is(cause, errStopping)) {
		err = cause // what follows from it says less
	}
	x.finish(ctx, err)
	return err
}

// parse reads the request and decides on one parsed value what it asks for, in which era and session.
func (x *exchange) parse() error {
	call := &policy.Call{Server: x.endpoint.Name}
	switch x.r.Method {
	case http.MethodPost:
		if err := x.read(); err != nil {
			return err
		}
		message, err := wire.ParseClient(x.body, wire.Limits{Bytes: x.endpoint.MaxRequest})
		if err != nil {
			return err
		}
		x.message = message
		call.Method, call.Target, call.More, call.Arguments = message.Method, message.Target, message.More, message.Arguments
		if x.isReply() {
			call.Method = policy.MethodReply
		}
	case http.MethodGet:
		call.Method = policy.MethodStream
	case http.MethodDelete:
		call.Method = policy.MethodEnd
	default:
		x.w.Header().Set("Allow", "POST, GET, DELETE")
		return refused(http.StatusMethodNotAllowed, wire.CodeInvalidRequest, "method not allowed: use POST, GET or DELETE")
	}
	x.call = call
	if err := x.renew(); err != nil {
		return err
	}
	return x.place()
}

// isReply reports whether the client answers a request of the server.
func (x *exchange) isReply() bool {
	return x.message != nil && (x.message.Kind == wire.Result || x.message.Kind == wire.Error)
}

// renew takes up the configuration that is in force now that the request was read whole. A client may take a minute to
// send a body, and what it could do before buys it nothing.
func (x *exchange) renew() error {
	now := x.gateway.routes.Load()
	if now == x.routes {
		return nil
	}
	e := now.byPath[x.endpoint.Path]
	if e == nil || e.Name != x.endpoint.Name {
		return errNoSuchPath
	}
	x.routes, x.endpoint = now, e
	x.caller.Under(now.policy)
	return nil
}

// place finds the era and the session of the request (MCP 2025-11-25 and 2026-07-28, transports).
func (x *exchange) place() error {
	handles := x.r.Header.Values("Mcp-Session-Id")
	if len(handles) > 1 {
		return refused(http.StatusBadRequest, wire.CodeInvalidRequest, "more than one Mcp-Session-Id header")
	}
	era, err := wire.DecideEra(x.r.Header, x.message, len(handles) == 1)
	if err != nil {
		return err
	}
	x.era = era
	if err := x.fits(len(handles) == 1); err != nil {
		return err
	}
	if x.message != nil && !x.isReply() && !wire.Known(x.message.Method) {
		status := http.StatusNotFound
		if era == wire.Legacy && x.message.ID != nil {
			status = http.StatusOK
		}
		return refused(status, wire.CodeMethodNotFound, "method not found")
	}
	if len(handles) == 1 { // of the legacy era, or DecideEra had refused
		if err := x.openSession(handles[0]); err != nil {
			return err
		}
	}
	if x.isReply() && !x.session.isAsked(x.message.ID) {
		return errUnasked
	}
	return x.openHandles()
}

// fits holds the rules of the era for verb and headers.
func (x *exchange) fits(hasSession bool) error {
	if x.era == wire.Modern {
		if x.message == nil {
			return refused(http.StatusMethodNotAllowed, wire.CodeInvalidRequest, "this protocol revision has no GET or DELETE: use POST")
		}
		return wire.CheckHeaders(x.r.Header, x.message)
	}
	version, resume := x.r.Header.Get("Mcp-Protocol-Version"), x.r.Header.Values("Last-Event-Id")
	switch {
	case version != "" && !slices.Contains(wire.LegacyVersions(), version):
		return refused(http.StatusBadRequest, wire.CodeUnsupportedVersion, "unsupported protocol version")
	case x.r.Method == http.MethodDelete && !hasSession:
		return refused(http.StatusBadRequest, wire.CodeInvalidRequest, "DELETE ends a session: Mcp-Session-Id is missing")
	case x.message != nil && x.message.Method == "initialize" && hasSession:
		return refused(http.StatusBadRequest, wire.CodeInvalidRequest, "initialize begins a session: it is not sent in one")
	case x.message == nil && (len(resume) > 1 || len(resume) == 1 && strings.ContainsFunc(resume[0], notVisible)):
		return refused(http.StatusBadRequest, wire.CodeInvalidRequest, "Last-Event-ID must be one value of visible ASCII")
	}
	return nil
}

func notVisible(r rune) bool { return r < 0x21 || r > 0x7e }

// openSession unseals the session id. It must be this principal's, on this server, and still alive: else 404, upon
// which a client starts anew (MCP 2025-11-25, session management).
func (x *exchange) openSession(handle string) error {
	id, expires, err := x.gateway.sealer.Open(x.bound(wire.Session), handle, x.gateway.now())
	if err != nil || !x.gateway.sessions.find(handle, expires, &x.session) {
		e := refused(http.StatusNotFound, wire.CodeInvalidRequest, "session not found")
		e.kind = audit.SessionRefused
		return e
	}
	x.session.upstream = id
	return nil
}

var errUnasked = refused(http.StatusBadRequest, wire.CodeInvalidRequest, "a response to a request that was not made")

// forward asks the upstream and relays its answer.
func (x *exchange) forward(ctx context.Context) error {
	if x.isReply() && !x.session.answered(x.message.ID) {
		return errUnasked // another answer was faster
	}
	if err := x.speaks(ctx); err != nil {
		return err
	}
	if err := x.checkMirrors(); err != nil {
		return err
	}
	answer, err := x.endpoint.Upstream.RoundTrip(ctx, x.request())
	if err != nil {
		return err
	}
	return x.relay(ctx, answer)
}

// request is what the upstream is asked: the message emitted from the parse, and none of the client's headers but the
// allowed ones.
func (x *exchange) request() *upstream.Request {
	r := &upstream.Request{
		Verb:      x.r.Method,
		Era:       x.era,
		Message:   x.message,
		Session:   x.session.upstream,
		Version:   x.r.Header.Get("Mcp-Protocol-Version"),
		Header:    x.allowed(),
		Principal: x.caller.Principal,
	}
	if x.message == nil {
		r.LastEventID = x.r.Header.Get("Last-Event-Id")
	}
	return r
}

// allowed picks the headers that go on: trace context and, in the modern era, arguments mirrored in headers, which
// checkMirrors compared with the body.
func (x *exchange) allowed() http.Header {
	var out http.Header
	for name, values := range x.r.Header {
		if name == "Traceparent" || name == "Tracestate" || x.era == wire.Modern && strings.HasPrefix(name, "Mcp-Param-") {
			if out == nil {
				out = http.Header{}
			}
			out[name] = values
		}
	}
	return out
}

// bound is what the caller's handles of a kind are tied to.
func (x *exchange) bound(kind wire.HandleKind) wire.Bound {
	p := x.caller.Principal
	return wire.Bound{Issuer: p.Issuer, Subject: p.Subject, Server: x.endpoint.Name, Kind: kind}
}
