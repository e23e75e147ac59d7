// Package upstream reaches the MCP servers that are guarded: a child process speaking stdio, a remote Streamable HTTP
// endpoint, or a handler in this process. It decides nothing and never sees the client's credentials.
package upstream

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Upstream is one guarded MCP server. Implementations are safe for concurrent use.
type Upstream interface {
	// RoundTrip sends one message, or opens or ends a session, and returns the answer. Errors are, or wrap, one of the
	// sentinels below. In the legacy era the end of ctx abandons the answer without cancelling the call at the server.
	RoundTrip(ctx context.Context, r *Request) (*Response, error)

	// Probe finds out which eras the server speaks and which tools it advertises. It leaves no session behind.
	Probe(ctx context.Context) (Facts, error)

	// End closes every session and child held for principals for which match is true.
	End(match func(*policy.Principal) bool)

	// Close ends everything and waits for it, at most until ctx ends.
	Close(ctx context.Context) error
}

// Why an upstream gave no answer.
var (
	ErrUnavailable = errors.New("upstream is not reachable")          // 502
	ErrTimeout     = errors.New("upstream did not answer in time")    // 504
	ErrProtocol    = errors.New("upstream broke the protocol")        // 502
	ErrTooLarge    = errors.New("upstream's answer is too large")     // 502
	ErrSessionGone = errors.New("upstream does not know the session") // 404: the client starts anew
	ErrNoSession   = errors.New("the message needs a session")        // 400: initialize first
	ErrBusy        = errors.New("upstream takes no more sessions")    // 503 with Retry-After
)

// Request is what an upstream is asked.
type Request struct {
	Verb        string            // http.MethodPost, MethodGet (legacy stream) or MethodDelete (legacy session end)
	Era         wire.Era          // decided by the gateway
	Message     *wire.Message     // POST only; it is emitted from the parse
	Session     string            // the upstream's own session id; empty for initialize and the modern era
	Version     string            // MCP-Protocol-Version to send; empty sends none
	Header      http.Header       // further allowed headers (Mcp-Param-*, traceparent); nil is none
	LastEventID string            // GET: resumption point; empty is none
	Principal   *policy.Principal // for whom; decides which child serves a modern call
}

// Response is what an upstream answered. Exactly one of Body and Stream is set, or neither for 202 and 204.
type Response struct {
	Status  int            // the upstream's HTTP status; stdio answers 200 or 202
	Session string         // a session id minted by this answer (initialize); else empty
	Body    jsontext.Value // a whole JSON answer, bounded, not yet parsed
	Stream  Stream         // messages as they come; the caller closes it
}

// Stream is a sequence of server messages. It is used by one goroutine; Close may be called from another.
type Stream interface {
	// Next returns the next event. io.EOF is the orderly end. The event's Data is valid until the next call.
	Next() (wire.SSEEvent, error)
	Close() error
}

// Facts is what a probe found.
type Facts struct {
	Modern   bool             // the server speaks 2026-07-28
	Legacy   string           // the newest legacy revision it agreed to; empty when it speaks none
	Name     string           // serverInfo.name; upstream-chosen text
	Tools    []jsontext.Value // raw tool definitions, all pages
	HasTools bool             // the tools capability is advertised
}
