// Package securitymcp is Sallyport's own MCP server, mounted at /security/mcp behind the same guard as every other: an
// administrator's model asks it what happened. It decides nothing: the guard has asked for metrics:view before a call
// gets here.
//
// What it returns holds text that attackers chose (names, user agents). The report renders such text cut, escaped and
// marked as untrusted; nothing here adds text that was not rendered so.
package securitymcp

import (
	"context"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport-mcp/sallyport/internal/report"
)

// Reporter builds the security report for a range: "1h", "24h" (also ""), "7d" or "30d". Another range is an error.
type Reporter func(ctx context.Context, timeRange string) (*report.Report, error)

// input is the arguments of get_security_audit.
type input struct {
	TimeRange string `json:"time_range,omitempty"`
}

// inputSchema lists the ranges, so that a wrong one is refused by the guard already.
func inputSchema() map[string]any {
	return map[string]any{
		"type":                 "object",
		"additionalProperties": false,
		"properties": map[string]any{
			"time_range": map[string]any{
				"type":        "string",
				"enum":        []string{"1h", "24h", "7d", "30d"},
				"default":     "24h",
				"description": "how far back the report reaches",
			},
		},
	}
}

// New returns the Streamable HTTP handler of the server, for both protocol eras.
func New(build Reporter) http.Handler {
	server := mcp.NewServer(&mcp.Implementation{Name: "sallyport-security", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{
		Name:        "get_security_audit",
		Title:       "Security audit report",
		Description: "Reports authentication failures, permission denials, limit hits, alerts and the integrity of the log for a time range.",
		InputSchema: inputSchema(),
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true},
	}, func(ctx context.Context, _ *mcp.CallToolRequest, in input) (*mcp.CallToolResult, *report.Report, error) {
		r, err := build(ctx, in.TimeRange)
		return nil, r, err
	})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true})
}
