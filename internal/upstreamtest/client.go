package upstreamtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// client is the gateway's part in a conversation with an upstream.
type client struct {
	t         *testing.T
	u         upstream.Upstream
	era       wire.Era
	principal *policy.Principal
	session   string
}

// initialize opens a legacy session.
func (c *client) initialize() {
	c.t.Helper()
	resp, err := c.send(context.Background(), `0`, "initialize",
		`{"protocolVersion":"2025-11-25","capabilities":{"sampling":{}},"clientInfo":{"name":"test","version":"1"}}`)
	if err != nil {
		c.t.Fatalf("initialize: %v", err)
	}
	if resp.Session == "" {
		c.t.Fatal("initialize minted no session")
	}
	c.events(resp)
	c.session = resp.Session
	m := &wire.Message{Kind: wire.Notification, Method: "notifications/initialized"}
	if resp, err := c.u.RoundTrip(context.Background(), c.request(http.MethodPost, m)); err != nil || resp.Body != nil {
		c.t.Fatalf("notifications/initialized: %+v, %v", resp, err)
	}
}

func (c *client) request(verb string, m *wire.Message) *upstream.Request {
	r := &upstream.Request{Verb: verb, Era: c.era, Message: m, Session: c.session, Principal: c.principal}
	if c.era == wire.Modern {
		r.Version = "2026-07-28"
	} else if c.session != "" {
		r.Version = "2025-11-25"
	}
	return r
}

// send sends a request and returns the answer as it comes.
func (c *client) send(ctx context.Context, id, method, params string) (*upstream.Response, error) {
	if c.era == wire.Modern {
		params = modernise(params)
	}
	m, err := wire.ParseClient(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, method, params), wire.Limits{})
	if err != nil {
		return nil, fmt.Errorf("the test's own message: %w", err)
	}
	return c.u.RoundTrip(ctx, c.request(http.MethodPost, m))
}

// modernise adds the _meta members that every request of the modern era has.
func modernise(params string) string {
	const meta = `"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}`
	if before, after, found := strings.Cut(params, `"_meta":{`); found {
		return before + `"_meta":{` + meta + "," + after
	}
	return `{"_meta":{` + meta + `},` + strings.TrimPrefix(params, "{")
}

// try calls a tool and returns the answer to the call, whole.
func (c *client) try(ctx context.Context, id, tool, arguments string) (string, error) {
	resp, err := c.send(ctx, id, "tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, arguments))
	if err != nil {
		return "", err
	}
	if resp.Stream == nil {
		return string(resp.Body), nil
	}
	defer resp.Stream.Close()
	for {
		e, err := resp.Stream.Next()
		if err != nil {
			return "", err
		}
		if strings.Contains(string(e.Data), `"result"`) || strings.Contains(string(e.Data), `"error"`) {
			last := string(e.Data)
			_, err = resp.Stream.Next()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return last, err
		}
	}
}

func (c *client) call(id, tool, arguments string) string {
	c.t.Helper()
	got, err := c.try(context.Background(), id, tool, arguments)
	if err != nil {
		c.t.Fatalf("calling %s: %v", tool, err)
	}
	return got
}

// events collects an answer of either form.
func (c *client) events(resp *upstream.Response) []string {
	c.t.Helper()
	if resp.Stream == nil {
		return []string{string(resp.Body)}
	}
	defer resp.Stream.Close()
	var all []string
	for {
		e, err := resp.Stream.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			c.t.Fatalf("after %d events: %v", len(all), err)
		}
		all = append(all, string(e.Data))
	}
}

// until repeats look until its answer contains want. What it waits for happens in another process.
func (c *client) until(want string, look func() string) {
	c.t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		got := look()
		if strings.Contains(got, want) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("still %s, want %s", got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
