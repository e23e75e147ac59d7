//go:build unix

package accept_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Exit codes of the Inspector's command line, as seen with version 2.12.
const (
	inspectorOK     = 0
	inspectorError  = 1 // any other error of the connection or the call, 429 among them
	inspectorLogin  = 3 // the server answered 401 or 403; the body of the 403 is in the message
	inspectorNoTool = 5 // the tool is not in tools/list (it is then not called), or its result has isError
)

// inspect runs the MCP Inspector's command line once against url. The key may be empty. What it prints on success is
// one line {"result":{…}} on stdout, on failure one line {"error":{"code":…,"message":…}} on stderr.
//
// It lists the tools before it calls one and refuses by itself to call what is not listed, so a tool the caller may not
// use looks like one that does not exist before the gateway is asked: test the gateway's own refusal with client.
func (n node) inspect(t *testing.T, url, protocolEra, key string, args ...string) outcome {
	t.Helper()
	all := []string{
		"--cli", url, "--transport", "http", "--protocol-era", protocolEra, "--format", "json", "-q",
		"--connect-timeout", "60000",
	} // npx takes its time to start a server on a busy machine
	if key != "" {
		all = append(all, "--header", "Authorization: Bearer "+key)
	}
	return n.run(t, 2*time.Minute, "mcp-inspector", append(all, args...)...)
}

// list returns the names of the tools the Inspector sees.
func (n node) list(t *testing.T, url, protocolEra, key string) []string {
	t.Helper()
	o := n.inspect(t, url, protocolEra, key, "--method", "tools/list")
	var answer struct {
		Result struct{ Tools []struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(o.Out), &answer); o.Code != inspectorOK || err != nil {
		t.Fatalf("the Inspector cannot list the tools of %s in %s: exit %d, %v\n%s\n%s", url, protocolEra, o.Code, err, o.Out, o.Err)
	}
	var names []string
	for _, tool := range answer.Result.Tools {
		names = append(names, tool.Name)
	}
	return names
}

// callTool calls a tool; each argument is "name=value".
func (n node) callTool(t *testing.T, url, protocolEra, key, tool string, args ...string) outcome {
	t.Helper()
	all := []string{"--method", "tools/call", "--tool-name", tool}
	for _, arg := range args {
		all = append(all, "--tool-arg", arg)
	}
	return n.inspect(t, url, protocolEra, key, all...)
}

// TestInspectorHarness checks what the Inspector shows without a gateway.
func TestInspectorHarness(t *testing.T) {
	n := findNode(t)
	for _, row := range []struct {
		server era
		client string
	}{{legacy, "auto"}, {legacy, "legacy"}, {modern, "auto"}, {modern, "modern"}} {
		t.Run(string(row.server)+" server, "+row.client, func(t *testing.T) {
			t.Parallel()
			url := startEverything(t, row.server)
			if names := n.list(t, url, row.client, ""); len(names) < 20 {
				t.Errorf("lists only %q", names)
			}
			if o := n.callTool(t, url, row.client, "", "test_simple_text"); o.Code != inspectorOK || !strings.Contains(o.Out, "simple text response") {
				t.Errorf("call: %+v", o)
			}
			if o := n.callTool(t, url, row.client, "", "no_such_tool"); o.Code != inspectorNoTool || !strings.Contains(o.Err, "tool_not_found") {
				t.Errorf("call of a tool that does not exist: %+v", o)
			}
		})
	}
}

// TestInspectorShowsRefusals checks what the Inspector makes of the answers a gateway refuses with.
func TestInspectorShowsRefusals(t *testing.T) {
	n := findNode(t)
	for _, row := range []struct {
		name   string
		status int
		header string
		body   string
		code   int
	}{
		{"no credential", http.StatusUnauthorized, `Bearer error="invalid_token"`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32010,"message":"no credential"}}`, inspectorLogin},
		{"denied", http.StatusForbidden, "", `{"jsonrpc":"2.0","id":0,"error":{"code":-32011,"message":"missing permission files:write"}}`, inspectorLogin},
		{"limited", http.StatusTooManyRequests, "", `{"jsonrpc":"2.0","id":0,"error":{"code":-32012,"message":"limited"}}`, inspectorError},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if row.header != "" {
					w.Header().Set("WWW-Authenticate", row.header)
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(row.status)
				_, _ = w.Write([]byte(row.body)) // The client may have gone.
			}))
			defer server.Close()
			o := n.inspect(t, server.URL+"/mcp", "legacy", "key", "--method", "tools/list")
			if o.Code != row.code || !json.Valid([]byte(o.Err)) {
				t.Errorf("got %+v, want exit %d", o, row.code)
			}
		})
	}
}
