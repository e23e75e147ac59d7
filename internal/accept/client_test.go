//go:build unix

package accept_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// era is one of the two families of the protocol.
type era string

const (
	legacy era = "legacy" // up to 2025-11-25: initialize, sessions
	modern era = "modern" // 2026-07-28: no sessions
)

// revision is the protocol revision the client speaks in the era, and the name of the conformance requirements.
func (e era) revision() string {
	if e == modern {
		return "2026-07-28"
	}
	return "2025-11-25"
}

// client is the smallest MCP client there can be, so that nothing but the gateway decides what a test sees: it never
// retries, and shows status, headers and bytes as they came. One goroutine uses it at a time.
type client struct {
	url     string
	key     string // sent as a bearer token; empty: no Authorization header
	era     era
	header  http.Header // sent with every request, over what the client sets itself
	http    *http.Client
	session string
	lastID  int
}

// reply is what came back for one request.
type reply struct {
	Status int
	Header http.Header
	Body   []byte // all of it, as it came
	// Of the message that answers the request; all empty when there is none.
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
}

func newClient(url, key string, e era) *client {
	return &client{url: url, key: key, era: e, header: http.Header{}, http: &http.Client{Transport: &http.Transport{}}}
}

// connect opens the session in the legacy era; in the modern era there is nothing to open.
func (c *client) connect(ctx context.Context) (*reply, error) {
	if c.era == modern {
		return c.do(ctx, "server/discover", nil)
	}
	r, err := c.do(ctx, "initialize", map[string]any{
		"protocolVersion": c.era.revision(),
		"capabilities":    map[string]any{},
		"clientInfo":      map[string]any{"name": "acceptance", "version": "1"},
	})
	if err != nil || r.Status != http.StatusOK {
		return r, err
	}
	c.session = r.Header.Get("Mcp-Session-Id")
	if _, err := c.post(ctx, nil, map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"}); err != nil {
		return nil, err
	}
	return r, nil
}

// mustConnect is connect for tests that are about what comes after it.
func (c *client) mustConnect(t *testing.T) *client {
	t.Helper()
	t.Cleanup(c.http.CloseIdleConnections)
	if r, err := c.connect(t.Context()); err != nil || r.Status != http.StatusOK {
		t.Fatalf("connecting to %s: %v, %s", c.url, err, r)
	}
	return c
}

// call calls a tool.
func (c *client) call(ctx context.Context, tool string, args map[string]any) (*reply, error) {
	if args == nil {
		args = map[string]any{}
	}
	return c.do(ctx, "tools/call", map[string]any{"name": tool, "arguments": args})
}

// do sends a request with the next id and waits for its answer.
func (c *client) do(ctx context.Context, method string, params map[string]any) (*reply, error) {
	c.lastID++
	all := maps.Clone(params)
	if all == nil {
		all = map[string]any{}
	}
	header := http.Header{}
	if c.era == modern {
		all["_meta"] = map[string]any{
			"io.modelcontextprotocol/protocolVersion":    c.era.revision(),
			"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "acceptance", "version": "1"},
			"io.modelcontextprotocol/clientCapabilities": map[string]any{},
		}
		header.Set("Mcp-Method", method)
		for _, member := range []string{"name", "uri"} {
			if name, ok := params[member].(string); ok {
				header.Set("Mcp-Name", name)
			}
		}
	}
	return c.post(ctx, header, map[string]any{"jsonrpc": "2.0", "id": c.lastID, "method": method, "params": all})
}

// post sends one message as it is.
func (c *client) post(ctx context.Context, header http.Header, message any) (*reply, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if c.session != "" || c.era == modern {
		req.Header.Set("MCP-Protocol-Version", c.era.revision())
	}
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	maps.Copy(req.Header, header)
	maps.Copy(req.Header, c.header)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return read(resp)
}

// read reads an answer to its end, JSON or SSE, and finds the message with the result or the error in it.
func read(resp *http.Response) (*reply, error) {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading an answer with status %d after %d bytes: %w", resp.StatusCode, len(body), err)
	}
	r := &reply{Status: resp.StatusCode, Header: resp.Header, Body: body}
	messages := [][]byte{body}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		messages = events(body)
	}
	for _, m := range messages {
		var answer reply
		if json.Unmarshal(m, &answer) == nil && (answer.Result != nil || answer.Error != nil) {
			r.ID, r.Result, r.Error = answer.ID, answer.Result, answer.Error
		}
	}
	return r, nil
}

// events returns the data of each event of a whole SSE stream.
func events(stream []byte) [][]byte {
	var all [][]byte
	var data []byte
	lines := bufio.NewScanner(bytes.NewReader(stream))
	lines.Buffer(nil, len(stream)+1)
	for lines.Scan() {
		line := lines.Text()
		if value, ok := strings.CutPrefix(line, "data:"); ok {
			data = append(data, strings.TrimPrefix(value, " ")...)
		} else if line == "" && data != nil {
			all, data = append(all, data), nil
		}
	}
	return all
}

// String shows the answer for the message of a failed test.
func (r *reply) String() string {
	if r == nil {
		return "no answer"
	}
	return fmt.Sprintf("%d %.600s", r.Status, r.Body)
}

// TestClientAgainstEverything checks the client itself, without a gateway.
func TestClientAgainstEverything(t *testing.T) {
	for _, e := range []era{legacy, modern} {
		t.Run(string(e), func(t *testing.T) {
			c := newClient(startEverything(t, e), "", e).mustConnect(t)
			r, err := c.call(t.Context(), "test_simple_text", nil)
			if err != nil || r.Status != http.StatusOK || !bytes.Contains(r.Result, []byte("simple text response")) {
				t.Errorf("calling a tool: %v, %s", err, r)
			}
			r, err = c.call(t.Context(), "no_such_tool", nil)
			if err != nil || r.Error == nil {
				t.Errorf("calling a tool that does not exist: want an error, got %v, %s", err, r)
			}
		})
	}
}
