// Package wire is the parser and the emitter of everything that crosses the gate: JSON-RPC messages of both eras of MCP,
// event streams, lists and handles. For most uses, call [ParseClient] on what a client sent, decide on the Message, and
// send on what its Append emits.
//
// It decides nothing about permissions, knows no connections, and stores nothing.
//
// The invariant: nobody who reads what is emitted here, whether he takes the first or the last of duplicate names, folds
// their case or ends them at a NUL, reads another message than the one that was judged.
package wire

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/policy"
)

// Era is a family of protocol revisions that share one life cycle.
type Era uint8

// The two eras. Legacy is 2024-11-05 to 2025-11-25 (initialize, sessions); Modern is 2026-07-28 and later.
const (
	Legacy Era = iota + 1
	Modern
)

// Kind is the JSON-RPC kind of a message.
type Kind uint8

// Kinds of message (JSON-RPC 2.0 §4, §5).
const (
	Request Kind = iota + 1
	Notification
	Result
	Error
)

// Message is one strictly parsed JSON-RPC message. Every raw value is a slice of the bytes it was parsed from, which
// the Message owns from then on; Set methods replace them. It is not safe for concurrent use.
type Message struct {
	Kind   Kind
	ID     jsontext.Value // as sent, byte for byte; nil for notifications
	Method string         // requests and notifications
	Params jsontext.Value // raw object as sent; nil when absent
	Result jsontext.Value // Kind Result
	Error  jsontext.Value // Kind Error

	// Read from Params of requests and notifications, by method.
	Target        policy.Named   // params.name, params.uri or params.ref
	More          []policy.Named // subscriptions/listen: every resource named
	Arguments     jsontext.Value // params.arguments of tools/call and prompts/get; nil when absent
	Cursor        *string        // params.cursor of list methods; nil when absent
	Version       string         // _meta["io.modelcontextprotocol/protocolVersion"], or params.protocolVersion of initialize
	ProgressToken jsontext.Value // _meta.progressToken, or params.progressToken of notifications/progress; nil when absent
	Cancels       jsontext.Value // params.requestId of notifications/cancelled; nil when absent
	ClientName    string         // clientInfo.name of initialize or _meta, cut to 128 bytes; attacker-chosen text

	MetaVersion    string         // _meta["io.modelcontextprotocol/protocolVersion"] alone; empty when absent
	Task           *string        // params.taskId of the tasks methods; nil when absent
	RequestState   *string        // params.requestState of a further round of a call; nil when absent
	SubscriptionID jsontext.Value // _meta["io.modelcontextprotocol/subscriptionId"]; nil when absent

	spans [spanCount]span // where the members that can be replaced are in Params
}

// span is a part of Params; the zero span is none, since a value never starts an object.
type span struct{ start, end int }

// The members that can be replaced.
const (
	cursorSpan = iota
	tokenSpan
	cancelsSpan
	taskSpan
	stateSpan
	subscriptionSpan
	spanCount
)
