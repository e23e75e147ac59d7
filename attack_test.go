package sallyport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport"
	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/policy"
)

// call is what a scripted upstream was asked.
type call struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
}

// scripted is an upstream of the legacy era that answers as its script says. Verbs without a message are scripted under
// their own name ("GET"), answers of the client under "reply".
type scripted struct {
	mu     sync.Mutex
	script map[string]func(w http.ResponseWriter, r *http.Request, c call)
	asked  map[string]int
}

// newScripted makes one, with sessions, two tools of which a user may see one, and whatever the script adds.
func newScripted(t testing.TB, script map[string]func(http.ResponseWriter, *http.Request, call)) (*scripted, sallyport.Server) {
	s := &scripted{script: script, asked: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, sallyport.Server{URL: server.URL}
}

func (s *scripted) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[method]
}

func (s *scripted) total() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.asked {
		n += k
	}
	return n
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var c call
	body, _ := io.ReadAll(r.Body) // what is missing shows
	if r.Method != http.MethodPost {
		c.Method = r.Method
	} else if json.Unmarshal(body, &c) == nil && c.Method == "" {
		c.Method = "reply"
	}
	s.mu.Lock()
	s.asked[c.Method]++
	answer, ok := s.script[c.Method]
	s.mu.Unlock()
	switch {
	case ok:
		answer(w, r, c)
	case c.Method == "initialize":
		w.Header().Set("Mcp-Session-Id", "upstream-session")
		answerJSON(w, c, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}`)
	case c.Method == "tools/list":
		answerJSON(w, c, twoTools)
	case c.Method == "server/discover":
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, c.ID)
	case c.ID == nil, c.Method == "reply":
		w.WriteHeader(http.StatusAccepted)
	default:
		answerJSON(w, c, `{"content":[]}`)
	}
}

const twoTools = `{"tools":[{"name":"echo","inputSchema":{"type":"object"}},{"name":"classified","inputSchema":{"type":"object"}}]}`

func answerJSON(w http.ResponseWriter, c call, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, c.ID, result)
}

func beginEvents(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
}

func sendEvent(w http.ResponseWriter, id, data string) {
	fmt.Fprintf(w, "id: %s\ndata: %s\n\n", id, data)
	_ = http.NewResponseController(w).Flush()
}

// open sends a request and returns its answer with the body unread. The request ends with the test, or earlier with ctx.
func (r *rig) open(ctx context.Context, t testing.TB, m message) *http.Response {
	t.Helper()
	if m.verb == "" {
		m.verb = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, m.verb, r.base+"/plain/mcp", strings.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+r.key)
	for name, value := range m.header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// another is the same rig for another principal.
func (r *rig) another(t testing.TB) *rig {
	t.Helper()
	o := *r
	o.key, o.keyID = r.newKey(t, "user")
	return &o
}

// rest waits until the outcome of every call is recorded and returns the last sequence number.
func (r *rig) rest(t testing.TB) uint64 {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		open := 0
		events, last := r.events(t, 0)
		for _, e := range events {
			switch e.Kind {
			case audit.CallAllowed:
				open++
			case audit.CallCompleted:
				open--
			}
		}
		if open == 0 || time.Now().After(deadline) {
			return last
		}
	}
}

// raw sends bytes as they are and returns the status line and what follows it.
func (r *rig) raw(t testing.TB, request string) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing is owed to it
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	request = strings.ReplaceAll(strings.ReplaceAll(request, "KEY", r.key), "\n", "\r\n")
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// TestResumedStreamHidesTools uses an id twice, so that the answer to a list comes, on a resumed stream, as the answer to
// something that is not filtered.
func TestResumedStreamHidesTools(t *testing.T) {
	script := map[string]func(http.ResponseWriter, *http.Request, call){
		"ping": func(w http.ResponseWriter, r *http.Request, c call) { // a stream that never answers
			beginEvents(w)
			sendEvent(w, "e1", "")
			<-r.Context().Done()
		},
		"GET": func(w http.ResponseWriter, r *http.Request, _ call) { // the answer to the list that came before
			beginEvents(w)
			sendEvent(w, "e2", `{"jsonrpc":"2.0","id":7,"result":`+twoTools+`}`)
		},
	}
	_, server := newScripted(t, script)
	r := newRig(t, server, nil)
	session := r.begin(t)
	if _, body, _ := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`)); !strings.Contains(body, "echo") || strings.Contains(body, "classified") {
		t.Fatalf("the list itself: %s", body)
	}
	ctx, leave := context.WithCancel(t.Context())
	first := r.open(ctx, t, legacy(session, `{"jsonrpc":"2.0","id":7,"method":"ping"}`))
	if _, err := first.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	leave()
	status, body, _ := r.send(t, message{verb: http.MethodGet, header: map[string]string{"Mcp-Session-Id": session, "Last-Event-ID": "e1"}})
	if status != 200 || strings.Contains(body, "classified") {
		t.Errorf("resumed: %d %s", status, body)
	}
}

// TestRevokedWhileWaiting: who is revoked while he waits is told so, and gets no empty 200.
func TestRevokedWhileWaiting(t *testing.T) {
	waiting := make(chan struct{}, 1)
	_, server := newScripted(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"tools/call": func(_ http.ResponseWriter, r *http.Request, _ call) {
			waiting <- struct{}{}
			select {
			case <-r.Context().Done():
			case <-time.After(3 * time.Second):
			}
		},
	})
	r := newRig(t, server, nil)
	session := r.begin(t)
	go func() {
		<-waiting
		r.revoke(t)
	}()
	status, body, _ := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{}}}`))
	if status != 401 || !strings.Contains(body, `"id":7`) {
		t.Errorf("revoked while waiting: %d %q, want 401 with the id", status, body)
	}
}

// TestSlowBodyIsJudgedWhenItIsWhole: what a caller could do when the request began buys nothing for a body that comes
// after its credential was revoked, or its role narrowed.
func TestSlowBodyIsJudgedWhenItIsWhole(t *testing.T) {
	var config sallyport.Config
	for status, change := range map[int]func(*rig){
		401: func(r *rig) { r.revoke(t) },
		403: func(r *rig) {
			config.Roles = []policy.Role{{Name: "user", Permissions: []string{"plain:whoami"}}}
			if err := r.guard.Reload(t.Context(), config); err != nil {
				t.Error(err)
			}
		},
	} {
		s, server := newScripted(t, nil)
		r := newRig(t, server, func(c *sallyport.Config) { config = *c })
		if got := slowCall(t, r, change); got != status || s.count("tools/call") != 0 {
			t.Errorf("status %d, want %d, and the server was asked %d times", got, status, s.count("tools/call"))
		}
	}
}

// slowCall makes a change in the middle of the body of a call and returns the call's status.
func slowCall(t *testing.T, r *rig, change func(*rig)) int {
	t.Helper()
	session := r.begin(t)
	body := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{}}}`
	read, write := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, r.base+"/plain/mcp", read)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "*/*", "Authorization": "Bearer " + r.key, "Mcp-Session-Id": session} {
		req.Header.Set(name, value)
	}
	go func() {
		_, _ = io.WriteString(write, body[:10])
		time.Sleep(200 * time.Millisecond) // the gateway has let the request in by then
		change(r)
		_, _ = io.WriteString(write, body[10:])
		_ = write.Close()
	}()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestReplyIsTakenOnce: one answer to the server's request passes, and only from whom it was asked of.
func TestReplyIsTakenOnce(t *testing.T) {
	s, server := newScripted(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"GET": func(w http.ResponseWriter, r *http.Request, _ call) {
			beginEvents(w)
			sendEvent(w, "e1", `{"jsonrpc":"2.0","id":"ask-1","method":"roots/list"}`)
			<-r.Context().Done()
		},
	})
	r := newRig(t, server, nil)
	session := r.begin(t)
	stream := r.open(t.Context(), t, message{verb: http.MethodGet, header: map[string]string{"Mcp-Session-Id": session}})
	if _, err := bufio.NewReader(stream.Body).ReadString('}'); err != nil {
		t.Fatal(err)
	}
	reply := legacy(session, `{"jsonrpc":"2.0","id":"ask-1","result":{"roots":[]}}`)
	mallory := r.another(t)
	if status, _, _ := mallory.send(t, reply); status != 404 {
		t.Errorf("another's answer: %d, want 404", status)
	}
	statuses := map[int]int{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			status, _, _ := r.send(t, reply)
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	group.Wait()
	if statuses[202] != 1 || s.count("reply") != 1 {
		t.Errorf("answers %v, and the server saw %d, want one", statuses, s.count("reply"))
	}
	stream.Body.Close() //nolint:errcheck // its outcome is recorded
	last := r.rest(t)
	status, body, _ := r.send(t, reply)
	if status != 400 || strings.Contains(body, `"ask-1"`) {
		t.Errorf("an answer nobody waits for: %d %s: the id is not the caller's own", status, body)
	}
	events, _ := r.settle(t, last, 1)
	if len(events) != 1 || events[0].Kind != audit.InputRejected || events[0].Method != "respond" {
		t.Errorf("recorded %+v", events)
	}
}
