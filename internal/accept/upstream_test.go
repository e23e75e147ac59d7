//go:build unix

package accept_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// echoServer is an MCP server of the SDK that returns what it is told, and remembers what reached it.
type echoServer struct {
	url string

	mu       sync.Mutex
	calls    map[string]int // by tool; guarded by mu
	requests []string       // every header line of every request; guarded by mu
}

type echoInput struct {
	Text string `json:"text" jsonschema:"what to return"`
	N    int    `json:"n,omitempty" jsonschema:"a number from 0 to 1000000"`
}

// startEcho runs the server for one era. Its tools echo and keep do the same, so that one can be allowed and the other
// not.
func startEcho(t *testing.T, e era) *echoServer {
	t.Helper()
	s := &echoServer{calls: map[string]int{}}
	server := mcp.NewServer(&mcp.Implementation{Name: "echo", Version: "1"}, nil)
	for _, name := range []string{"echo", "keep"} {
		mcp.AddTool(server, &mcp.Tool{Name: name, Description: "Returns the text"},
			func(_ context.Context, _ *mcp.CallToolRequest, in echoInput) (*mcp.CallToolResult, any, error) {
				s.mu.Lock()
				s.calls[name]++
				s.mu.Unlock()
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Text}}}, nil, nil
			})
	}
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: e == modern})
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		for name, values := range r.Header {
			for _, value := range values {
				s.requests = append(s.requests, name+": "+value)
			}
		}
		s.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		listener.CloseClientConnections() // The gateway may hold streams open.
		listener.Close()
	})
	s.url = listener.URL + "/mcp"
	return s
}

// count returns how often a tool ran.
func (s *echoServer) count(tool string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[tool]
}

// headers returns every header line that reached the server.
func (s *echoServer) headers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// text returns the text a tool's result holds, or "" when it holds none.
func (r *reply) text() string {
	var result struct {
		Content []struct{ Text string }
	}
	if r == nil || json.Unmarshal(r.Result, &result) != nil || len(result.Content) == 0 {
		return ""
	}
	return result.Content[0].Text
}
