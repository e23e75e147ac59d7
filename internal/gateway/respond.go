package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/guard"
	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// refusal is a no of the gateway itself: a message that is malformed or out of place.
type refusal struct {
	status  int
	code    int
	message string
	kind    audit.Kind
	data    jsontext.Value
}

func (e *refusal) Error() string { return e.message }

func refused(status, code int, message string) *refusal {
	return &refusal{status: status, code: code, message: message, kind: audit.InputRejected}
}

var (
	errNoSuchPath = refused(http.StatusNotFound, wire.CodeInvalidRequest, "no such endpoint")
	errClientGone = errors.New("the client is gone")
)

// response is what a caller is told about an error.
type response struct {
	status     int
	code       int
	message    string
	data       jsontext.Value
	retryAfter time.Duration
}

// reject records that a message was not acceptable and returns the error to answer with.
func (x *exchange) reject(err error) error {
	r := describe(err)
	d := &guard.Denial{Kind: audit.InputRejected, Status: r.status, Rule: "protocol", Reason: r.message}
	if own, ok := errors.AsType[*refusal](err); ok {
		d.Kind = own.kind
	}
	meta := guard.Meta{Session: x.session.hash, Body: x.body}
	if recorded := x.caller.Reject(x.r.Context(), x.call, meta, d); recorded != d {
		return recorded // the record could not be kept
	}
	return err
}

// describe turns any error into what the caller is told. It is the only function that does, and what it does not know
// is "internal error".
func describe(err error) response {
	if d, ok := errors.AsType[*guard.Denial](err); ok {
		return describeDenial(d)
	}
	if e, ok := errors.AsType[*wire.ParseError](err); ok {
		return response{status: e.Status, code: e.Code, message: e.Reason}
	}
	if e, ok := errors.AsType[*refusal](err); ok {
		return response{status: e.status, code: e.code, message: e.message, data: e.data}
	}
	for _, known := range upstreamErrors {
		if errors.Is(err, known.err) {
			return known.response
		}
	}
	return response{status: http.StatusInternalServerError, code: wire.CodeInternal, message: "internal error"}
}

// upstreamErrors says what a caller is told when the server behind us did not answer as it should.
var upstreamErrors = []struct {
	err error
	response
}{
	{upstream.ErrTimeout, response{status: http.StatusGatewayTimeout, code: wire.CodeUpstreamTimeout, message: "the server did not answer in time"}},
	{upstream.ErrSessionGone, response{status: http.StatusNotFound, code: wire.CodeInvalidRequest, message: "session not found"}},
	{upstream.ErrNoSession, response{status: http.StatusBadRequest, code: wire.CodeInvalidRequest, message: "Mcp-Session-Id is missing: send initialize first"}},
	{upstream.ErrBusy, response{status: http.StatusServiceUnavailable, code: wire.CodeBusy, message: "the server takes no more sessions now", retryAfter: 5 * time.Second}},
	{upstream.ErrTooLarge, response{status: http.StatusBadGateway, code: wire.CodeUpstreamProtocol, message: "the server's answer is too large"}},
	{upstream.ErrProtocol, response{status: http.StatusBadGateway, code: wire.CodeUpstreamProtocol, message: "the server broke the protocol"}},
	{upstream.ErrUnavailable, response{status: http.StatusBadGateway, code: wire.CodeUpstreamUnavailable, message: "the server is not reachable"}},
	{errRevoked, response{status: http.StatusUnauthorized, code: wire.CodeUnauthenticated, message: "the credential is no longer accepted"}},
	{errStopping, response{status: http.StatusServiceUnavailable, code: wire.CodeUpstreamUnavailable, message: "the gateway is stopping", retryAfter: time.Second}},
	{context.DeadlineExceeded, response{status: http.StatusGatewayTimeout, code: wire.CodeUpstreamTimeout, message: "the server did not answer in time"}},
}

func describeDenial(d *guard.Denial) response {
	r := response{status: d.Status, retryAfter: d.RetryAfter}
	switch {
	case d.Kind == audit.PermissionDenied:
		permission := cut(d.Permission)
		r.code, r.message = wire.CodePermissionDenied, fmt.Sprintf("permission %q is required", permission)
		r.data = encode(map[string]any{"permission": permission})
	case d.Status == http.StatusTooManyRequests:
		r.code, r.message = wire.CodeRateLimited, "rate limit exceeded: retry after "+seconds(d.RetryAfter)+" s"
		r.data = encode(map[string]any{"retryAfter": retrySeconds(d.RetryAfter), "limit": d.Rule})
	case d.Pointer != "" || d.Detail != "":
		r.code, r.message = wire.CodeInvalidParams, "invalid arguments at "+strconv.Quote(d.Pointer)+": "+d.Detail
		r.data = encode(map[string]any{"pointer": d.Pointer})
	case d.Status == http.StatusUnauthorized:
		r.code, r.message = wire.CodeUnauthenticated, "authentication is required"
		if d.Kind != audit.AuthRequired {
			r.message = "the credential is not accepted"
		}
	case d.Status == http.StatusServiceUnavailable:
		r.code, r.message = wire.CodeUnavailable, "temporarily unavailable: nothing was run, try again"
	case d.Status == http.StatusBadGateway:
		r.code, r.message = wire.CodeUpstreamUnavailable, "the server is not reachable"
	case d.Status == http.StatusForbidden:
		r.code, r.message = wire.CodePermissionDenied, "forbidden"
	default:
		r.code, r.message = wire.CodeInvalidRequest, "the request is not acceptable"
	}
	return r
}

// fail answers with an error, if the answer has not begun. Failures that are ours are logged with their cause.
func (x *exchange) fail(err error) {
	if x.status != 0 || errors.Is(err, errClientGone) || errors.Is(err, context.Canceled) {
		return
	}
	r := describe(err)
	if r.status >= http.StatusInternalServerError {
		x.gateway.log.Warn("request failed", "server", x.serverName(), "status", r.status, "err", err)
	}
	d, _ := errors.AsType[*guard.Denial](err)
	h := x.w.Header()
	if r.retryAfter > 0 {
		h.Set("Retry-After", seconds(r.retryAfter))
	}
	x.challenge(r.status, d)
	if x.status != 0 {
		return
	}
	_ = x.write(x.softened(r.status, d), "application/json", wire.AppendError(nil, x.id(err), r.code, r.message, r.data))
}

// softened is the status for clients that take a 4xx for a lost connection. A denial that a scope would cure keeps its
// status: it carries the challenge.
func (x *exchange) softened(status int, d *guard.Denial) int {
	switch {
	case d == nil || x.message == nil || x.endpoint == nil:
	case (d.Pointer != "" || d.Detail != "") && x.era == wire.Legacy: // the answer the server itself would give
		return http.StatusOK
	case x.endpoint.JSONRPCRefusals && !d.Scope && (status == http.StatusForbidden || status == http.StatusTooManyRequests):
		return http.StatusOK
	}
	return status
}

// challenge sets WWW-Authenticate (RFC 6750 §3, RFC 9728 §5.1).
func (x *exchange) challenge(status int, d *guard.Denial) {
	if d == nil || x.endpoint == nil {
		return
	}
	base := fmt.Sprintf("Bearer realm=%q, resource_metadata=%q", x.endpoint.Name, x.metadataURL())
	switch {
	case status == http.StatusUnauthorized && d.Kind == audit.AuthRequired:
		x.w.Header().Set("WWW-Authenticate", base)
	case status == http.StatusUnauthorized:
		x.w.Header().Set("WWW-Authenticate", base+`, error="invalid_token", error_description="the credential is not accepted"`)
	case status == http.StatusForbidden && d.Scope:
		challenge := base + `, error="insufficient_scope"`
		if isScope(d.Permission) {
			challenge += `, scope="` + d.Permission + `"`
		}
		x.w.Header().Set("WWW-Authenticate", challenge)
	}
}

// maxShown bounds a permission in an answer: it is made of the name that the caller asked for.
const maxShown = 256

func cut(permission string) string {
	if len(permission) <= maxShown {
		return permission
	}
	return strings.ToValidUTF8(permission[:maxShown], "")
}

// isScope reports whether a permission can be one scope of a challenge (RFC 6750 §3, scope-token): one with a space in it
// would be two, the second of the caller's choice.
func isScope(permission string) bool {
	return permission != "" && len(permission) <= maxShown &&
		!strings.ContainsFunc(permission, func(r rune) bool { return notVisible(r) || r == '"' || r == '\\' })
}

// id is the caller's id as far as it could be read. The id of a response is the server's: to send it back would answer a
// call of the client that happens to have the same.
func (x *exchange) id(err error) jsontext.Value {
	if x.isReply() {
		return nil
	}
	if x.message != nil {
		return x.message.ID
	}
	if e, ok := errors.AsType[*wire.ParseError](err); ok {
		return e.ID
	}
	return nil
}

func (x *exchange) serverName() string {
	if x.endpoint == nil {
		return ""
	}
	return x.endpoint.Name
}

// retrySeconds rounds up: a client that waits that long succeeds.
func retrySeconds(d time.Duration) int64 {
	return int64(math.Ceil(math.Min(math.Max(d.Seconds(), 1), 86400)))
}

func seconds(d time.Duration) string { return strconv.FormatInt(retrySeconds(d), 10) }

// encode renders data of our own, which always can be.
func encode(v any) jsontext.Value {
	b, err := json.Marshal(v)
	if err != nil {
		panic("encoding error data: " + err.Error()) // only strings and numbers of ours come here
	}
	return b
}
