package upstream_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
)

// sdkServer is a server of the official Go SDK with two tools.
func sdkServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
	type in struct {
		City string `json:"city"`
	}
	answer := func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "ok"}}}, nil, nil
	}
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, answer)
	mcp.AddTool(s, &mcp.Tool{Name: "other"}, answer)
	return s
}

func sdkHandler(stateless bool) http.Handler {
	s := sdkServer()
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: stateless})
}

// TestSDKServer: a stateful server of the SDK speaks the legacy era only, a stateless one both.
func TestSDKServer(t *testing.T) {
	for _, stateless := range []bool{false, true} {
		s := httptest.NewServer(sdkHandler(stateless))
		defer s.Close()
		for name, u := range map[string]upstream.Upstream{
			"remote":  open(t, upstream.RemoteConfig{URL: s.URL}),
			"handler": inProcess(t, upstream.HandlerConfig{Handler: sdkHandler(stateless)}),
		} {
			f, err := u.Probe(context.Background())
			if err != nil || f.Modern != stateless || f.Legacy != "2025-11-25" || f.Name != "sdk" || len(f.Tools) != 2 {
				t.Errorf("%s, stateless %t: %+v, %v", name, stateless, f, err)
			}
			if stateless {
				resp, err := u.RoundTrip(context.Background(), modernCall("echo", `{"city":"Rome"}`))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if got := lastMessage(t, resp); !contains(got, `"text":"ok"`) {
					t.Errorf("%s: %s", name, got)
				}
			}
			if err := u.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
}
