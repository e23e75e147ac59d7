package sallyport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport-mcp/sallyport"
	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
)

// stateful is sdkServer with legacy sessions.
func stateful(t testing.TB, seen func(*http.Request)) sallyport.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "plain", Version: "1"}, &mcp.ServerOptions{PageSize: 1})
	for _, name := range []string{"echo", "whoami", "zebra"} {
		mcp.AddTool(server, &mcp.Tool{Name: name}, func(_ context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name}}}, nil, nil
		})
	}
	h := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen != nil {
			seen(r)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return sallyport.Server{URL: s.URL}
}

// begin opens a legacy session and returns its id.
func (r *rig) begin(t testing.TB) string {
	t.Helper()
	status, body, h := r.send(t, message{body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`})
	id := h.Get("Mcp-Session-Id")
	if status != 200 || id == "" {
		t.Fatalf("initialize: %d %q %s", status, id, body)
	}
	if status, _, _ := r.send(t, legacy(id, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)); status != 202 {
		t.Fatalf("notifications/initialized: %d", status)
	}
	return id
}

func legacy(session, body string) message {
	return message{body: body, header: map[string]string{"Mcp-Session-Id": session, "Mcp-Protocol-Version": "2025-11-25"}}
}

func TestSessionBelongsToItsPrincipal(t *testing.T) {
	r := newRig(t, stateful(t, nil), nil)
	session := r.begin(t)
	ping := legacy(session, `{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	if status, body, _ := r.send(t, ping); status != 200 {
		t.Fatalf("the owner: %d %s", status, body)
	}
	owner := r.key
	r.key, _ = r.newKey(t, "user")
	if status, body, _ := r.send(t, ping); status != 404 || !strings.Contains(body, `"id":2`) {
		t.Errorf("another principal: %d %s, want 404 with the id", status, body)
	}
	r.key = owner
	flipped := []byte(session)
	flipped[len(flipped)/2] ^= 1
	for _, handle := range []string{string(flipped), session + "A", session[:20], "x"} {
		if status, _, _ := r.send(t, legacy(handle, `{"jsonrpc":"2.0","id":2,"method":"ping"}`)); status != 404 {
			t.Errorf("handle %q: %d, want 404", handle, status)
		}
	}
}

func TestDeletedSessionStaysDeleted(t *testing.T) {
	r := newRig(t, stateful(t, nil), nil)
	session := r.begin(t)
	if status, body, _ := r.send(t, message{verb: http.MethodDelete, header: map[string]string{"Mcp-Session-Id": session}}); status >= 300 {
		t.Fatalf("DELETE: %d %s", status, body)
	}
	if status, _, _ := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":2,"method":"ping"}`)); status != 404 {
		t.Errorf("after DELETE: %d, want 404", status)
	}
}

// TestPagesAreFilteredAndCursorsSealed walks a list of one tool a page as a principal who may see two of three.
func TestPagesAreFilteredAndCursorsSealed(t *testing.T) {
	r := newRig(t, stateful(t, nil), nil)
	session := r.begin(t)
	var tools []string
	cursor, first := "", ""
	for page := range 10 {
		params := ""
		if cursor != "" {
			params = fmt.Sprintf(`,"params":{"cursor":%q}`, cursor)
		}
		_, body, _ := r.send(t, legacy(session, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list"%s}`, page, params)))
		var answer struct {
			Result struct {
				Tools      []struct{ Name string }
				NextCursor string
			}
		}
		if err := json.Unmarshal([]byte(data(body)), &answer); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		for _, tool := range answer.Result.Tools {
			tools = append(tools, tool.Name)
		}
		if cursor = answer.Result.NextCursor; cursor == "" {
			break
		}
		if first == "" {
			first = cursor
		}
	}
	if strings.Join(tools, " ") != "echo whoami" {
		t.Errorf("the list shows %v, want echo and whoami", tools)
	}
	if first == "" {
		t.Fatal("there was no second page")
	}
	r.key, _ = r.newKey(t, "user")
	_, body, _ := r.send(t, legacy(r.begin(t), fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":%q}}`, first)))
	if !strings.Contains(body, "-32602") {
		t.Errorf("another's cursor: %s, want -32602", body)
	}
}

// data returns the payload of an answer in JSON or as an event stream.
func data(body string) string {
	for line := range strings.Lines(body) {
		if payload, ok := strings.CutPrefix(line, "data: "); ok && strings.TrimSpace(payload) != "" {
			return payload
		}
	}
	return body
}

// TestRevocationEndsOpenStream revokes a key while its stream is open: the stream ends within a second, and the next
// call is refused.
func TestRevocationEndsOpenStream(t *testing.T) {
	r := newRig(t, stateful(t, nil), nil)
	session := r.begin(t)
	req, err := http.NewRequest(http.MethodGet, r.base+"/plain/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	req.Header.Set("Mcp-Session-Id", session)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("GET: %v %v", resp, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	ended := make(chan time.Time, 1)
	go func() {
		_, _ = io.Copy(io.Discard, bufio.NewReader(resp.Body)) // its end is what counts
		ended <- time.Now()
	}()
	_, last := r.events(t, 0)
	revoked := time.Now()
	if _, err := r.guard.Operations().RevokeKey(t.Context(), admin.Local(0), admin.ID{ID: r.keyID}); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":2,"method":"ping"}`)); status != 401 {
		t.Errorf("the next call: %d, want 401", status)
	}
	select {
	case at := <-ended:
		if took := at.Sub(revoked); took > time.Second {
			t.Errorf("the stream ended after %v", took)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the stream is still open")
	}
	events, _ := r.settle(t, last, 4)
	found := false
	for _, e := range events {
		found = found || e.Kind == audit.StreamEnded
	}
	if !found {
		t.Errorf("no stream_ended among %v", events)
	}
}

// TestClientCredentialsStayHere holds promise 9 for the remote upstream: nothing of the client's but the message and the
// allowed headers goes on.
func TestClientCredentialsStayHere(t *testing.T) {
	var mu sync.Mutex
	var leaked []string
	const canary = "canary-4d1c"
	r := newRig(t, stateful(t, func(req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for name, values := range req.Header {
			if v := strings.Join(values, " "); strings.Contains(v, canary) || strings.Contains(v, "sp_") {
				leaked = append(leaked, name+": "+v)
			}
		}
	}), nil)
	m := modern("echo", `{}`)
	m.header = map[string]string{}
	for _, name := range []string{"Cookie", "X-Api-Secret", "Proxy-Authorization", "X-User", "Forwarded-User", "X_User", "Mcp-Other", "User-Agent", "Referer"} {
		m.header[name] = canary
	}
	session := r.begin(t)
	m.header["Mcp-Session-Id"] = session
	m.body = `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo","arguments":{}}}`
	if status, body, _ := r.send(t, m); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(leaked) > 0 {
		t.Errorf("reached the upstream: %v", leaked)
	}
}

// TestUnaskedResponsesAreRefused: a client may answer only what the server asked, once.
func TestUnaskedResponsesAreRefused(t *testing.T) {
	r := newRig(t, stateful(t, nil), nil)
	session := r.begin(t)
	if status, body, _ := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":"s1","result":{}}`)); status != 400 {
		t.Errorf("in a session: %d %s", status, body)
	}
	if status, body, _ := r.send(t, message{body: `{"jsonrpc":"2.0","id":"s1","result":{}}`}); status != 400 {
		t.Errorf("without a session: %d %s", status, body)
	}
}

// TestRefusalsInJSONRPC: on a server configured so, refusals that no scope would cure keep HTTP 200.
func TestRefusalsInJSONRPC(t *testing.T) {
	s := remote(t)
	s.JSONRPCRefusals = true
	r := newRig(t, s, nil)
	if status, body, _ := r.send(t, modern("secret", `{}`)); status != 200 || !strings.Contains(body, "-32010") || !strings.Contains(body, `"a-1"`) {
		t.Errorf("denied: %d %s", status, body)
	}
	if status, _, _ := r.send(t, with(modern("secret", `{}`), "Authorization", "Bearer x")); status != 401 {
		t.Errorf("unauthenticated: %d, want 401 all the same", status)
	}
}

// TestEncodedAndUncleanPathsAreNotFound: a path has one spelling.
func TestEncodedAndUncleanPathsAreNotFound(t *testing.T) {
	r := newRig(t, remote(t), nil)
	for _, path := range []string{"/plain/mcp/", "/plain//mcp", "/plain/./mcp", "/x/../plain/mcp", "/plain%2fmcp", "/plain/%6dcp", "/PLAIN/mcp", "/plain"} {
		m := modern("echo", `{"text":"x"}`)
		m.path = path
		if status, _, _ := r.send(t, m); status != 404 {
			t.Errorf("%s: %d, want 404", path, status)
		}
	}
}

func (r *rig) revoke(t testing.TB) {
	t.Helper()
	if _, err := r.guard.Operations().RevokeKey(context.Background(), admin.Local(0), admin.ID{ID: r.keyID}); err != nil {
		t.Error(err)
	}
}
