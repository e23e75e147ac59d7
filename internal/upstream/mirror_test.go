package upstream_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// TestNameIsMirrored: every modern method that names something says so in Mcp-Name, tasks with the server's own id.
func TestNameIsMirrored(t *testing.T) {
	var got http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":{}}`)) // the test fails without an answer
	}))
	defer s.Close()
	u, err := upstream.NewRemote(upstream.RemoteConfig{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close(t.Context()) //nolint:errcheck // nothing is open
	for body, want := range map[string]string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"naïve"}}`:        "=?base64?bmHDr3Zl?=",
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a"}}`: "file:///a",
		`{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"sealed"}}`:      "own",
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`:                      "",
	} {
		m, err := wire.ParseClient([]byte(body), wire.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		m.SetTask("own") // as the gateway does when it opens the handle
		if _, err := u.RoundTrip(t.Context(), &upstream.Request{Verb: http.MethodPost, Era: wire.Modern, Message: m}); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if got.Get("Mcp-Name") != want || got.Get("Mcp-Method") != m.Method {
			t.Errorf("%s: Mcp-Method %q, Mcp-Name %q, want %q", body, got.Get("Mcp-Method"), got.Get("Mcp-Name"), want)
		}
	}
}
