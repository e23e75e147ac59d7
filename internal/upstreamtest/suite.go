package upstreamtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/goleak"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// What the upstreams under test must be configured with.
const (
	Timeout     = 800 * time.Millisecond
	MaxResponse = 256 << 10 // bytes
)

// Run plays the suite. open returns a fresh upstream, configured with Timeout and MaxResponse, before a Fake of both
// eras; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) upstream.Upstream) {
	for _, era := range []wire.Era{wire.Legacy, wire.Modern} {
		for _, row := range rows {
			if row.only != 0 && row.only != era {
				continue
			}
			t.Run(fmt.Sprintf("era%d/%s", era, row.name), func(t *testing.T) {
				running := goleak.IgnoreCurrent()
				u := open(t)
				c := &client{t: t, u: u, era: era, principal: &policy.Principal{Issuer: "key", Subject: "s"}}
				if era == wire.Legacy {
					c.initialize()
				}
				row.run(t, c)
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				if err := u.Close(ctx); err != nil {
					t.Errorf("Close: %v", err)
				}
				goleak.VerifyNone(t, running, goleak.IgnoreAnyFunction("net/http/httptest.(*Server).goServe.func1"),
					goleak.IgnoreAnyFunction("net/http.(*conn).serve"))
			})
		}
	}
	t.Run("probe", func(t *testing.T) { probes(t, open(t)) })
}

var rows = []struct {
	name string
	only wire.Era
	run  func(*testing.T, *client)
}{
	{"echo", 0, echoes},
	{"tool error", 0, toolError},
	{"64 KiB both ways", 0, large},
	{"ids byte-exact", 0, ids},
	{"64 at once", 0, concurrent},
	{"messages before the result", 0, notified},
	{"request of the server", wire.Legacy, asked},
	{"stream of the session", wire.Legacy, sessionStream},
	{"subscriptions", wire.Modern, subscriptions},
	{"cancelled", wire.Modern, cancelReaches},
	{"abandoned", wire.Legacy, cancelDoesNotReach},
	{"left in mid-answer", 0, leftInMidAnswer},
	{"hang", 0, hangs},
	{"too large", 0, tooLarge},
	{"session end", wire.Legacy, sessionEnd},
	{"end of a principal", wire.Legacy, principalEnd},
	{"closed", 0, closed},
}

func echoes(t *testing.T, c *client) {
	got := c.call(`7`, "echo", `{"a":9007199254740993,"b":1.5,"c":"\u00e9"}`)
	if want := `"echo":{"a":9007199254740993,"b":1.5,"c":"\u00e9"}`; !strings.Contains(got, want) {
		t.Errorf("got %s, want it to contain %s", got, want)
	}
	if got := c.call(`8`, "no such", `{}`); !strings.Contains(got, "-32602") {
		t.Errorf("an error of the server did not come through: %s", got)
	}
}

func toolError(t *testing.T, c *client) {
	if got := c.call(`1`, "fail", `{}`); !strings.Contains(got, `"isError":true`) {
		t.Errorf("got %s", got)
	}
}

func large(t *testing.T, c *client) {
	big := strings.Repeat("0123456789abcdef", 4<<10)
	for i := range 8 {
		got := c.call(fmt.Sprint(i), "echo", `{"s":"`+big+`"}`)
		if !strings.Contains(got, big) {
			t.Fatalf("call %d lost its 64 KiB: %d bytes came back", i, len(got))
		}
	}
}

func ids(t *testing.T, c *client) {
	for _, id := range []string{`9007199254740993`, `1.5`, `-0`, `1e3`, `"x"`, `""`, `"\u00e9\ud83d\ude00"`, `"日本"`, `"a\"b"`} {
		got := c.call(id, "echo", `{}`)
		if want := `"id":` + id; !strings.Contains(got, want+",") && !strings.HasSuffix(got, want+"}") {
			t.Errorf("id %s came back otherwise: %s", id, got)
		}
	}
}

func concurrent(t *testing.T, c *client) {
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			got, err := c.try(context.Background(), fmt.Sprint(i%8), "echo", fmt.Sprintf(`{"n":"<%d>"}`, i))
			if err != nil || !strings.Contains(got, fmt.Sprintf(`\u003c%d\u003e`, i)) && !strings.Contains(got, fmt.Sprintf("<%d>", i)) {
				t.Errorf("call %d: %s, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func notified(t *testing.T, c *client) {
	resp, err := c.send(context.Background(), `"n"`, "tools/call", `{"name":"notify","arguments":{},"_meta":{"progressToken":"tok/1"}}`)
	if err != nil {
		t.Fatal(err)
	}
	got := c.events(resp)
	if len(got) != 3 || !strings.Contains(got[0], `"progressToken":"tok/1"`) ||
		!strings.Contains(got[1], "logged") || !strings.Contains(got[2], `"id":"n"`) {
		t.Errorf("got %q, want progress, log message, result", got)
	}
}

// asked: a request of the server travels with the call, and the client's answer finds its way back.
func asked(t *testing.T, c *client) {
	resp, err := c.send(context.Background(), `1`, "tools/call", `{"name":"ask","arguments":{}}`)
	if err != nil || resp.Stream == nil {
		t.Fatalf("got %+v, %v, want a stream", resp, err)
	}
	defer resp.Stream.Close()
	e, err := resp.Stream.Next()
	if err != nil || !strings.Contains(string(e.Data), `"id":"from-server"`) {
		t.Fatalf("got %s, %v, want the server's request with its own id", e.Data, err)
	}
	reply := &wire.Message{Kind: wire.Result, ID: jsontext.Value(`"from-server"`), Result: jsontext.Value(`{"said":"yes"}`)}
	if _, err := c.u.RoundTrip(context.Background(), c.request(http.MethodPost, reply)); err != nil {
		t.Fatal(err)
	}
	if e, err = resp.Stream.Next(); err != nil || !strings.Contains(string(e.Data), `said`) {
		t.Fatalf("got %s, %v, want the answer", e.Data, err)
	}
	if _, err = resp.Stream.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the answer: %v, want io.EOF", err)
	}
}

func sessionStream(t *testing.T, c *client) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	resp, err := c.u.RoundTrip(ctx, c.request(http.MethodGet, nil))
	if err != nil || resp.Stream == nil {
		t.Fatalf("GET: %+v, %v, want a stream", resp, err)
	}
	defer resp.Stream.Close()
	c.call(`1`, "later", `{}`)
	e, err := resp.Stream.Next()
	if err != nil || !strings.Contains(string(e.Data), "logged") {
		t.Fatalf("got %s, %v, want the log message", e.Data, err)
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := resp.Stream.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after the reader left: %v, want an error", err)
	}
}

// subscriptions: each gets its own messages under its own id, a call beside them gets none, and silence is in order.
func subscriptions(t *testing.T, c *client) {
	var streams []upstream.Stream
	for _, id := range []string{`"sub"`, `9007199254740993`} {
		resp, err := c.send(context.Background(), id, "subscriptions/listen", `{"notifications":{"toolsListChanged":true}}`)
		if err != nil || resp.Stream == nil {
			t.Fatalf("got %+v, %v, want a stream", resp, err)
		}
		defer resp.Stream.Close()
		streams = append(streams, resp.Stream)
		for range 2 {
			e, err := resp.Stream.Next()
			if want := `"io.modelcontextprotocol/subscriptionId":` + id + `}`; err != nil || !strings.Contains(string(e.Data), want) {
				t.Errorf("got %s, %v, want it to name %s", e.Data, err, id)
			}
		}
	}
	resp, err := c.send(context.Background(), `1`, "tools/call", `{"name":"notify","arguments":{}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.events(resp); len(got) != 2 || !strings.Contains(got[0], "logged") {
		t.Errorf("beside subscriptions a call got %q, want its log message and its result", got)
	}
	silent := make(chan error, 1)
	go func() {
		_, err := streams[0].Next()
		silent <- err
	}()
	select {
	case err := <-silent:
		t.Errorf("a silent subscription ended: %v", err)
	case <-time.After(Timeout * 3 / 2):
	}
	_ = streams[0].Close()
	if err := <-silent; err == nil {
		t.Error("a closed subscription gave a message")
	}
}

// leave starts a call of hang, waits until the server works on it, and leaves.
func leave(t *testing.T, c *client) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := c.try(ctx, `"left"`, "hang", `{}`)
		done <- err
	}()
	c.until("of 1", func() string { return c.call(`1`, "cancelled", `{}`) })
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("an abandoned call was answered")
		}
	case <-time.After(Timeout / 2):
		t.Error("the caller could not leave")
	}
}

func cancelReaches(t *testing.T, c *client) {
	leave(t, c)
	c.until("1 of 1", func() string { return c.call(`2`, "cancelled", `{}`) })
}

func cancelDoesNotReach(t *testing.T, c *client) {
	leave(t, c)
	for range 5 {
		time.Sleep(Timeout / 20) // must not happen: there is nothing to wait for
		if got := c.call(`2`, "cancelled", `{}`); !strings.Contains(got, "0 of 1") {
			t.Fatalf("the caller's leaving reached the server: %s", got)
		}
	}
}

// leftInMidAnswer: closing a stream cancels the call in the modern era and does not in the legacy era.
func leftInMidAnswer(t *testing.T, c *client) {
	resp, err := c.send(context.Background(), `"left"`, "tools/call", `{"name":"log and hang","arguments":{}}`)
	if err != nil || resp.Stream == nil {
		t.Fatalf("got %+v, %v, want a stream", resp, err)
	}
	if _, err := resp.Stream.Next(); err != nil {
		t.Fatal(err)
	}
	_ = resp.Stream.Close()
	if _, err := resp.Stream.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after Close: %v, want an error", err)
	}
	if c.era == wire.Modern {
		c.until("1 of 1", func() string { return c.call(`2`, "cancelled", `{}`) })
		return
	}
	time.Sleep(Timeout / 8) // must not happen: there is nothing to wait for
	if got := c.call(`2`, "cancelled", `{}`); !strings.Contains(got, "0 of 1") {
		t.Errorf("closing the stream reached the server: %s", got)
	}
}

func hangs(t *testing.T, c *client) {
	c.call(`0`, "echo", `{}`) // a child that has just been started is given longer
	start := time.Now()
	_, err := c.try(context.Background(), `1`, "hang", `{}`)
	if took := time.Since(start); !errors.Is(err, upstream.ErrTimeout) || took < Timeout/2 || took > 3*Timeout {
		t.Errorf("got %v after %v, want ErrTimeout after %v", err, took, Timeout)
	}
	c.call(`2`, "echo", `{}`) // and nobody else is hurt
}

func tooLarge(t *testing.T, c *client) {
	_, err := c.try(context.Background(), `1`, "big", fmt.Sprintf(`{"size":%d}`, 2*MaxResponse))
	if !errors.Is(err, upstream.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func sessionEnd(t *testing.T, c *client) {
	if _, err := c.u.RoundTrip(context.Background(), c.request(http.MethodDelete, nil)); err != nil {
		t.Fatalf("DELETE: %v", err)
	}
	if _, err := c.try(context.Background(), `1`, "echo", `{}`); !errors.Is(err, upstream.ErrSessionGone) {
		t.Errorf("POST after the end: %v, want ErrSessionGone", err)
	}
	if _, err := c.u.RoundTrip(context.Background(), c.request(http.MethodGet, nil)); !errors.Is(err, upstream.ErrSessionGone) {
		t.Errorf("GET after the end: %v, want ErrSessionGone", err)
	}
}

// principalEnd: a stream ends with its principal's access, another's goes on.
func principalEnd(t *testing.T, c *client) {
	other := &client{t: t, u: c.u, era: c.era, principal: &policy.Principal{Issuer: "key", Subject: "other"}}
	other.initialize()
	resp, err := c.u.RoundTrip(context.Background(), c.request(http.MethodGet, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Stream.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := resp.Stream.Next()
		ended <- err
	}()
	c.u.End(func(p *policy.Principal) bool { return p.Subject == "s" })
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the stream gave an event")
		}
	case <-time.After(time.Second):
		t.Error("the stream outlived its principal by a second")
	}
	other.call(`1`, "echo", `{}`)
}

func closed(t *testing.T, c *client) {
	go func() { _, _ = c.try(context.Background(), `1`, "hang", `{}`) }()
	c.until("of 1", func() string { return c.call(`2`, "cancelled", `{}`) })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.u.Close(ctx); err != nil {
		t.Errorf("Close with a call under way: %v", err)
	}
	if _, err := c.try(context.Background(), `1`, "echo", `{}`); err == nil {
		t.Error("a closed upstream answered")
	}
}

func probes(t *testing.T, u upstream.Upstream) {
	f, err := u.Probe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !f.Modern || f.Legacy != "2025-11-25" || f.Name != "fake" || !f.HasTools || len(f.Tools) != 2 {
		t.Errorf("got %+v, want both eras and two tools from two pages", f)
	}
	var tool struct{ Name string }
	if err := json.Unmarshal(f.Tools[1], &tool); err != nil || tool.Name != "fail" {
		t.Errorf("second tool %s, %v", f.Tools[1], err)
	}
	if err := u.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
