package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/upstreamtest"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// children is a stdio upstream with what its children wrote to stderr.
type children struct {
	upstream.Upstream
	t *testing.T

	mu  sync.Mutex
	log strings.Builder
}

func (c *children) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(p)
}

func (c *children) logged() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

// until waits for a line of the log, which another process causes.
func (c *children) until(pattern string) []string {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	for range 1000 {
		if m := re.FindStringSubmatch(c.logged()); m != nil {
			return m
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.t.Fatalf("%s is not in the log:\n%s", pattern, c.logged())
	return nil
}

func run(t *testing.T, mode string, config upstream.StdioConfig) *children {
	t.Helper()
	c := &children{t: t}
	config.Logger = slog.New(slog.NewTextHandler(c, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.Upstream = startable(t, mode, config)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

func person(name string) *policy.Principal { return &policy.Principal{Issuer: "key", Subject: name} }

// begin opens a legacy session.
func (c *children) begin(p *policy.Principal) (string, error) {
	resp, err := c.RoundTrip(context.Background(), legacy("", p, &wire.Message{
		Kind: wire.Request, ID: jsontext.Value(`"i"`), Method: "initialize",
		Params: jsontext.Value(`{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}`),
	}))
	if err != nil {
		return "", err
	}
	return resp.Session, nil
}

func (c *children) mustBegin(p *policy.Principal) string {
	c.t.Helper()
	id, err := c.begin(p)
	if err != nil || len(id) != 43 {
		c.t.Fatalf("session %q, %v", id, err)
	}
	return id
}

func legacy(session string, p *policy.Principal, m *wire.Message) *upstream.Request {
	return &upstream.Request{Verb: http.MethodPost, Era: wire.Legacy, Session: session, Principal: p, Message: m}
}

func tool(name, arguments string) *wire.Message {
	return &wire.Message{
		Kind: wire.Request, ID: jsontext.Value(`"c"`), Method: "tools/call",
		Target: policy.Named{Kind: policy.Tool, Name: name}, Params: jsontext.Value(fmt.Sprintf(`{"name":%q,"arguments":%s}`, name, arguments)),
	}
}

// call calls a tool in a session and returns the body of the answer.
func (c *children) call(session string, p *policy.Principal, name, arguments string) (string, error) {
	resp, err := c.RoundTrip(context.Background(), legacy(session, p, tool(name, arguments)))
	if err != nil {
		return "", err
	}
	return lastMessage(c.t, resp), nil
}

func TestNewStdioRefuses(t *testing.T) {
	for _, c := range []upstream.StdioConfig{
		{},
		{Command: []string{""}},
		{Command: []string{"x"}, Env: map[string]string{"A=B": "c"}},
		{Command: []string{"x"}, Env: map[string]string{"A": "c\x00"}},
	} {
		if _, err := upstream.NewStdio(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

func TestNoSuchProgram(t *testing.T) {
	u, err := upstream.NewStdio(upstream.StdioConfig{Command: []string{"/nonexistent/server"}})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close(context.Background())
	if _, err := u.Probe(context.Background()); !errors.Is(err, upstream.ErrUnavailable) || !strings.Contains(err.Error(), "/nonexistent/server") {
		t.Errorf("got %v, want ErrUnavailable that names the program", err)
	}
	if _, err := u.RoundTrip(context.Background(), echoCall()); !errors.Is(err, upstream.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

// TestConfiguredCommand: the sandbox's arguments come first, and the directory is the configured one.
func TestConfiguredCommand(t *testing.T) {
	c := run(t, "tell", upstream.StdioConfig{Dir: os.TempDir(), Exec: []string{os.Args[0], "sandbox", "--"}})
	c.mustBegin(person("a"))
	c.until(`args .*sandbox.*--`)
	c.until(`dir ` + regexp.QuoteMeta(os.TempDir()))
}

// TestOnItsWire: ids and progress tokens are ours, one message is one line, and what is not for the child stays here.
func TestOnItsWire(t *testing.T) {
	c := run(t, "seen", upstream.StdioConfig{})
	p := person("a")
	id := c.mustBegin(p)
	m := parsed(t, "{\"jsonrpc\":\"2.0\",\"id\":\"c\",\"method\":\"tools/call\",\"params\":{\"_meta\":{\"progressToken\":\"mine\"},\r\n\"name\":\"x\"}}")
	ctx, leave := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := c.RoundTrip(ctx, legacy(id, p, m))
		done <- err
	}()
	c.until(`read .*\\"progressToken\\":2.*\\"name\\":\\"x\\"`)
	for _, m := range []*wire.Message{
		parsed(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"other"}}`),
		parsed(t, `{"jsonrpc":"2.0","id":"never asked","result":{}}`),
		parsed(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}`),
	} {
		if resp, err := c.RoundTrip(context.Background(), legacy(id, p, m)); err != nil || resp.Status != http.StatusAccepted {
			t.Fatalf("%+v, %v, want 202", resp, err)
		}
	}
	c.until(`cancelled.*\\"requestId\\":2`)
	leave()
	<-done
	for _, never := range []string{"mine", "other", "never asked"} {
		if strings.Contains(c.logged(), never) {
			t.Errorf("the child was told %q:\n%s", never, c.logged())
		}
	}
}

func TestSessionsBelongToPrincipals(t *testing.T) {
	c := run(t, "legacy", upstream.StdioConfig{})
	id := c.mustBegin(person("a"))
	if _, err := c.call(id, person("b"), "echo", `{}`); !errors.Is(err, upstream.ErrSessionGone) {
		t.Errorf("another's session: %v, want ErrSessionGone", err)
	}
	if _, err := c.call("", person("a"), "echo", `{}`); !errors.Is(err, upstream.ErrNoSession) {
		t.Errorf("no session: %v, want ErrNoSession", err)
	}
	if got, err := c.call(id, person("a"), "echo", `{}`); err != nil {
		t.Errorf("one's own: %s, %v", got, err)
	}
}

// TestHostileLines: noise, inventions and an endless line.
func TestHostileLines(t *testing.T) {
	c := run(t, "legacy", upstream.StdioConfig{})
	p := person("a")
	id := c.mustBegin(p)
	for _, name := range []string{"noise", "invent"} {
		if got, err := c.call(id, p, name, `{}`); err != nil || !strings.Contains(got, `"id":"c"`) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := c.call(id, p, "later", `{}`); err != nil {
		t.Fatal(err)
	}
	resp, err := c.RoundTrip(context.Background(), &upstream.Request{Verb: http.MethodGet, Era: wire.Legacy, Session: id, Principal: p})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := resp.Stream.Next(); err != nil || !strings.Contains(string(e.Data), "logged") {
		t.Errorf("on the session's stream: %s, %v, want nothing of what was invented", e.Data, err)
	}
	_ = resp.Stream.Close()
	if _, err := c.call(id, p, "overlong", `{}`); !errors.Is(err, upstream.ErrTooLarge) {
		t.Errorf("overlong: %v, want ErrTooLarge", err)
	}
	if _, err := c.call(id, p, "echo", `{}`); !errors.Is(err, upstream.ErrSessionGone) {
		t.Errorf("afterwards: %v, want ErrSessionGone", err)
	}
}

func TestProbeOfChildren(t *testing.T) {
	for _, row := range []struct {
		mode, legacy string
		modern       bool
		tools        int
	}{
		{"legacy", "2025-11-25", false, 2},
		{"modern", "", true, 2},
		{"sdk", "2025-11-25", true, 2},
	} {
		c := run(t, row.mode, upstream.StdioConfig{})
		f, err := c.Probe(context.Background())
		if err != nil || f.Legacy != row.legacy || f.Modern != row.modern || len(f.Tools) != row.tools {
			t.Errorf("%s: %+v, %v", row.mode, f, err)
		}
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if n := strings.Count(c.logged(), "child ended"); n != 2 {
			t.Errorf("%s: %d children ended, want 2", row.mode, n)
		}
	}
	c := run(t, "neither", upstream.StdioConfig{})
	if _, err := c.Probe(context.Background()); !errors.Is(err, upstream.ErrProtocol) || !strings.Contains(err.Error(), "no such method") {
		t.Errorf("neither: %v, want ErrProtocol with what it said", err)
	}
}

// TestReplacedStream: the newest reader gets what waits; the one before ends in order.
func TestReplacedStream(t *testing.T) {
	c := run(t, "legacy", upstream.StdioConfig{})
	p := person("a")
	id := c.mustBegin(p)
	listen := func() upstream.Stream {
		resp, err := c.RoundTrip(context.Background(), &upstream.Request{Verb: http.MethodGet, Era: wire.Legacy, Session: id, Principal: p})
		if err != nil {
			t.Fatal(err)
		}
		return resp.Stream
	}
	first := listen()
	second := listen()
	if _, err := first.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("the first: %v, want io.EOF", err)
	}
	_ = first.Close()
	if _, err := c.call(id, p, "later", `{}`); err != nil {
		t.Fatal(err)
	}
	if e, err := second.Next(); err != nil || !strings.Contains(string(e.Data), "logged") {
		t.Errorf("the second: %s, %v", e.Data, err)
	}
	_ = second.Close()
	if _, err := second.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after Close: %v", err)
	}
}

// TestModernAsksNothing: a child of the modern era that sends a request is refused, and its call goes on.
func TestModernAsksNothing(t *testing.T) {
	c := run(t, "modern", upstream.StdioConfig{})
	resp, err := c.RoundTrip(context.Background(), modernCall("ask", `{}`))
	if err != nil || resp.Stream != nil {
		t.Fatalf("%+v, %v, want a plain answer", resp, err)
	}
	if strings.Contains(string(resp.Body), "from-server") {
		t.Errorf("the request came through: %s", resp.Body)
	}
}

// TestDeafChild: callers are not held longer than they were promised.
func TestDeafChild(t *testing.T) {
	c := run(t, "deaf", upstream.StdioConfig{StartTimeout: upstreamtest.Timeout})
	big := `{"s":"` + strings.Repeat("x", 200<<10) + `"}` // more than a pipe holds
	start := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := c.RoundTrip(context.Background(), modernCall("echo", big)); !errors.Is(err, upstream.ErrTimeout) {
				t.Errorf("got %v, want ErrTimeout", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 4*upstreamtest.Timeout {
		t.Errorf("it took %v", took)
	}
}
