package sallyport_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport-mcp/sallyport"
	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
	"github.com/sallyport-mcp/sallyport/policy"
)

// sdkServer is an MCP server of the Go SDK that knows nothing of us. Its tools are echo, secret and whoami.
func sdkServer() http.Handler {
	server := mcp.NewServer(&mcp.Implementation{Name: "plain", Version: "1"}, nil)
	type text struct {
		Text string `json:"text"`
	}
	mcp.AddTool(server, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in text) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Text}}}, nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "secret"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "classified"}}}, nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "whoami"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		name := "nobody"
		if p, ok := sallyport.PrincipalFrom(r); ok {
			name = p.Name
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name}}}, nil, nil
	})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true})
}

// rig is a guard in front of sdkServer with one key.
type rig struct {
	guard *sallyport.Guard
	base  string
	dir   string
	key   string
	keyID string
}

// newRig opens a guard. change may alter its configuration.
func newRig(t testing.TB, server sallyport.Server, change func(*sallyport.Config)) *rig {
	t.Helper()
	server.Name, server.Path = "plain", "/plain/mcp"
	c := sallyport.Config{
		DataDir: filepath.Join(t.TempDir(), "data"),
		Servers: []sallyport.Server{server},
		Permissions: []policy.Rule{
			{Server: "plain", Tool: "echo", Require: "plain:say"},
		},
		Roles:  []policy.Role{{Name: "user", Permissions: []string{"plain:say", "plain:whoami"}}},
		Limits: sallyport.Limits{Roles: map[string]sallyport.Limit{"guest": {Capacity: 2, Refill: 0.001}}},
		Log:    slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if change != nil {
		change(&c)
	}
	guard, err := sallyport.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(guard.Handler())
	t.Cleanup(func() {
		front.Close()
		if err := guard.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	r := &rig{guard: guard, base: front.URL, dir: filepath.Join(c.DataDir, "audit")}
	r.key, r.keyID = r.newKey(t, "user")
	return r
}

func (r *rig) newKey(t testing.TB, role string) (text, id string) {
	t.Helper()
	made, err := r.guard.Operations().CreateKey(t.Context(), admin.Local(os.Getuid()), admin.KeySpec{Name: "holder", Roles: []string{role}})
	if err != nil {
		t.Fatal(err)
	}
	return made.Text, made.Record.ID
}

// remote is sdkServer behind a URL.
func remote(t testing.TB) sallyport.Server {
	s := httptest.NewServer(sdkServer())
	t.Cleanup(s.Close)
	return sallyport.Server{URL: s.URL}
}

// message is one request of a table.
type message struct {
	verb, path, body string
	header           map[string]string
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// modern is a tools/call of the modern era.
func modern(tool, arguments string) message {
	return message{
		body:   fmt.Sprintf(`{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"name":%q,"arguments":%s,%s}}`, tool, arguments, modernMeta),
		header: map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool},
	}
}

// send sends a message with the rig's key, unless the header says otherwise, and returns status and body.
func (r *rig) send(t testing.TB, m message) (int, string, http.Header) {
	t.Helper()
	if m.verb == "" {
		m.verb = http.MethodPost
	}
	if m.path == "" {
		m.path = "/plain/mcp"
	}
	req, err := http.NewRequest(m.verb, r.base+m.path, strings.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Authorization": "Bearer " + r.key}
	for name, value := range m.header {
		header[name] = value
	}
	for name, value := range header {
		switch {
		case name == "Host":
			req.Host = value
		case value != "":
			req.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.ReplaceAll(string(body), r.keyID, "KEY"), resp.Header
}

// events returns what the log holds after a position, without what differs by time and place.
func (r *rig) events(t testing.TB, after uint64) (list []audit.Event, last uint64) {
	t.Helper()
	last = after
	err := auditlog.Scan(t.Context(), r.dir, time.Time{}, time.Now().Add(time.Hour), func(e *audit.Event) error {
		last = max(last, e.Seq)
		if e.Seq > after {
			kept := *e
			kept.Time, kept.Duration, kept.Seq, kept.BytesOut = time.Time{}, 0, e.Seq-after, 0
			if kept.Ref > after {
				kept.Ref -= after
			}
			kept.Credential = strings.ReplaceAll(kept.Credential, r.keyID, "KEY")
			kept.Principal.Subject = strings.ReplaceAll(kept.Principal.Subject, r.keyID, "KEY")
			kept.Session = ""
			list = append(list, kept)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, last
}

// settle waits until the log holds n more records than after, and returns them.
func (r *rig) settle(t testing.TB, after uint64, n int) ([]audit.Event, uint64) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		list, last := r.events(t, after)
		if len(list) >= n || time.Now().After(deadline) {
			return list, last
		}
		time.Sleep(time.Millisecond) // the outcome is recorded without waiting for the disk
	}
}

// TestEquivalence sends the same requests through the gateway (a server behind a URL) and through the library (the same
// server in this process): the decisions and the events must be the same, layer by layer.
func TestEquivalence(t *testing.T) {
	rows := []struct {
		layer  string
		m      message
		status int
		kinds  []audit.Kind
	}{
		{"front: Host", with(modern("echo", `{"text":"x"}`), "Host", "evil.example"), 403, []audit.Kind{audit.AddressRefused}},
		{"front: Origin", with(modern("echo", `{"text":"x"}`), "Origin", "https://evil.example"), 403, []audit.Kind{audit.AddressRefused}},
		{"front: Origin null", with(modern("echo", `{"text":"x"}`), "Origin", "null"), 403, []audit.Kind{audit.AddressRefused}},
		{"front: forwarding header", with(modern("echo", `{"text":"x"}`), "X-Forwarded-For", "192.0.2.1"), 400, []audit.Kind{audit.InputRejected}},
		{"authenticate: nothing", with(modern("echo", `{"text":"x"}`), "Authorization", ""), 401, []audit.Kind{audit.AuthRequired}},
		{"authenticate: bad", with(modern("echo", `{"text":"x"}`), "Authorization", "Bearer nonsense"), 401, []audit.Kind{audit.AuthFailed}},
		{"authenticate: our placeholder from outside", with(modern("echo", `{"text":"x"}`), "Authorization", "Bearer sallyport"), 401, []audit.Kind{audit.AuthFailed}},
		{"allowed, first use", modern("echo", `{"text":"hello"}`), 200, []audit.Kind{audit.APIKeyUsed, audit.CallAllowed, audit.CallCompleted}},
		{"allowed again", modern("echo", `{"text":"hello"}`), 200, []audit.Kind{audit.CallAllowed, audit.CallCompleted}},
		{"parse: duplicate name", message{body: `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`}, 400, []audit.Kind{audit.InputRejected}},
		{"parse: batch", message{body: `[]`}, 400, []audit.Kind{audit.InputRejected}},
		{"parse: not JSON", message{body: `hello`}, 400, []audit.Kind{audit.InputRejected}},
		{"era: header differs", with(modern("echo", `{"text":"x"}`), "Mcp-Name", "secret"), 400, []audit.Kind{audit.InputRejected}},
		{"unknown method", message{
			body:   `{"jsonrpc":"2.0","id":1,"method":"no/such","params":{` + modernMeta + `}}`,
			header: map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "no/such"},
		}, 404, []audit.Kind{audit.InputRejected}},
		{"rules: a tool without permission", modern("secret", `{}`), 403, []audit.Kind{audit.PermissionDenied}},
		{"rules: an invented tool", modern("invented", `{}`), 403, []audit.Kind{audit.PermissionDenied}},
		{"arguments", modern("echo", `{"text":7}`), 400, []audit.Kind{audit.InputRejected}},
		{"arguments: folded name", modern("echo", `{"Text":"x"}`), 400, []audit.Kind{audit.InputRejected}},
		{"list is filtered", message{
			body:   `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + modernMeta + `}}`,
			header: map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"},
		}, 200, []audit.Kind{audit.CallAllowed, audit.CallCompleted}},
		{
			"legacy: initialize",
			message{body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`},
			200,
			[]audit.Kind{audit.CallAllowed, audit.CallCompleted},
		},
		{
			"legacy: another's session",
			message{body: `{"jsonrpc":"2.0","id":1,"method":"ping"}`, header: map[string]string{"Mcp-Session-Id": "stolen"}},
			404,
			[]audit.Kind{audit.SessionRefused},
		},
		{"no such path", message{path: "/elsewhere"}, 404, nil},
	}
	type seen struct {
		Status int
		Body   string
		Events []audit.Event
	}
	run := func(r *rig) map[string]seen {
		_, last := r.events(t, 0)
		all := map[string]seen{}
		for _, row := range rows {
			status, body, _ := r.send(t, row.m)
			var events []audit.Event
			events, last = r.settle(t, last, len(row.kinds))
			all[row.layer] = seen{status, body, events}
			if status != row.status {
				t.Errorf("%s: status %d, want %d: %s", row.layer, status, row.status, body)
			}
			var kinds []audit.Kind
			for _, e := range events {
				kinds = append(kinds, e.Kind)
			}
			if diff := cmp.Diff(row.kinds, kinds); diff != "" {
				t.Errorf("%s: events (-want +got):\n%s", row.layer, diff)
			}
		}
		return all
	}
	gateway := run(newRig(t, remote(t), nil))
	library := run(newRig(t, sallyport.Server{Handler: sdkServer()}, nil))
	for _, row := range rows {
		if diff := cmp.Diff(gateway[row.layer], library[row.layer], cmp.Comparer(func(a, b audit.Event) bool { return fmt.Sprint(a) == fmt.Sprint(b) })); diff != "" {
			t.Errorf("%s: gateway and library differ (-gateway +library):\n%s", row.layer, diff)
		}
	}
}

func with(m message, name, value string) message {
	header := map[string]string{name: value}
	for n, v := range m.header {
		if n != name {
			header[n] = v
		}
	}
	m.header = header
	return m
}

// TestEquivalenceOfLimits empties a guest's bucket through both forms.
func TestEquivalenceOfLimits(t *testing.T) {
	for name, server := range map[string]sallyport.Server{"gateway": remote(t), "library": {Handler: sdkServer()}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, server, func(c *sallyport.Config) {
				c.Roles = append(c.Roles, policy.Role{Name: "guest", Permissions: []string{"plain:say"}})
			})
			r.key, r.keyID = r.newKey(t, "guest")
			var statuses []int
			for range 4 {
				status, _, h := r.send(t, modern("echo", `{"text":"x"}`))
				statuses = append(statuses, status)
				if (status == 429) != (h.Get("Retry-After") != "") {
					t.Errorf("status %d with Retry-After %q", status, h.Get("Retry-After"))
				}
			}
			if diff := cmp.Diff([]int{200, 200, 429, 429}, statuses); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPrincipalReachesTheHandler: a handler in this process learns who calls, and nobody can say so from outside.
func TestPrincipalReachesTheHandler(t *testing.T) {
	r := newRig(t, sallyport.Server{Handler: sdkServer()}, nil)
	if _, body, _ := r.send(t, modern("whoami", `{}`)); !strings.Contains(body, `"holder"`) {
		t.Errorf("the handler does not know the caller: %s", body)
	}
	outside := newRig(t, remote(t), nil)
	if _, body, _ := outside.send(t, modern("whoami", `{}`)); !strings.Contains(body, `"nobody"`) {
		t.Errorf("a remote server was told who calls: %s", body)
	}
}
