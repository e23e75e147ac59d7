package wire

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Error codes of JSON-RPC 2.0 §5.1 and of MCP. -32020 to -32099 belong to MCP; -32000 to -32002 are read by common
// clients as closed, timed out and not found and are therefore never ours.
const (
	CodeParse              = -32700 // not JSON as it is taken here
	CodeInvalidRequest     = -32600 // JSON, but no acceptable message
	CodeMethodNotFound     = -32601
	CodeInvalidParams      = -32602
	CodeInternal           = -32603
	CodeHeaderMismatch     = -32020 // headers and body disagree (2026-07-28, transports)
	CodeMissingCapability  = -32021 // the client did not declare what the call needs
	CodeUnsupportedVersion = -32022 // data lists the supported versions
)

// Error codes of the gateway itself, within -32010 to -32019.
const (
	CodePermissionDenied    = -32010
	CodeRateLimited         = -32011
	CodeUnauthenticated     = -32012
	CodeUnavailable         = -32013 // no record could be written, or a store is away; nothing was run
	CodeUpstreamUnavailable = -32014
	CodeUpstreamTimeout     = -32015
	CodeUpstreamProtocol    = -32016
	CodeBusy                = -32017 // the server takes no more sessions or children
)

// CodeInfo is what one error code means.
type CodeInfo struct {
	Code    int
	Status  int    // the HTTP status it travels with, unless the place that raises it knows better
	Meaning string // for documents and logs
	Retry   bool   // the same call may succeed later without any change
}

// Codes returns the table of all error codes.
func Codes() []CodeInfo {
	return []CodeInfo{
		{CodeParse, http.StatusBadRequest, "not JSON as it is taken here", false},
		{CodeInvalidRequest, http.StatusBadRequest, "no acceptable message", false},
		{CodeMethodNotFound, http.StatusNotFound, "method not found", false},
		{CodeInvalidParams, http.StatusBadRequest, "invalid parameters", false},
		{CodeInternal, http.StatusInternalServerError, "internal error", true},
		{CodeHeaderMismatch, http.StatusBadRequest, "headers and body disagree", false},
		{CodeMissingCapability, http.StatusBadRequest, "missing client capability", false},
		{CodeUnsupportedVersion, http.StatusBadRequest, "unsupported protocol version", false},
		{CodePermissionDenied, http.StatusForbidden, "permission denied", false},
		{CodeRateLimited, http.StatusTooManyRequests, "rate limit exceeded", true},
		{CodeUnauthenticated, http.StatusUnauthorized, "authentication required", false},
		{CodeUnavailable, http.StatusServiceUnavailable, "nothing was run", true},
		{CodeUpstreamUnavailable, http.StatusBadGateway, "the server is not reachable", true},
		{CodeUpstreamTimeout, http.StatusGatewayTimeout, "the server did not answer in time", true},
		{CodeUpstreamProtocol, http.StatusBadGateway, "the server broke the protocol", false},
		{CodeBusy, http.StatusServiceUnavailable, "the server takes no more sessions", true},
	}
}

// ParseError is why a message was refused. Its text never contains bytes of the message.
type ParseError struct {
	Code   int            // JSON-RPC code for the answer
	Status int            // HTTP status for the answer
	ID     jsontext.Value // the caller's id as sent, when it could be read; else nil
	Reason string         // one of this package's own sentences
}

// Error returns the reason with the code.
func (e *ParseError) Error() string {
	return "message refused: " + e.Reason + " (" + strconv.Itoa(e.Code) + ")"
}

// AppendError appends a JSON-RPC error message. A nil id becomes null, a nil data is left out. Bytes of message that are
// not UTF-8 are replaced.
func AppendError(dst []byte, id jsontext.Value, code int, message string, data jsontext.Value) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = appendID(dst, id)
	dst = append(dst, `,"error":{"code":`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, `,"message":`...)
	dst = appendQuoted(dst, message)
	if data != nil {
		dst = append(append(dst, `,"data":`...), data...)
	}
	return append(dst, "}}"...)
}

func appendID(dst []byte, id jsontext.Value) []byte {
	if id == nil {
		return append(dst, "null"...)
	}
	return append(dst, id...)
}

// appendQuoted appends text as a JSON string; what is not UTF-8 becomes U+FFFD.
func appendQuoted(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text) // its error says only that something was replaced
	return dst
}
