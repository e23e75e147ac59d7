package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/server"
)

// gate is a program that runs in this test.
type gate struct {
	server.Running
	path   string // its configuration
	log    *logged
	reload chan struct{}
	stop   context.CancelFunc
	ended  chan error
}

// logged is a process log that tests wait on.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
	grew chan struct{} // gets a value after a write when nobody has taken the last one
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.grew <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until the log has the words n times.
func (l *logged) await(t *testing.T, words string, n int) {
	t.Helper()
	late := time.After(20 * time.Second)
	for strings.Count(l.String(), words) < n {
		select {
		case <-l.grew:
		case <-late:
			t.Fatalf("the log never said %q %d times:\n%s", words, n, l)
		}
	}
}

// start runs a configuration on free ports and stops it at the end of the test.
func start(t *testing.T, dir, yaml string) *gate {
	t.Helper()
	g := &gate{path: filepath.Join(dir, "sallyport.yaml"), log: &logged{grew: make(chan struct{}, 1)}, reload: make(chan struct{}), ended: make(chan error, 1)}
	g.write(t, yaml)
	ready := make(chan server.Running, 1)
	ctx, cancel := context.WithCancel(t.Context())
	g.stop = cancel
	go func() {
		g.ended <- server.Run(ctx, server.Options{
			Path: g.path, Reload: g.reload, Log: slog.New(slog.NewTextHandler(g.log, nil)),
			Ready: func(_ context.Context, r server.Running) error { ready <- r; return nil },
		})
	}()
	select {
	case g.Running = <-ready:
	case err := <-g.ended:
		t.Fatalf("did not start: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-g.ended; err != nil {
			t.Errorf("stopped with %v", err)
		}
		g.ended <- nil // for a test that has waited itself
	})
	return g
}

// write replaces the configuration at once, as an editor does.
func (g *gate) write(t *testing.T, yaml string) {
	t.Helper()
	text := "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\ndata_dir: data\n" + yaml
	if strings.Contains(yaml, "listen:") {
		text = yaml
	}
	if err := os.WriteFile(g.path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(g.path+".new", g.path); err != nil {
		t.Fatal(err)
	}
}

func (g *gate) key(t *testing.T, role string) string {
	t.Helper()
	key, err := g.Operations.CreateKey(t.Context(), admin.Local(os.Getuid()), admin.KeySpec{Name: role, Roles: []string{role}})
	if err != nil {
		t.Fatal(err)
	}
	return key.Text
}

// upstream is a stateless MCP server with one tool, which waits for hold to be closed when it is not nil.
func upstream(t *testing.T, hold <-chan struct{}) string {
	s := mcp.NewServer(&mcp.Implementation{Name: "up", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "greet", Description: "greets"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		if hold != nil {
			<-hold
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "hello"}}}, nil, nil
	})
	h := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true}))
	t.Cleanup(h.Close)
	return h.URL
}

// call calls the tool in the modern era and returns the status and the body.
func call(client *http.Client, endpoint, key string) (int, string, error) {
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
	request, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + key, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "greet",
	} {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

func get(t *testing.T, url, host, origin string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	if origin != "" {
		request.Header.Set("Origin", origin)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestRun(t *testing.T) {
	g := start(t, t.TempDir(), fmt.Sprintf("servers: [{name: up, url: %q}]", upstream(t, nil)))
	status, text, err := call(http.DefaultClient, g.URL+"/up/mcp", g.key(t, "admin"))
	if err != nil || status != http.StatusOK || !strings.Contains(text, "hello") {
		t.Errorf("call: %d %s, %v", status, text, err)
	}
	for _, c := range []struct {
		path, host, origin string
		status             int
		words              string
	}{
		{"/healthz", "", "", 200, "ok"},
		{"/readyz", "", "", 200, "ready"},
		{"/metrics", "", "", 200, `sallyport_events_total{kind="call_allowed",outcome="allowed",server="up"} 1`},
		{"/metrics", "localhost", "", 200, "sallyport_audit_lost_total 0"},
		{"/metrics", "evil.example", "", 403, "only from this machine"},
		{"/metrics", "", "https://evil.example", 403, "only from this machine"},
		{"/up/mcp", "", "", 404, ""},
	} {
		status, text := get(t, "http://"+g.Admin+c.path, c.host, c.origin)
		if status != c.status || !strings.Contains(text, c.words) {
			t.Errorf("%s with host %q and origin %q: %d %.300s", c.path, c.host, c.origin, status, text)
		}
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} { // not on the listener that others reach
		if status, _ := get(t, g.URL+path, "", ""); status == http.StatusOK {
			t.Errorf("%s is on the MCP listener", path)
		}
	}
}

func TestStopLeavesNothingRunning(t *testing.T) {
	dir := t.TempDir()
	g := start(t, dir, "")
	g.stop()
	if err := <-g.ended; err != nil {
		t.Fatal(err)
	}
	g.ended <- nil
	if _, err := net.DialTimeout("tcp", strings.TrimPrefix(g.URL, "http://"), time.Second); err == nil {
		t.Error("it still listens")
	}
	if _, err := admin.Dial(t.Context(), filepath.Join(dir, "data")); !errors.Is(err, admin.ErrNoGateway) {
		t.Errorf("the socket still answers: %v", err)
	}
	lock, err := server.Acquire(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatalf("the data directory is still locked: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

// TestStopFinishesCalls asks the program to stop while a call runs: the caller gets its answer.
func TestStopFinishesCalls(t *testing.T) {
	hold := make(chan struct{})
	g := start(t, t.TempDir(), fmt.Sprintf("servers: [{name: up, url: %q}]", upstream(t, hold)))
	key := g.key(t, "admin")
	answered := make(chan string, 1)
	go func() {
		status, text, err := call(&http.Client{}, g.URL+"/up/mcp", key)
		answered <- fmt.Sprint(status, text, err)
	}()
	awaitMetric(t, g, `kind="call_allowed"`)
	g.stop()
	g.log.await(t, "stopping", 1)
	close(hold)
	if got := <-answered; !strings.HasPrefix(got, "200") || !strings.Contains(got, "hello") {
		t.Errorf("the call in flight ended with %s", got)
	}
}

// awaitMetric waits until the metrics have the words.
func awaitMetric(t *testing.T, g *gate, words string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		if _, text := get(t, "http://"+g.Admin+"/metrics", "", ""); strings.Contains(text, words) {
			return
		}
		select {
		case <-late:
			t.Fatalf("no metric %s", words)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestReadyFailureStops(t *testing.T) {
	dir := t.TempDir()
	f, err := server.Checked(server.File{Listen: "127.0.0.1:0", Admin: server.AdminSection{Listen: "off"}, DataDir: filepath.Join(dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	want := errors.New("no")
	err = server.Run(t.Context(), server.Options{File: f, Log: slog.New(slog.DiscardHandler), Ready: func(context.Context, server.Running) error { return want }})
	if !errors.Is(err, want) {
		t.Errorf("ended with %v", err)
	}
}
