package sallyport_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sallyport-mcp/sallyport"
)

// TestClientsThatLeaveLeaveNothing opens streams and calls in every state and cuts their connections.
func TestClientsThatLeaveLeaveNothing(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { // after the rig's own
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		goleak.VerifyNone(t, ignore)
	})
	flood := func(w http.ResponseWriter, r *http.Request, _ call) {
		beginEvents(w)
		for i := 0; r.Context().Err() == nil; i++ {
			sendEvent(w, fmt.Sprint(i), `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"`+strings.Repeat("x", 1000)+`"}}`)
		}
	}
	silent := func(w http.ResponseWriter, r *http.Request, _ call) { beginEvents(w); <-r.Context().Done() }
	_, server := newScripted(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"GET": flood, "resources/list": silent,
		"prompts/list": func(_ http.ResponseWriter, r *http.Request, _ call) { <-r.Context().Done() },
	})
	server.Timeout = 500 * time.Millisecond // an abandoned answer is read on so long
	r := newRig(t, server, nil)
	session := r.begin(t)
	var group sync.WaitGroup
	for range 8 {
		for _, m := range []message{
			{verb: http.MethodGet, header: map[string]string{"Mcp-Session-Id": session}},
			legacy(session, `{"jsonrpc":"2.0","id":1,"method":"resources/list"}`),
			legacy(session, `{"jsonrpc":"2.0","id":2,"method":"prompts/list"}`),
			legacy(session, `{"jsonrpc":"2.0","id":3,"method":"ping"}`),
		} {
			group.Go(func() {
				ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer leave()
				r.cut(ctx, m)
			})
		}
	}
	group.Wait()
	deadline := time.Now().Add(5 * time.Second)
	for r.guard.Operations().Figures().Streams > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond) // the gateway notices by itself
	}
	if n := r.guard.Operations().Figures().Streams; n > 0 {
		t.Errorf("%d requests are still open", n)
	}
	if status, body, _ := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":4,"method":"ping"}`)); status != 200 {
		t.Errorf("afterwards: %d %s", status, body)
	}
}

// cut sends a request and hangs up when ctx ends.
func (r *rig) cut(ctx context.Context, m message) {
	if m.verb == "" {
		m.verb = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, m.verb, r.base+"/plain/mcp", strings.NewReader(m.body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Authorization", "Bearer "+r.key)
	for name, value := range m.header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body) // until it is cut
	_ = resp.Body.Close()
}

// TestStreamsOfOnePrincipalAreBounded: a bucket bounds how fast streams are opened, not how many stay open.
func TestStreamsOfOnePrincipalAreBounded(t *testing.T) {
	_, server := newScripted(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"GET": func(w http.ResponseWriter, r *http.Request, _ call) { beginEvents(w); <-r.Context().Done() },
	})
	r := newRig(t, server, func(c *sallyport.Config) {
		c.Limits.Roles["user"] = sallyport.Limit{Capacity: 10, Refill: 1e6}
		c.Limits.Address = sallyport.Limit{Capacity: 1e6, Refill: 1e6}
	})
	session := r.begin(t)
	stream := message{verb: http.MethodGet, header: map[string]string{"Mcp-Session-Id": session}}
	ctx, leave := context.WithCancel(t.Context())
	for i := range 64 {
		if resp := r.open(ctx, t, stream); resp.StatusCode != 200 {
			t.Fatalf("stream %d: %d", i+1, resp.StatusCode)
		}
	}
	status, body, h := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":4,"method":"ping"}`))
	if status != 429 || h.Get("Retry-After") == "" || !strings.Contains(body, `"id":4`) {
		t.Errorf("beyond the bound: %d %s", status, body)
	}
	other := r.another(t)
	if status, body, _ := other.send(t, legacy(other.begin(t), `{"jsonrpc":"2.0","id":4,"method":"ping"}`)); status != 200 {
		t.Errorf("another principal: %d %s", status, body)
	}
	leave()
	deadline := time.Now().Add(5 * time.Second)
	for status != 200 && time.Now().Before(deadline) {
		status, _, _ = r.send(t, legacy(session, `{"jsonrpc":"2.0","id":4,"method":"ping"}`))
	}
	if status != 200 {
		t.Errorf("after the streams ended: %d", status)
	}
}

// TestSlowReadersStopNobody: a client that does not read its stream holds up only itself.
func TestSlowReadersStopNobody(t *testing.T) {
	_, server := newScripted(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"GET": func(w http.ResponseWriter, r *http.Request, _ call) {
			beginEvents(w)
			for i := 0; r.Context().Err() == nil; i++ {
				sendEvent(w, fmt.Sprint(i), `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"`+strings.Repeat("x", 100_000)+`"}}`)
			}
		},
	})
	r := newRig(t, server, nil)
	session := r.begin(t)
	for range 4 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, err = fmt.Fprintf(conn, "GET /plain/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nMcp-Session-Id: %s\r\n\r\n", r.key, session)
		if err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond) // the buffers are full by then
	started := time.Now()
	for range 20 {
		if status, body, _ := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":4,"method":"ping"}`)); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	if took := time.Since(started); took > 25*time.Second { // one write to a slow reader is waited for 30 s
		t.Errorf("20 calls took %s", took)
	}
}
