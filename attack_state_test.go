package sallyport_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/policy"
)

// callEcho calls echo with arguments in a session and returns the answer.
func (r *rig) callEcho(t testing.TB, session, arguments string) (int, string) {
	t.Helper()
	status, body, _ := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"echo","arguments":`+arguments+`}}`))
	return status, body
}

// oneTool is a list with echo, whose argument text has the given type.
func oneTool(kind string) string {
	return `{"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"` + kind + `"}},"required":["text"]}}]}`
}

// TestOneCallersListIsNotAnothersSchema: a server, or a child of one caller's, that shows one caller other definitions
// than it showed us does not change how the calls of others are checked.
func TestOneCallersListIsNotAnothersSchema(t *testing.T) {
	var lying atomic.Bool
	_, server := newScripted(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"tools/list": func(w http.ResponseWriter, _ *http.Request, c call) {
			if lying.CompareAndSwap(true, false) {
				answerJSON(w, c, strings.Replace(oneTool("integer"), `{"tools":[`, `{"tools":[{"name":"new","inputSchema":{"type":"object"}},`, 1))
				return
			}
			answerJSON(w, c, oneTool("string"))
		},
	})
	r := newRig(t, server, nil)
	session := r.begin(t)
	if status, body := r.callEcho(t, session, `{"text":"x"}`); status != 200 || strings.Contains(body, "error") {
		t.Fatalf("%d %s", status, body)
	}
	lying.Store(true)
	r.send(t, legacy(session, `{"jsonrpc":"2.0","id":5,"method":"tools/list"}`))
	victim := r.another(t)
	theirs := victim.begin(t)
	for range 2 {
		if _, body := victim.callEcho(t, theirs, `{"text":"x"}`); strings.Contains(body, "error") {
			t.Errorf("a good call: %s", body)
		}
		if _, body := victim.callEcho(t, theirs, `{"text":7}`); !strings.Contains(body, "-32602") {
			t.Errorf("a bad call: %s", body)
		}
		time.Sleep(1100 * time.Millisecond) // the server is asked again by then
	}
}

// TestListChangedOutlivesReload: a stream that was opened before a reload still tells that the tools changed.
func TestListChangedOutlivesReload(t *testing.T) {
	changed := make(chan struct{})
	var kind atomic.Value
	kind.Store("string")
	_, server := newScripted(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"tools/list": func(w http.ResponseWriter, _ *http.Request, c call) { answerJSON(w, c, oneTool(kind.Load().(string))) },
		"GET": func(w http.ResponseWriter, r *http.Request, _ call) {
			beginEvents(w)
			<-changed
			sendEvent(w, "e1", `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
			<-r.Context().Done()
		},
	})
	var config sallyport.Config
	r := newRig(t, server, func(c *sallyport.Config) { config = *c })
	session := r.begin(t)
	stream := r.open(t.Context(), t, message{verb: http.MethodGet, header: map[string]string{"Mcp-Session-Id": session}})
	if err := r.guard.Reload(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, body := r.callEcho(t, session, `{"text":"x"}`); strings.Contains(body, "error") {
		t.Fatal(body)
	}
	kind.Store("integer")
	time.Sleep(1100 * time.Millisecond) // no server is asked twice within a second
	close(changed)
	if _, err := bufio.NewReader(stream.Body).ReadString('}'); err != nil {
		t.Fatal(err)
	}
	if _, body := r.callEcho(t, session, `{"text":"x"}`); !strings.Contains(body, "-32602") {
		t.Errorf("the old definition still holds: %s", body)
	}
}

// TestOpenStreamsFollowThePolicy narrows a role while streams are open: what it may no longer see does not come any
// more, and a stream that it could no longer open ends.
func TestOpenStreamsFollowThePolicy(t *testing.T) {
	updates := make(chan string)
	_, server := newScripted(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"GET": func(w http.ResponseWriter, r *http.Request, _ call) {
			beginEvents(w)
			for {
				select {
				case uri := <-updates:
					sendEvent(w, "e", fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, uri))
				case <-r.Context().Done():
					return
				}
			}
		},
		"tools/call": func(_ http.ResponseWriter, r *http.Request, _ call) { <-r.Context().Done() },
	})
	var config sallyport.Config
	r := newRig(t, server, func(c *sallyport.Config) {
		c.Servers[0].Timeout = 5 * time.Second
		c.Roles[0].Permissions = append(c.Roles[0].Permissions, "plain:resources/*")
		config = *c
	})
	session := r.begin(t)
	stream := bufio.NewReader(r.open(t.Context(), t, message{verb: http.MethodGet, header: map[string]string{"Mcp-Session-Id": session}}).Body)
	updates <- "file:///first"
	if text, err := stream.ReadString('}'); err != nil || !strings.Contains(text, "first") {
		t.Fatal(text, err)
	}
	running := make(chan int, 1)
	go func() {
		status, _ := r.callEcho(t, session, `{}`)
		running <- status
	}()
	config.Roles = []policy.Role{{Name: "user", Permissions: []string{"plain:whoami"}}}
	time.Sleep(100 * time.Millisecond) // the call is with the server by then
	if err := r.guard.Reload(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	select {
	case status := <-running:
		if status != 401 && status != 403 {
			t.Errorf("the call that is no longer allowed ended with %d", status)
		}
	case <-time.After(2 * time.Second):
		t.Error("the call that is no longer allowed still runs")
	}
	updates <- "file:///second"
	config.Roles = []policy.Role{{Name: "user"}}
	if err := r.guard.Reload(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	rest, err := stream.ReadString(0)
	if err == nil || strings.Contains(rest, "second") {
		t.Errorf("after the reload the stream said %q, and ended with %v", rest, err)
	}
}

// TestHandlesBelongToTheirPrincipal: states and tasks, as sessions and cursors, are of use to nobody else.
func TestHandlesBelongToTheirPrincipal(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	_, server := newScripted(t, map[string]func(http.ResponseWriter, *http.Request, call){
		"tools/call": func(w http.ResponseWriter, _ *http.Request, c call) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, string(c.Params))
			answerJSON(w, c, `{"task":{"taskId":"up-task","status":"working"},"requestState":"up-state"}`)
		},
		"tasks/get": func(w http.ResponseWriter, _ *http.Request, c call) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, string(c.Params))
			answerJSON(w, c, `{"taskId":"up-task","status":"working"}`)
		},
	})
	r := newRig(t, server, func(c *sallyport.Config) {
		c.Roles[0].Permissions = append(c.Roles[0].Permissions, "plain:methods/tasks/*")
	})
	session := r.begin(t)
	_, body := r.callEcho(t, session, `{}`)
	if strings.Contains(body, "up-task") || strings.Contains(body, "up-state") {
		t.Fatalf("in clear: %s", body)
	}
	member := func(name string) string {
		_, after, _ := strings.Cut(body, `"`+name+`":"`)
		value, _, _ := strings.Cut(after, `"`)
		return value
	}
	get := func(r *rig, session, task string) string {
		_, body, _ := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":5,"method":"tasks/get","params":{"taskId":"`+task+`"}}`))
		return body
	}
	again := func(r *rig, session, state string) string {
		_, body, _ := r.send(t, legacy(session, `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"echo","arguments":{},"requestState":"`+state+`"}}`))
		return body
	}
	other := r.another(t)
	theirs := other.begin(t)
	for name, answer := range map[string]string{
		"another's task": get(other, theirs, member("taskId")), "a task in clear": get(r, session, "up-task"), "a state as a task": get(r, session, member("requestState")),
		"another's state": again(other, theirs, member("requestState")), "a state in clear": again(r, session, "up-state"),
	} {
		if !strings.Contains(answer, "-32602") {
			t.Errorf("%s: %s", name, answer)
		}
	}
	if answer := get(r, session, member("taskId")); strings.Contains(answer, "error") || strings.Contains(answer, "up-task") {
		t.Errorf("one's own task: %s", answer)
	}
	if answer := again(r, session, member("requestState")); strings.Contains(answer, "error") {
		t.Errorf("one's own state: %s", answer)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 3 || !strings.Contains(seen[1], `"up-task"`) || !strings.Contains(seen[2], `"up-state"`) {
		t.Errorf("the server saw %v", seen)
	}
}

// TestReloadIsWhole swaps two configurations under load. Each allows one tool, and its server is for that tool alone: a
// request that sees one's rules and the other's server is caught.
func TestReloadIsWhole(t *testing.T) {
	var wrong atomic.Int64
	only := func(tool string) map[string]func(http.ResponseWriter, *http.Request, call) {
		return map[string]func(http.ResponseWriter, *http.Request, call){
			"tools/call": func(w http.ResponseWriter, _ *http.Request, c call) {
				if !strings.Contains(string(c.Params), `"`+tool+`"`) {
					wrong.Add(1)
				}
				answerJSON(w, c, `{"content":[]}`)
			},
		}
	}
	_, a := newScripted(t, only("echo"))
	_, b := newScripted(t, only("whoami"))
	huge := sallyport.Limit{Capacity: 1e6, Refill: 1e6}
	var config sallyport.Config
	r := newRig(t, a, func(c *sallyport.Config) {
		c.Roles = []policy.Role{{Name: "user", Permissions: []string{"plain:say"}}}
		c.Limits = sallyport.Limits{Global: huge, Address: huge, Tool: huge, PrincipalTool: huge, Roles: map[string]sallyport.Limit{"user": huge}}
		c.Audit.Mode = "async"
		config = *c
	})
	one, two := config, config
	one.Servers = []sallyport.Server{{Name: "plain", Path: "/plain/mcp", URL: a.URL}}
	two.Servers = []sallyport.Server{{Name: "plain", Path: "/plain/mcp", URL: b.URL}}
	two.Roles = []policy.Role{{Name: "user", Permissions: []string{"plain:whoami"}}}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			tool := []string{"echo", "whoami"}[i%2]
			for ctx.Err() == nil {
				r.send(t, message{body: `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"` + tool + `","arguments":{}}}`})
			}
		})
	}
	for i := 0; ctx.Err() == nil; i++ {
		next := one
		if i%2 == 0 {
			next = two
		}
		if err := r.guard.Reload(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if _, err := r.guard.Operations().PutRole(t.Context(), admin.Local(0), policy.Role{Name: "extra", Permissions: []string{"plain:x"}}); err != nil {
			t.Fatal(err)
		}
	}
	group.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d calls were judged by one configuration and served by the other", n)
	}
	if _, err := r.guard.Operations().BuildReport(t.Context(), admin.Local(0), admin.Range{Range: "1h"}); err != nil {
		t.Error(err)
	}
}
