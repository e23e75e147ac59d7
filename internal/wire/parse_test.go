package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

func text(s string) *string { return &s }

var onlyExported = cmpopts.IgnoreUnexported(wire.Message{})

func TestParseClientReads(t *testing.T) {
	const modern = `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`
	tests := []struct {
		name, body string
		want       wire.Message
	}{
		{
			"tool call", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":9007199254740993},"_meta":{"progressToken":"t"}}}`,
			wire.Message{
				Kind: wire.Request, ID: jsontext.Value("1"), Method: "tools/call", Target: policy.Named{Kind: policy.Tool, Name: "a"},
				Params: jsontext.Value(`{"name":"a","arguments":{"x":9007199254740993},"_meta":{"progressToken":"t"}}`), Arguments: jsontext.Value(`{"x":9007199254740993}`), ProgressToken: jsontext.Value(`"t"`),
			},
		},
		{
			"params before method, escaped names", `{"params":{"n\u0061me":"\u0061"},"\u006dethod":"prompts/get","id":"x","jsonrpc":"2.0"}`,
			wire.Message{Kind: wire.Request, ID: jsontext.Value(`"x"`), Method: "prompts/get", Target: policy.Named{Kind: policy.Prompt, Name: "a"}, Params: jsontext.Value(`{"n\u0061me":"\u0061"}`)},
		},
		{
			"list page", `{"jsonrpc":"2.0","id":1.50,"method":"tools/list","params":{"cursor":"c"}}`,
			wire.Message{Kind: wire.Request, ID: jsontext.Value("1.50"), Method: "tools/list", Cursor: text("c"), Params: jsontext.Value(`{"cursor":"c"}`)},
		},
		{
			"modern read, further round", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a","requestState":"s","_meta":{` + modern + `,"io.modelcontextprotocol/clientInfo":{"name":"c"}}}}`,
			wire.Message{
				Kind: wire.Request, ID: jsontext.Value("1"), Method: "resources/read", Target: policy.Named{Kind: policy.Resource, Name: "file:///a"}, Version: "2026-07-28", MetaVersion: "2026-07-28", ClientName: "c",
				RequestState: text("s"), Params: jsontext.Value(`{"uri":"file:///a","requestState":"s","_meta":{` + modern + `,"io.modelcontextprotocol/clientInfo":{"name":"c"}}}`),
			},
		},
		{
			"initialize", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"cli","version":"1"}}}`,
			wire.Message{Kind: wire.Request, ID: jsontext.Value("0"), Method: "initialize", Version: "2025-06-18", ClientName: "cli", Params: jsontext.Value(`{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"cli","version":"1"}}`)},
		},
		{
			"completion of a prompt", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":""}}}`,
			wire.Message{Kind: wire.Request, ID: jsontext.Value("1"), Method: "completion/complete", Target: policy.Named{Kind: policy.Prompt, Name: "p"}, Params: jsontext.Value(`{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":""}}`)},
		},
		{
			"completion of a template", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"uri":"f:///{x}","type":"ref/resource"}}}`,
			wire.Message{Kind: wire.Request, ID: jsontext.Value("1"), Method: "completion/complete", Target: policy.Named{Kind: policy.Resource, Name: "f:///{x}"}, Params: jsontext.Value(`{"ref":{"uri":"f:///{x}","type":"ref/resource"}}`)},
		},
		{
			"subscriptions", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:b","c:d"]}}}`,
			wire.Message{
				Kind: wire.Request, ID: jsontext.Value("1"), Method: "subscriptions/listen", More: []policy.Named{{Kind: policy.Resource, Name: "a:b"}, {Kind: policy.Resource, Name: "c:d"}},
				Params: jsontext.Value(`{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:b","c:d"]}}`),
			},
		},
		{
			"cancel", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1e400}}`,
			wire.Message{Kind: wire.Notification, Method: "notifications/cancelled", Cancels: jsontext.Value("1e400"), Params: jsontext.Value(`{"requestId":1e400}`)},
		},
		{
			"progress", `{"jsonrpc":"2.0","method":"notifications/progress","params":{"_meta":{"progressToken":"meta"},"progressToken":7,"progress":1}}`,
			wire.Message{Kind: wire.Notification, Method: "notifications/progress", ProgressToken: jsontext.Value("7"), Params: jsontext.Value(`{"_meta":{"progressToken":"meta"},"progressToken":7,"progress":1}`)},
		},
		{
			"task", `{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t"}}`,
			wire.Message{Kind: wire.Request, ID: jsontext.Value("1"), Method: "tasks/get", Task: text("t"), Params: jsontext.Value(`{"taskId":"t"}`)},
		},
		{
			"unknown method", `{"jsonrpc":"2.0","id":1,"method":"tools/CALL","params":{"name":"x","cursor":3}}`,
			wire.Message{Kind: wire.Request, ID: jsontext.Value("1"), Method: "tools/CALL", Params: jsontext.Value(`{"name":"x","cursor":3}`)},
		},
		{"answer", `{"jsonrpc":"2.0","id":"q","result":{"action":"accept"}}`, wire.Message{Kind: wire.Result, ID: jsontext.Value(`"q"`), Result: jsontext.Value(`{"action":"accept"}`)}},
		{"error", `{"jsonrpc":"2.0","id":"q","error":{"code":-1,"message":"no"}}`, wire.Message{Kind: wire.Error, ID: jsontext.Value(`"q"`), Error: jsontext.Value(`{"code":-1,"message":"no"}`)}},
		{"no params", "\n{\"jsonrpc\":\"2.0\",\r\n\"id\":1,\t\"method\":\"ping\"}\n", wire.Message{Kind: wire.Request, ID: jsontext.Value("1"), Method: "ping"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.ParseClient([]byte(tt.body), wire.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tt.want, got, onlyExported); diff != "" {
				t.Errorf("message differs (-want +got):\n%s", diff)
			}
			agree(t, []byte(tt.body))
		})
	}
}

// agree fails when anything but a refusal leaves a difference between readers of the same message.
func agree(t testing.TB, body []byte) {
	t.Helper()
	m, err := wire.ParseClient(bytes.Clone(body), wire.Limits{})
	if err != nil {
		return
	}
	out := m.Append(nil)
	again, err := wire.ParseClient(bytes.Clone(out), wire.Limits{})
	if err != nil {
		t.Fatalf("what was emitted is refused: %v\n%s", err, out)
	}
	if diff := cmp.Diff(m, again, onlyExported); diff != "" {
		t.Fatalf("reads differently after it was emitted (-first +second):\n%s", diff)
	}
	if !bytes.Equal(out, again.Append(nil)) {
		t.Fatalf("emitted differently the second time: %s", out)
	}
	if line := m.AppendLine(nil); bytes.Count(line, []byte{'\n'}) != 1 || bytes.IndexByte(line, '\r') >= 0 {
		t.Fatalf("not one line: %q", line)
	}
	if m.Params != nil && !bytes.Contains(body, m.Params) {
		t.Fatalf("params were changed: %s", m.Params)
	}
	folding(t, m, out)
}

// folding reads the message as encoding/json does, which takes the last of duplicates and folds case, and as a reader
// that takes the first; both must see what was judged.
func folding(t testing.TB, m *wire.Message, body []byte) {
	t.Helper()
	var got struct {
		ID     json.RawMessage
		Method string
		Params struct {
			Name      string
			URI       string
			Arguments json.RawMessage
			Cursor    *string
			TaskID    *string         `json:"taskId"`
			RequestID json.RawMessage `json:"requestId"`
			Ref       struct{ Type, Name, URI string }
			Meta      struct {
				Version string `json:"io.modelcontextprotocol/protocolVersion"`
			} `json:"_meta"`
		}
	}
	decoded := json.Unmarshal(body, &got)
	if row, ok := wire.Lookup(m.Method); !ok || row.From&wire.FromClient == 0 {
		return // not sent on, so nobody reads it
	}
	if decoded != nil {
		var wrong *json.UnmarshalTypeError
		if !errors.As(decoded, &wrong) {
			t.Fatalf("encoding/json refuses what was accepted: %v\n%s", decoded, body)
		}
		return // a member this method does not have
	}
	named := map[policy.Target]string{policy.Tool: got.Params.Name, policy.Prompt: got.Params.Name + got.Params.Ref.Name, policy.Resource: got.Params.URI + got.Params.Ref.URI}
	want := named[m.Target.Kind]
	if m.Target.Kind == policy.Method {
		want = m.Target.Name
	}
	same := string(got.ID) == string(m.ID) && got.Method == m.Method && want == m.Target.Name && got.Params.Meta.Version == m.MetaVersion
	if m.Arguments != nil {
		same = same && string(got.Params.Arguments) == string(m.Arguments)
	}
	if m.Cursor != nil {
		same = same && got.Params.Cursor != nil && *got.Params.Cursor == *m.Cursor
	}
	if m.Cancels != nil {
		same = same && string(got.Params.RequestID) == string(m.Cancels)
	}
	if m.Task != nil {
		same = same && got.Params.TaskID != nil && *got.Params.TaskID == *m.Task
	}
	if !same {
		t.Fatalf("encoding/json reads %+v\nwe read %+v", got, m)
	}
}

func TestSetReplacesExactlyOneMember(t *testing.T) {
	tests := []struct {
		name, params, method string
		set                  func(*wire.Message)
		want                 string
	}{
		{"cursor", `{ "a" : [1, 2] ,"cursor" : "old\u0041" , "z":{} }`, "tools/list", func(m *wire.Message) { m.SetCursor("n\"ew\n") }, `{ "a" : [1, 2] ,"cursor" : "n\"ew\n" , "z":{} }`},
		{"cursor twice", `{"cursor":"old"}`, "tools/list", func(m *wire.Message) { m.SetCursor("longer than before"); m.SetCursor("x") }, `{"cursor":"x"}`},
		{"token in _meta", `{"_meta":{"x":1,"progressToken":5 },"name":"n"}`, "tools/call", func(m *wire.Message) { m.SetProgressToken(jsontext.Value(`"p-1"`)) }, `{"_meta":{"x":1,"progressToken":"p-1" },"name":"n"}`},
		{"token and state", `{"name":"n","requestState":"old","_meta":{"progressToken":5}}`, "tools/call", func(m *wire.Message) { m.SetRequestState("much longer"); m.SetProgressToken(jsontext.Value(`6`)) }, `{"name":"n","requestState":"much longer","_meta":{"progressToken":6}}`},
		{"state after token", `{"_meta":{"progressToken":5},"name":"n","requestState":"old"}`, "tools/call", func(m *wire.Message) { m.SetProgressToken(jsontext.Value(`"long token"`)); m.SetRequestState("s") }, `{"_meta":{"progressToken":"long token"},"name":"n","requestState":"s"}`},
		{"cancel", `{"reason":"r","requestId":5}`, "notifications/cancelled", func(m *wire.Message) { m.SetCancels(jsontext.Value(`77`)) }, `{"reason":"r","requestId":77}`},
		{"task", `{"taskId":"t"}`, "tasks/cancel", func(m *wire.Message) { m.SetTask("u") }, `{"taskId":"u"}`},
		{"subscription", `{"_meta":{"io.modelcontextprotocol/subscriptionId":1}}`, "notifications/tools/list_changed", func(m *wire.Message) { m.SetSubscriptionID(jsontext.Value(`"one"`)) }, `{"_meta":{"io.modelcontextprotocol/subscriptionId":"one"}}`},
		{"absent stays absent", `{"name":"n"}`, "tools/call", func(m *wire.Message) { m.SetCursor("c"); m.SetTask("t"); m.SetProgressToken(jsontext.Value("1")) }, `{"name":"n"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := `"id":1,`
			if strings.HasPrefix(tt.method, "notifications/") {
				id = ""
			}
			m, err := wire.ParseClient([]byte(`{"jsonrpc":"2.0",`+id+`"method":"`+tt.method+`","params":`+tt.params+`}`), wire.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			tt.set(m)
			if string(m.Params) != tt.want {
				t.Errorf("params %s, want %s", m.Params, tt.want)
			}
			if !m.Params.IsValid() {
				t.Error("no longer JSON")
			}
		})
	}
}

func TestIDIsEmittedByteExact(t *testing.T) {
	for _, id := range []string{`0`, `-0`, `1.50`, `9007199254740993`, `1e400`, `1E+2`, `""`, `"\u0041\/"`, `"é"`, `"` + strings.Repeat("x", 254) + `"`} {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"ping"}`, id)
		m, err := wire.ParseClient([]byte(body), wire.Limits{})
		if err != nil {
			t.Errorf("id %s: %v", id, err)
			continue
		}
		if got := string(m.Append(nil)); got != body {
			t.Errorf("emitted %s, want %s", got, body)
		}
	}
}

// A line end between two tokens would be a second message for a child process.
func TestAppendLineIsOneLine(t *testing.T) {
	m := parsed(t, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\r\n\"name\":\"a\\nb\"\n}}")
	want := "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{  \"name\":\"a\\nb\" }}\n"
	if got := string(m.AppendLine(nil)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	m.Params = nil
	if got := string(m.AppendLine([]byte("before\n"))); !strings.HasPrefix(got, "before\n{") {
		t.Errorf("what was there before was changed: %q", got)
	}
}

func TestParseServer(t *testing.T) {
	ok := map[string]wire.Kind{
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`:                                  wire.Error,
		`{"jsonrpc":"2.0","error":{"code":-32700,"message":"m","data":{"a":1}}}`:                             wire.Error,
		`{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`:                                                     wire.Result,
		`{"jsonrpc":"2.0","id":"s-1","method":"sampling/createMessage","params":{"messages":[]}}`:            wire.Request,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":null}}`:           wire.Notification,
		`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}`:                wire.Notification,
		`{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t","status":"working"}}`: wire.Notification,
	}
	for body, kind := range ok {
		m, err := wire.ParseServer([]byte(body), wire.Limits{})
		if err != nil || m.Kind != kind {
			t.Errorf("%s: %v, %v", body, m, err)
		}
	}
	bad := []string{
		`{"jsonrpc":"2.0","id":null,"result":{}}`, `{"jsonrpc":"2.0","result":{}}`, `[{"jsonrpc":"2.0","id":1,"result":{}}]`,
		`{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}`, `{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}`,
		`{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`, `{"jsonrpc":"2.0","id":1,"error":null}`,
		`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","Code":2}}`, `{"jsonrpc":"2.0","id":{},"error":{"code":1,"message":""}}`,
		`{"jsonrpc":"2.0","id":1,"result":{}} {}`, `{"jsonrpc":"2.0","id":1,"result":{},"params":{}}`, `{"jsonrpc":"2.0","id":1,"method":"notifications/message"}`,
	}
	for _, body := range bad {
		if m, err := wire.ParseServer([]byte(body), wire.Limits{}); err == nil {
			t.Errorf("accepted %s as %+v", body, m)
		}
	}
}
