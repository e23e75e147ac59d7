package sallyport_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport"
	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
)

// TestMisplacedMessages sends what belongs to another era, session or verb: refused with 400, 404 or 405, recorded once
// with what it asked for, and unseen by the server.
func TestMisplacedMessages(t *testing.T) {
	s, server := newScripted(t, nil)
	r := newRig(t, server, nil)
	session := r.begin(t)
	in := func(m message) message { return with(m, "Mcp-Session-Id", session) }
	ping := message{body: `{"jsonrpc":"2.0","id":1,"method":"ping"}`}
	get, end := message{verb: http.MethodGet}, message{verb: http.MethodDelete}
	last := r.rest(t)
	for _, row := range []struct {
		name   string
		m      message
		status int
		method string // in the record
	}{
		{"modern header in a session", with(in(ping), "Mcp-Protocol-Version", "2026-07-28"), 400, "ping"},
		{"modern _meta in a session", in(message{body: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + modernMeta + `}}`}), 400, "tools/list"},
		{"GET with a modern header", with(get, "Mcp-Protocol-Version", "2026-07-28"), 405, "stream"},
		{"DELETE with a modern header", with(end, "Mcp-Protocol-Version", "2026-07-28"), 405, "end"},
		{"GET of a session that is not there", with(get, "Mcp-Session-Id", "x"), 404, "stream"},
		{"DELETE without a session", end, 400, "end"},
		{"initialize in a session", in(message{body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`}), 400, "initialize"},
		{"a legacy version that never was", with(in(ping), "Mcp-Protocol-Version", "2025-01-01"), 400, "ping"},
		{"a version with a space", with(in(ping), "Mcp-Protocol-Version", "2025-11-25 x"), 400, "ping"},
		{"Last-Event-ID with a space", with(in(get), "Last-Event-ID", "a b"), 400, "stream"},
		{"Last-Event-ID beyond ASCII", with(in(get), "Last-Event-ID", "caf\xe9"), 400, "stream"},
		{"a notification nobody knows", in(message{body: `{"jsonrpc":"2.0","method":"notifications/no/such"}`}), 404, "notifications/no/such"},
		{"PUT", message{verb: http.MethodPut}, 405, ""},
		{"TRACE", message{verb: http.MethodTrace}, 405, ""},
		{"HEAD", message{verb: http.MethodHead}, 405, ""},
		{"OPTIONS that is no preflight", message{verb: http.MethodOptions}, 405, ""},
	} {
		before := s.total()
		status, body, h := r.send(t, row.m)
		if status != row.status {
			t.Errorf("%s: %d %s, want %d", row.name, status, body, row.status)
		}
		if strings.Contains(row.m.body, `"id":1`) && !strings.Contains(body, `"id":1`) {
			t.Errorf("%s: the answer lacks the id: %s", row.name, body)
		}
		if status == 405 && h.Get("Allow") == "" {
			t.Errorf("%s: 405 without Allow", row.name)
		}
		var events []audit.Event
		events, last = r.settle(t, last, 1)
		if len(events) != 1 || events[0].Outcome != audit.Denied || events[0].Method != row.method || events[0].Server != "plain" {
			t.Errorf("%s: recorded %+v", row.name, events)
		}
		if s.total() != before {
			t.Errorf("%s: reached the server", row.name)
		}
	}
}

// TestSmuggling sends what net/http's client would not.
func TestSmuggling(t *testing.T) {
	_, server := newScripted(t, nil)
	server.MaxRequest = 1000
	r := newRig(t, server, nil)
	const head = "Authorization: Bearer KEY\nContent-Type: application/json\nAccept: */*\nConnection: close\n"
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	post := func(target, host, more, body string) string {
		return "POST " + target + " HTTP/1.1\nHost: " + host + "\n" + head + more + "\n" + body
	}
	const length = "Content-Length: 40\n"
	for name, row := range map[string]struct {
		request string
		status  int
	}{
		"plain":                         {post("/plain/mcp", "localhost", length, ping), 200},
		"uppercase host":                {post("/plain/mcp", "LOCALHOST:80", length, ping), 200},
		"trailing dot":                  {post("/plain/mcp", "localhost.", length, ping), 403},
		"suffix":                        {post("/plain/mcp", "localhost.evil.example", length, ping), 403},
		"user info":                     {post("/plain/mcp", "localhost@evil.example", length, ping), 400},
		"zone":                          {post("/plain/mcp", "[::1%25lo]", length, ping), 403},
		"no loopback":                   {post("/plain/mcp", "127.0.0.1.evil.example", length, ping), 403},
		"absolute form, allowed":        {post("http://localhost/plain/mcp", "localhost", length, ping), 200},
		"absolute form of another host": {post("http://evil.example/plain/mcp", "localhost", length, ping), 403},
		"two hosts":                     {post("/plain/mcp", "localhost\nHost: evil.example", length, ping), 400},
		"two sessions":                  {post("/plain/mcp", "localhost", length+"Mcp-Session-Id: a\nMcp-Session-Id: a\n", ping), 400},
		"two versions":                  {post("/plain/mcp", "localhost", length+"Mcp-Protocol-Version: 2025-11-25\nMcp-Protocol-Version: 2025-11-25\n", ping), 400},
		"two methods":                   {post("/plain/mcp", "localhost", length+"Mcp-Method: ping\nMcp-Method: tools/list\n", ping), 400},
		"two credentials":               {post("/plain/mcp", "localhost", length+"X-API-Key: x\n", ping), 400},
		"length and chunks":             {post("/plain/mcp", "localhost", length+"Transfer-Encoding: chunked\n", "28\n"+ping+"\n0\n\n"), 200}, // chunks count (RFC 9112 §6.3), and what goes on is our own
		"chunks with a trailer":         {post("/plain/mcp", "localhost", "Transfer-Encoding: chunked\nTrailer: Mcp-Session-Id\n", "28\n"+ping+"\n0\nMcp-Session-Id: x\n\n"), 200},
		"folded header":                 {post("/plain/mcp", "localhost", length+"Traceparent: a\n b\n", ping), 200},
		"bare CR in a header":           {post("/plain/mcp", "localhost", length+"Traceparent: a\rX: b\n", ping), 400},
		"more than is taken, in chunks": {post("/plain/mcp", "localhost", "Transfer-Encoding: chunked\n", "28\n"+ping+"\n3e8\n"+strings.Repeat(" ", 1000)+"\n0\n\n"), 413},
		"more than is taken":            {post("/plain/mcp", "localhost", "Content-Length: 1040\n", ping+strings.Repeat(" ", 1000)), 413},
		"more than is taken, unending":  {post("/plain/mcp", "localhost", "Transfer-Encoding: chunked\n", "28\n"+ping+"\n3e8\n"+strings.Repeat(" ", 1000)+"\n3e8\n"), 413},
		"compressed":                    {post("/plain/mcp", "localhost", length+"Content-Encoding: gzip\n", ping), 415},
		"Expect":                        {post("/plain/mcp", "localhost", length+"Expect: 100-continue\n", ""), 100},
		"CONNECT":                       {"CONNECT localhost:80 HTTP/1.1\nHost: localhost\n" + head + "\n", 404},
		"h2c":                           {"PRI * HTTP/2.0\n\nSM\n\n", 403},
	} {
		if status, body := r.raw(t, row.request); status != row.status {
			t.Errorf("%s: %d %s, want %d", name, status, body, row.status)
		}
	}
}

// TestErrorsTellNothing: what an operator needs to know is in the log, not in the answer.
func TestErrorsTellNothing(t *testing.T) {
	dead := sallyport.Server{URL: "http://127.0.0.1:1/inside"}
	r := newRig(t, dead, nil)
	for name, m := range map[string]message{
		"forwarding header": with(modern("echo", `{}`), "X-Forwarded-For", "192.0.2.1"),
		"upstream is down":  modern("echo", `{}`),
		"list":              {body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`},
	} {
		_, body, _ := r.send(t, m)
		for _, secret := range []string{"127.0.0.1", "inside", "trusted_proxies", "dial", "refused", "connect"} {
			if strings.Contains(body, secret) {
				t.Errorf("%s: the answer says %q: %s", name, secret, body)
			}
		}
	}
}

// TestChallengeIsWellFormed: the scope of a challenge is made of the name that the client asked for.
func TestChallengeIsWellFormed(t *testing.T) {
	_, server := newScripted(t, nil)
	r := newRig(t, server, nil)
	made, err := r.guard.Operations().IssueToken(t.Context(), admin.Local(0), admin.TokenSpec{
		Subject: "bob", Server: "plain", Roles: []string{"admin"}, Scopes: []string{"plain:say"},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.key = made.Text
	session := r.begin(t)
	for name, want := range map[string]string{
		"whoami":                  `, error="insufficient_scope", scope="plain:whoami"`,
		`x\", realm=\"evil`:       `, error="insufficient_scope"`,
		`x\\`:                     `, error="insufficient_scope"`,
		`x plain:admin`:           `, error="insufficient_scope"`,
		`x\r\nSet-Cookie: a=b`:    `, error="insufficient_scope"`,
		`Verzeichnis löschen`:     `, error="insufficient_scope"`,
		`löschen`:                 `, error="insufficient_scope"`,
		strings.Repeat("x", 1000): `, error="insufficient_scope"`,
	} {
		status, body, h := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"`+name+`"}}`))
		challenge := h.Get("WWW-Authenticate")
		_, after, _ := strings.Cut(challenge, `/plain/mcp"`)
		if status != 403 || after != want || h.Get("Set-Cookie") != "" {
			t.Errorf("%.40q: %d %q, want ...%q", name, status, challenge, want)
		}
		if !strings.Contains(body, `"id":9`) || len(body) > 1500 {
			t.Errorf("%.40q: %d bytes: %.200s", name, len(body), body)
		}
	}
}

// TestCrossOrigin: listed origins are named, others refused, credentials never allowed, and a preflight costs a token.
func TestCrossOrigin(t *testing.T) {
	_, server := newScripted(t, nil)
	r := newRig(t, server, func(c *sallyport.Config) {
		c.AllowedOrigins = []string{"https://app.example"}
		c.Limits.Address = sallyport.Limit{Capacity: 12, Refill: 0.001}
	})
	preflight := func(origin string) (int, http.Header) {
		status, _, h := r.send(t, message{verb: http.MethodOptions, header: map[string]string{
			"Origin": origin, "Access-Control-Request-Method": "POST", "Authorization": "", "Content-Type": "", "Accept": "",
		}})
		return status, h
	}
	for origin, want := range map[string]int{
		"https://app.example": 204, "http://localhost:3000": 204, "https://evil.example": 403, "null": 403, "https://app.example.evil.example": 403,
		"https://app.example:444": 403, "http://app.example": 403, "https://app.example/": 403, "https://u@app.example": 403, "https://app.example.": 403,
		"http://localhost.evil.example": 403, "http://[::1%25lo]": 403, "file://localhost": 403,
	} {
		status, h := preflight(origin)
		allowed := h.Get("Access-Control-Allow-Origin")
		if status != want || (allowed == origin) != (want == 204) || (want != 204 && allowed != "") || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", origin, status, h)
		}
	}
	last := 0
	for range 12 {
		last, _ = preflight("https://app.example")
	}
	if last != 429 {
		t.Errorf("the last preflight of a flood: %d", last)
	}
}

// TestHeadersThatGoOn: of a client's headers a server gets the trace, and in the legacy era no mirrored argument.
func TestHeadersThatGoOn(t *testing.T) {
	var mu sync.Mutex
	seen := http.Header{}
	_, server := newScripted(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"ping": func(w http.ResponseWriter, r *http.Request, c call) {
			mu.Lock()
			defer mu.Unlock()
			seen = r.Header.Clone()
			answerJSON(w, c, `{}`)
		},
	})
	r := newRig(t, server, nil)
	m := legacy(r.begin(t), `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	for _, name := range []string{"Connection", "Keep-Alive", "Te", "Upgrade", "Trailer", "Mcp-Param-Tenant", "Mcp-Name-X", "X-Http-Method-Override", "Idempotency-Key", "Last-Event-Id", "Baggage"} {
		m = with(m, name, "x-forged")
	}
	m = with(m, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if status, body, _ := r.send(t, m); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	mu.Lock()
	defer mu.Unlock()
	var forged []string
	for name, values := range seen {
		if strings.Contains(strings.Join(values, ""), "x-forged") {
			forged = append(forged, name)
		}
	}
	if diff := cmp.Diff([]string(nil), forged); diff != "" || seen.Get("Traceparent") == "" {
		t.Errorf("forged headers reached the server: %s (trace %q)", diff, seen.Get("Traceparent"))
	}
}

// TestRetryAfterIsTrue: who waits as long as he was told is served.
func TestRetryAfterIsTrue(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	_, server := newScripted(t, nil)
	r := newRig(t, server, func(c *sallyport.Config) {
		c.Limits.Roles["user"] = sallyport.Limit{Capacity: 3, Refill: 0.3}
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	session := r.begin(t)
	ping := legacy(session, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	for range 20 {
		status, _, h := r.send(t, ping)
		if status == 200 {
			continue
		}
		wait, err := time.ParseDuration(h.Get("Retry-After") + "s")
		if err != nil || status != 429 {
			t.Fatalf("%d, Retry-After %q", status, h.Get("Retry-After"))
		}
		mu.Lock()
		now = now.Add(wait)
		mu.Unlock()
		if status, _, _ := r.send(t, ping); status != 200 {
			t.Fatalf("waited %s and got %d", wait, status)
		}
	}
}
