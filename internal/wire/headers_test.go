package wire_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// header makes headers of name and value pairs; the same name twice gives two values.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func modernHeader(method string, more ...string) http.Header {
	return header(append([]string{"MCP-Protocol-Version", "2026-07-28", "mcp-method", method}, more...)...)
}

func parsed(t testing.TB, body string) *wire.Message {
	t.Helper()
	m, err := wire.ParseClient([]byte(body), wire.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return m
}

func request(method, params string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + `}}`
}

// outcome returns code and status of an error, or zeros.
func outcome(t testing.TB, err error) (code, status int) {
	t.Helper()
	var refusal *wire.ParseError
	if err == nil {
		return 0, 0
	}
	if !errors.As(err, &refusal) {
		t.Fatalf("not a ParseError: %v", err)
	}
	return refusal.Code, refusal.Status
}

func b64(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }

func TestCheckHeaders(t *testing.T) {
	call := request("tools/call", `"name":"Hello",`+meta)
	list := request("tools/list", meta)
	odd := "=?base64?x?="
	note := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`
	tests := []struct {
		name, body   string
		header       http.Header
		code, status int
	}{
		{"list", list, modernHeader("tools/list"), 0, 0},
		{"white space", list, modernHeader("  tools/list\t"), 0, 0},
		{"call", call, modernHeader("tools/call", "Mcp-Name", "Hello"), 0, 0},
		{"call, white space", call, modernHeader("tools/call", "Mcp-Name", "  Hello  "), 0, 0},
		{"call, base64", call, modernHeader("tools/call", "Mcp-Name", b64("Hello")), 0, 0},
		{"name in other letters", request("tools/call", `"name":"日本",`+meta), modernHeader("tools/call", "Mcp-Name", b64("日本")), 0, 0},
		{"name that looks encoded", request("tools/call", `"name":"`+odd+`",`+meta), modernHeader("tools/call", "Mcp-Name", b64(odd)), 0, 0},
		{"name with only the first mark", request("tools/call", `"name":"=?base64?SGVsbG8=",`+meta), modernHeader("tools/call", "Mcp-Name", "=?base64?SGVsbG8="), 0, 0},
		{"name that is base64 without marks", request("tools/call", `"name":"SGVsbG8=",`+meta), modernHeader("tools/call", "Mcp-Name", "SGVsbG8="), 0, 0},
		{"resource", request("resources/read", `"uri":"a:b",`+meta), modernHeader("resources/read", "Mcp-Name", "a:b"), 0, 0},
		{"task", request("tasks/get", `"taskId":"t",`+meta), modernHeader("tasks/get", "Mcp-Name", "t"), 0, 0},
		{"notification without", note, header("MCP-Protocol-Version", "2026-07-28"), 0, 0},

		{"no method header", list, header("MCP-Protocol-Version", "2026-07-28"), wire.CodeHeaderMismatch, 400},
		{"other method", list, modernHeader("prompts/list"), wire.CodeHeaderMismatch, 400},
		{"other case", list, modernHeader("TOOLS/LIST"), wire.CodeHeaderMismatch, 400},
		{"empty method", list, modernHeader(""), wire.CodeHeaderMismatch, 400},
		{"method encoded", list, modernHeader(b64("tools/list")), wire.CodeHeaderMismatch, 400},
		{"method twice", list, modernHeader("tools/list", "Mcp-Method", "tools/list"), wire.CodeHeaderMismatch, 400},
		{"method list", list, modernHeader("tools/list, tools/list"), wire.CodeHeaderMismatch, 400},
		{"no name", call, modernHeader("tools/call"), wire.CodeHeaderMismatch, 400},
		{"empty name", call, modernHeader("tools/call", "Mcp-Name", ""), wire.CodeHeaderMismatch, 400},
		{"other name", call, modernHeader("tools/call", "Mcp-Name", "hello"), wire.CodeHeaderMismatch, 400},
		{"name twice", call, modernHeader("tools/call", "Mcp-Name", "Hello", "Mcp-Name", "Other"), wire.CodeHeaderMismatch, 400},
		{"bad padding", call, modernHeader("tools/call", "Mcp-Name", "=?base64?SGVsbG8?="), wire.CodeHeaderMismatch, 400},
		{"bad letters", call, modernHeader("tools/call", "Mcp-Name", "=?base64?SGVs!!!bG8=?="), wire.CodeHeaderMismatch, 400},
		{"bits behind the padding", call, modernHeader("tools/call", "Mcp-Name", "=?base64?SGVsbG9=?="), wire.CodeHeaderMismatch, 400},
		{"other mark", call, modernHeader("tools/call", "Mcp-Name", "=?BASE64?SGVsbG8=?="), wire.CodeHeaderMismatch, 400},
		{"name where none is", list, modernHeader("tools/list", "Mcp-Name", "x"), wire.CodeHeaderMismatch, 400},
		{"no version header", list, header("Mcp-Method", "tools/list"), wire.CodeHeaderMismatch, 400},
		{"other version", request("server/discover", `"_meta":{"io.modelcontextprotocol/protocolVersion":"v999.0.0"}`), modernHeader("server/discover"), wire.CodeHeaderMismatch, 400},
		{"version twice", list, modernHeader("tools/list", "MCP-Protocol-Version", "2026-07-28"), wire.CodeHeaderMismatch, 400},
		{"no version in _meta", request("server/discover", ``), modernHeader("server/discover"), wire.CodeInvalidParams, 400},
		{"removed: ping", request("ping", meta), modernHeader("ping"), wire.CodeMethodNotFound, 404},
		{"removed: subscribe", request("resources/subscribe", `"uri":"a:b",`+meta), modernHeader("resources/subscribe"), wire.CodeMethodNotFound, 404},
		{"lying notification", note, modernHeader("notifications/progress"), wire.CodeHeaderMismatch, 400},
		{"lying notification's version", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{` + meta + `}}`, header("MCP-Protocol-Version", "2027-01-01"), wire.CodeHeaderMismatch, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, status := outcome(t, wire.CheckHeaders(tt.header, parsed(t, tt.body)))
			if code != tt.code || status != tt.status {
				t.Errorf("got %d/%d, want %d/%d", code, status, tt.code, tt.status)
			}
		})
	}
}

func TestDecideEra(t *testing.T) {
	modern := request("tools/list", meta)
	legacy := request("tools/list", "")
	tests := []struct {
		name, body string
		header     http.Header
		session    bool
		era        wire.Era
		code       int
	}{
		{"nothing said", legacy, nil, false, wire.Legacy, 0},
		{"legacy header", legacy, header("MCP-Protocol-Version", "2025-06-18"), false, wire.Legacy, 0},
		{"session", legacy, header("MCP-Protocol-Version", "2025-06-18"), true, wire.Legacy, 0},
		{"initialize", request("initialize", `"protocolVersion":"2025-11-25"`), nil, false, wire.Legacy, 0},
		{"initialize asking for the modern revision", request("initialize", `"protocolVersion":"2026-07-28"`), nil, false, wire.Legacy, 0},
		{"modern", modern, header("MCP-Protocol-Version", "2026-07-28"), false, wire.Modern, 0},
		{"modern by _meta alone", modern, nil, false, wire.Modern, 0},
		{"modern by header alone", legacy, header("MCP-Protocol-Version", "2026-07-28"), false, wire.Modern, 0},
		{"unknown later version", legacy, header("MCP-Protocol-Version", "v999.0.0"), false, wire.Modern, 0},
		{"GET", "", nil, true, wire.Legacy, 0},
		{"modern GET", "", header("MCP-Protocol-Version", "2026-07-28"), false, wire.Modern, 0},
		{"legacy with a true mirror", legacy, header("Mcp-Method", "tools/list"), false, wire.Legacy, 0},

		{"modern with a session", modern, header("MCP-Protocol-Version", "2026-07-28"), true, 0, wire.CodeHeaderMismatch},
		{"modern header with a session", legacy, header("MCP-Protocol-Version", "2026-07-28"), true, 0, wire.CodeHeaderMismatch},
		{"modern GET with a session", "", header("MCP-Protocol-Version", "2026-07-28"), true, 0, wire.CodeHeaderMismatch},
		{"initialize under a modern header", request("initialize", `"protocolVersion":"2025-11-25"`), header("MCP-Protocol-Version", "2026-07-28"), false, 0, wire.CodeHeaderMismatch},
		{"initialize with a modern _meta alone", request("initialize", meta), nil, false, 0, wire.CodeHeaderMismatch},
		{"initialize all modern", request("initialize", meta), header("MCP-Protocol-Version", "2026-07-28"), false, 0, wire.CodeMethodNotFound},
		{"discover in the legacy era", request("server/discover", ""), nil, false, 0, wire.CodeMethodNotFound},
		{"legacy lie about the method", legacy, header("Mcp-Method", "ping"), true, 0, wire.CodeHeaderMismatch},
		{"legacy lie about the name", request("tools/call", `"name":"a"`), header("MCP-Protocol-Version", "2025-06-18", "Mcp-Name", "b"), true, 0, wire.CodeHeaderMismatch},
		{"two versions", legacy, header("MCP-Protocol-Version", "2025-06-18", "MCP-Protocol-Version", "2026-07-28"), false, 0, wire.CodeHeaderMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m *wire.Message
			if tt.body != "" {
				m = parsed(t, tt.body)
			}
			era, err := wire.DecideEra(tt.header, m, tt.session)
			code, _ := outcome(t, err)
			if era != tt.era || code != tt.code {
				t.Errorf("got %d, %d; want %d, %d", era, code, tt.era, tt.code)
			}
			if err != nil && m != nil && string(err.(*wire.ParseError).ID) != "1" {
				t.Error("the caller's id is missing")
			}
		})
	}
}

func TestEncodeHeaderIsReadBack(t *testing.T) {
	for _, name := range []string{"a", "a b", " a", "a ", "\ta", "日本", "a\nb", "=?base64?x?=", "=?base64?", "?=", "\x7f"} {
		body := request("tools/call", `"name":`+quoted(name)+`,`+meta)
		h := modernHeader("tools/call", "Mcp-Name", wire.EncodeHeader(name))
		if err := wire.CheckHeaders(h, parsed(t, body)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
