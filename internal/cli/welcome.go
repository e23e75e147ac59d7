package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/server"
	"github.com/sallyport-mcp/sallyport/policy"
)

// welcome tells how to reach a gateway without a configuration file and, at its first start, makes the first key.
func (a *app) welcome(ctx context.Context, r server.Running) error {
	s := r.File.Servers[0]
	endpoint := r.URL + "/" + s.Name + "/mcp"
	if r.File.Auth.Disabled {
		_, err := fmt.Fprintf(a.stderr, "warning: authentication is off: every program of every user of this machine may call %s\n", s.Name)
		return firstOf(err, func() error { return a.say("Sallyport guards %s at\n\n  %s\n", s.Name, endpoint) })
	}
	client := admin.Within(r.Operations, admin.Local(os.Getuid()))
	keys, err := client.Keys(ctx)
	if err != nil {
		return err
	}
	if len(keys) > 0 {
		return a.say("Sallyport guards %s at\n\n  %s\n\nThe first key was shown at the first start. Another: sallyport key create --name NAME --role %s --data-dir %s\n",
			s.Name, endpoint, userRole, r.File.DataDir)
	}
	if err := client.PutRole(ctx, policy.Role{Name: userRole, Permissions: []string{s.Name + ":*"}}); err != nil {
		return err
	}
	key, err := client.CreateKey(ctx, admin.KeySpec{Name: "first", Roles: []string{userRole}})
	if err != nil {
		return err
	}
	return a.say("Sallyport guards %s at\n\n  %s\n\nThe first key, shown this once (role %s, %s:*, until %s):\n\n  %s\n\n%s",
		s.Name, endpoint, userRole, s.Name, key.Record.Expires.UTC().Format("2006-01-02"), key.Text, snippets(s.Name, endpoint, key.Text))
}

// snippets are ready to be pasted.
func snippets(name, endpoint, key string) string {
	return strings.NewReplacer("NAME", name, "URL", endpoint, "KEY", key).Replace(`Claude Code:

  claude mcp add --transport http NAME URL --header "Authorization: Bearer KEY"

VS Code (.vscode/mcp.json):

  {"servers": {"NAME": {"type": "http", "url": "URL", "headers": {"Authorization": "Bearer KEY"}}}}

MCP Inspector:

  npx @modelcontextprotocol/inspector --cli URL --transport http --method tools/list --header "Authorization: Bearer KEY"

curl:

  curl -s URL -H "Authorization: Bearer KEY" -H "Content-Type: application/json" -H "Accept: application/json, text/event-stream" \
    -d '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"curl","version":"1"}}}'
`)
}
