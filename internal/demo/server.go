// Package demo is the bundled example: an MCP server that knows nothing of security, and a scripted tour through the
// gateway in front of it. It is for learning and for tests, not for use.
package demo

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// NewServer returns the handler of an MCP server with four tools over made-up data, for both protocol eras.
// It trusts everybody: that is the point.
func NewServer() http.Handler {
	server := mcp.NewServer(&mcp.Implementation{Name: "sallyport-demo", Version: "1"}, nil)
	files := &files{content: map[string]string{"/notes.txt": "Buy bread.", "/report.txt": "All quiet."}}
	mcp.AddTool(server, &mcp.Tool{Name: "get_weather", Description: "The weather in a city"}, weather)
	mcp.AddTool(server, &mcp.Tool{Name: "read_file", Description: "Reads a file"}, files.read)
	mcp.AddTool(server, &mcp.Tool{Name: "write_file", Description: "Writes a file"}, files.write)
	mcp.AddTool(server, &mcp.Tool{Name: "list_users", Description: "Lists the users of the machine"}, users)
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true})
}

type weatherInput struct {
	City string `json:"city" jsonschema:"name of the city"`
}

func weather(_ context.Context, _ *mcp.CallToolRequest, in weatherInput) (*mcp.CallToolResult, any, error) {
	skies := []string{"sunny", "cloudy", "rain", "snow"}
	return text(fmt.Sprintf("%s: %s, %d degrees", in.City, skies[len(in.City)%len(skies)], 5+len(in.City))), nil, nil
}

// files is a small tree in memory.
type files struct {
	mu      sync.Mutex
	content map[string]string
}

type readInput struct {
	Path string `json:"path" jsonschema:"absolute path"`
}

type writeInput struct {
	Path    string `json:"path" jsonschema:"absolute path"`
	Content string `json:"content" jsonschema:"what to write"`
}

func (f *files) read(_ context.Context, _ *mcp.CallToolRequest, in readInput) (*mcp.CallToolResult, any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, ok := f.content[path.Clean(in.Path)]
	if !ok {
		return nil, nil, fmt.Errorf("no file %q", in.Path)
	}
	return text(content), nil, nil
}

// maxFiles keeps the demo small however long it runs.
const maxFiles = 100

func (f *files) write(_ context.Context, _ *mcp.CallToolRequest, in writeInput) (*mcp.CallToolResult, any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.content) >= maxFiles || len(in.Content) > 4096 {
		return nil, nil, fmt.Errorf("the demo's disk is full")
	}
	f.content[path.Clean(in.Path)] = in.Content
	return text(fmt.Sprintf("wrote %d bytes", len(in.Content))), nil, nil
}

func users(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
	return text(strings.Join([]string{"alice", "bob", "carol"}, ", ")), nil, nil
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}
