// Package upstreamtest holds every kind of upstream to one contract: Run plays the same conversations against whatever
// it is given, and Fake is the MCP server at the other end, over HTTP or stdio. It is for tests only. Its invariant:
// the suite looks at an upstream only through its interface and through what the server behind it says it has seen.
package upstreamtest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// rpc is a JSON-RPC message with every value raw, so that the fake repeats ids byte for byte.
type rpc struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// conversation is what the fake needs of a transport for one call: messages that belong to the call, messages that
// belong to none, and the answers to requests of its own.
type conversation struct {
	send   func(rpc)                // with the call
	aside  func(rpc)                // outside any call
	answer func(id string) chan rpc // the client's answer to a request of the server
}

// Fake is a small MCP server of both eras. Its tools:
//
//	echo       answers its arguments and the id as the server saw it
//	fail       answers a tool error
//	big        answers {"size": n} bytes of text
//	hang       never answers; it counts its cancellations
//	log and hang  likewise, after a log message
//	cancelled  answers how many calls of hang were cancelled
//	notify     sends a progress notification (when given a token) and a log message, then answers
//	ask        sends a request to the client and answers what the client says
//	later      answers, and then sends a log message that belongs to no call
//	slow       answers after {"ms": n}
//	die        ends the process (stdio)
//	noise      writes what is no message to stdout (stdio)
//	overlong   writes a line of twice MaxResponse (stdio)
//	invent     writes answers that nobody waits for, and a request, before its own (stdio)
type Fake struct {
	Legacy bool // initialize is answered
	Modern bool // server/discover is answered

	hanging   atomic.Int64
	cancelled atomic.Int64
	raw       func(string) // writes to stdout as it is; stdio only
	exit      func()       // ends the process; stdio only

	mu       sync.Mutex
	sessions map[string]*httpSession // HTTP only; guarded by mu
}

func text(format string, args ...any) json.RawMessage {
	s, _ := json.Marshal(fmt.Sprintf(format, args...))
	return json.RawMessage(`{"content":[{"type":"text","text":` + string(s) + `}]}`)
}

func failure(code int, message string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"code":%d,"message":%q}`, code, message))
}

// serve answers one request. A nil Result and Error means that it must stay unanswered.
func (f *Fake) serve(ctx context.Context, m rpc, c conversation) rpc {
	out := rpc{Version: "2.0", ID: m.ID}
	switch {
	case m.Method == "initialize" && f.Legacy:
		out.Result = json.RawMessage(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}`)
	case m.Method == "server/discover" && f.Modern:
		out.Result = json.RawMessage(`{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fake","version":"1"}}}`)
	case m.Method == "subscriptions/listen":
		return f.listen(ctx, m, c)
	case m.Method == "tools/list":
		out.Result = page(m.Params)
	case m.Method == "tools/call":
		return f.call(ctx, m, c)
	default:
		out.Error = failure(-32601, "no such method")
	}
	return out
}

// page serves the tools two pages long.
func page(params json.RawMessage) json.RawMessage {
	if strings.Contains(string(params), `"cursor":"two"`) {
		return json.RawMessage(`{"tools":[{"name":"fail","inputSchema":{"type":"object"}}]}`)
	}
	return json.RawMessage(`{"tools":[{"name":"echo","inputSchema":{"type":"object"}}],"nextCursor":"two"}`)
}

// listen acknowledges a subscription, sends one notification in it, and ends it when it is cancelled.
func (f *Fake) listen(ctx context.Context, m rpc, c conversation) rpc {
	meta := `"_meta":{"io.modelcontextprotocol/subscriptionId":` + string(m.ID) + `}`
	c.send(rpc{
		Version: "2.0", Method: "notifications/subscriptions/acknowledged",
		Params: json.RawMessage(`{"notifications":{"toolsListChanged":true},` + meta + `}`),
	})
	c.send(rpc{Version: "2.0", Method: "notifications/tools/list_changed", Params: json.RawMessage(`{` + meta + `}`)})
	<-ctx.Done()
	return rpc{Version: "2.0", ID: m.ID, Result: json.RawMessage(`{` + meta + `}`)}
}

type callParams struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Meta      struct {
		Token json.RawMessage `json:"progressToken"`
	} `json:"_meta"`
}

func (f *Fake) call(ctx context.Context, m rpc, c conversation) rpc {
	var p callParams
	_ = json.Unmarshal(m.Params, &p) // a fake: what it does not understand has no name
	out := rpc{Version: "2.0", ID: m.ID}
	var number struct{ Size, MS int }
	_ = json.Unmarshal(p.Arguments, &number)
	switch p.Name {
	case "echo":
		id, _ := json.Marshal(string(m.ID))
		out.Result = json.RawMessage(`{"content":[],"echo":` + string(p.Arguments) + `,"id":` + string(id) + `}`)
	case "fail":
		out.Result = json.RawMessage(`{"content":[{"type":"text","text":"no"}],"isError":true}`)
	case "big":
		out.Result = text("%s", strings.Repeat("x", number.Size))
	case "cancelled":
		out.Result = text("%d of %d", f.cancelled.Load(), f.hanging.Load())
	case "slow":
		time.Sleep(time.Duration(number.MS) * time.Millisecond)
		out.Result = text("slept")
	default:
		return f.converse(ctx, p, c, out)
	}
	return out
}

// converse serves the tools that do more than answer.
func (f *Fake) converse(ctx context.Context, p callParams, c conversation, out rpc) rpc {
	logged := rpc{Version: "2.0", Method: "notifications/message", Params: json.RawMessage(`{"level":"info","data":"logged"}`)}
	switch p.Name {
	case "hang", "log and hang":
		if p.Name != "hang" {
			c.send(logged)
		}
		f.hanging.Add(1)
		<-ctx.Done()
		f.cancelled.Add(1)
		return rpc{}
	case "notify":
		if p.Meta.Token != nil {
			c.send(rpc{
				Version: "2.0", Method: "notifications/progress",
				Params: json.RawMessage(`{"progress":1,"progressToken":` + string(p.Meta.Token) + `}`),
			})
		}
		c.send(logged)
		out.Result = text("notified")
	case "ask":
		c.send(rpc{Version: "2.0", ID: json.RawMessage(`"from-server"`), Method: "sampling/createMessage", Params: json.RawMessage(`{}`)})
		a := <-c.answer("from-server")
		out.Result = text("%s", a.Result)
	case "later":
		time.AfterFunc(50*time.Millisecond, func() { c.aside(logged) })
		out.Result = text("soon")
	case "die":
		f.exit()
	case "noise":
		f.raw("starting up...\n{\"not\":\"a message\"}\n\n")
		out.Result = text("made noise")
	case "invent":
		f.raw(`{"jsonrpc":"2.0","id":999,"result":{}}` + "\n" + `{"jsonrpc":"2.0","id":"1","result":{}}` + "\n" +
			`{"jsonrpc":"2.0","id":1.0,"result":{}}` + "\n" + `{"jsonrpc":"2.0","id":-1,"error":{"code":1,"message":"x"}}` + "\n" +
			`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":999,"progress":1}}` + "\n" +
			`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}` + "\n")
		out.Result = text("invented")
	case "overlong":
		f.raw(strings.Repeat("y", 2*MaxResponse) + "\n")
		out.Result = text("made a long line")
	default:
		out.Error = failure(-32602, "no such tool")
	}
	return out
}
