package sallyport_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-mcp/sallyport"
)

// newModern is an upstream of both eras whose tool echo wants its argument region in a header.
func newModern(t testing.TB, more map[string]func(http.ResponseWriter, *http.Request, call)) (*scripted, sallyport.Server) {
	script := map[string]func(http.ResponseWriter, *http.Request, call){
		"server/discover": func(w http.ResponseWriter, _ *http.Request, c call) {
			answerJSON(w, c, `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":3600000,"cacheScope":"public"}`)
		},
		"tools/list": func(w http.ResponseWriter, _ *http.Request, c call) {
			answerJSON(w, c, `{"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}],"ttlMs":3600000,"cacheScope":"public"}`)
		},
	}
	for method, answer := range more {
		script[method] = answer
	}
	return newScripted(t, script)
}

func modernMessage(method, params string) message {
	return message{
		body:   fmt.Sprintf(`{"jsonrpc":"2.0","id":5,"method":%q,"params":{%s}}`, method, params+modernMeta),
		header: map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": method},
	}
}

// TestMirroredArguments: a header that mirrors an argument says what the body says, and there is no other.
func TestMirroredArguments(t *testing.T) {
	s, server := newModern(t, nil)
	r := newRig(t, server, nil)
	for name, row := range map[string]struct {
		m      message
		status int
	}{
		"equal":           {with(modern("echo", `{"region":"eu"}`), "Mcp-Param-Region", "eu"), 200},
		"none needed":     {modern("echo", `{}`), 200},
		"other":           {with(modern("echo", `{"region":"eu"}`), "Mcp-Param-Region", "us"), 400},
		"missing":         {modern("echo", `{"region":"eu"}`), 400},
		"without a body":  {with(modern("echo", `{}`), "Mcp-Param-Region", "us"), 400},
		"nobody asked":    {with(modern("echo", `{}`), "Mcp-Param-Tenant", "us"), 400},
		"on another call": {with(modernMessage("tools/list", ""), "Mcp-Param-Region", "us"), 400},
	} {
		status, body, _ := r.send(t, row.m)
		if status != row.status || (status == 400) != strings.Contains(body, "-32020") {
			t.Errorf("%s: %d %s, want %d", name, status, body, row.status)
		}
	}
	if n := s.count("tools/call"); n != 2 {
		t.Errorf("%d calls reached the server, want 2", n)
	}
}

// TestModernListsArePrivate: what differs by caller must not stay in a shared cache, whatever the server says.
func TestModernListsArePrivate(t *testing.T) {
	_, server := newModern(t, nil)
	r := newRig(t, server, nil)
	for _, method := range []string{"server/discover", "tools/list"} {
		_, body, h := r.send(t, modernMessage(method, ""))
		if !strings.Contains(body, `"cacheScope":"private"`) || !strings.Contains(body, `"ttlMs":60000`) || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s", method, body)
		}
	}
}

// TestModernServersDoNotAsk: in the modern era a server sends no requests; one that does is not heard, nor are answers
// to calls that are not this one.
func TestModernServersDoNotAsk(t *testing.T) {
	_, server := newModern(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"tools/call": func(w http.ResponseWriter, _ *http.Request, c call) {
			beginEvents(w)
			sendEvent(w, "1", `{"jsonrpc":"2.0","id":1,"method":"roots/list"}`)
			sendEvent(w, "2", `{"jsonrpc":"2.0","id":"other","result":{"content":[{"type":"text","text":"stray"}]}}`)
			sendEvent(w, "3", `{"jsonrpc":"2.0","id":`+string(c.ID)+`,"result":{"content":[]}}`)
		},
	})
	r := newRig(t, server, nil)
	status, body, _ := r.send(t, modern("echo", `{}`))
	if status != 200 || strings.Contains(body, "roots/list") || strings.Contains(body, "stray") || !strings.Contains(body, `"a-1"`) {
		t.Errorf("%d %s", status, body)
	}
}

// TestModernNotification: a notification may say its version in the header alone.
func TestModernNotification(t *testing.T) {
	_, server := newModern(t, nil)
	r := newRig(t, server, nil)
	status, body, _ := r.send(t, message{
		body:   `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a-1"}}`,
		header: map[string]string{"Mcp-Protocol-Version": "2026-07-28"},
	})
	if status != 202 {
		t.Errorf("%d %s", status, body)
	}
}

// TestErasAreNotMixed: a server that speaks the legacy era alone never sees a modern message, and the client is told.
func TestErasAreNotMixed(t *testing.T) {
	s, server := newScripted(t, nil)
	r := newRig(t, server, nil)
	status, body, _ := r.send(t, modern("echo", `{}`))
	if status != 400 || !strings.Contains(body, "-32022") || !strings.Contains(body, `"supported":["2025-11-25"`) || s.count("tools/call") != 0 {
		t.Errorf("%d %s, and the server saw %d calls", status, body, s.count("tools/call"))
	}
}
