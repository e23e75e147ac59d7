package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/server"
)

func (a *app) checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "check", Short: "Check the configuration and how strong it is", Args: none,
		Long: "Check the configuration and how strong it is. Nothing is changed. Exit code 1 when a line says fail.",
		RunE: func(c *cobra.Command, _ []string) error {
			file, err := a.place()
			if err != nil {
				return err
			}
			now := time.Now()
			findings := append(server.OnDisk(file, now), a.running(c.Context(), file, now)...)
			if err := a.printFindings(findings); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Level == server.Fail {
					return &failure{message: "the check found what must not stay: " + f.What, fix: f.Detail}
				}
			}
			return nil
		},
	}
	return a.located(a.readable(c))
}

func (a *app) printFindings(findings []server.Finding) error {
	if a.asJSON {
		return a.printJSON(findings)
	}
	t := newTable(a.stdout, "LEVEL", "WHAT", "DETAIL")
	for _, f := range findings {
		t.row(string(f.Level), f.What, f.Detail)
	}
	return t.flush()
}

// running asks the gateway, if one runs, about the configuration in force and its API keys; else it looks at the file.
func (a *app) running(ctx context.Context, f *server.File, now time.Time) []server.Finding {
	client, err := admin.Dial(ctx, f.DataDir)
	switch {
	case errors.Is(err, admin.ErrNoGateway):
		stopped := []server.Finding{{Level: server.OK, What: "gateway", Detail: "not running"}}
		if a.configPath == "" { // a data directory alone says nothing of listeners and servers
			return stopped
		}
		return append(stopped, server.Posture(f)...)
	case err != nil:
		return []server.Finding{{Level: server.Warn, What: "gateway", Detail: err.Error()}}
	}
	keys, err := client.Keys(ctx)
	if err != nil {
		return []server.Finding{{Level: server.Warn, What: "gateway", Detail: err.Error()}}
	}
	posture, err := client.Posture(ctx)
	if err != nil {
		return []server.Finding{{Level: server.Warn, What: "gateway", Detail: err.Error()}}
	}
	all := append([]server.Finding{{Level: server.OK, What: "gateway", Detail: "running"}}, posture...)
	for _, k := range keys {
		if !k.Revoked.IsZero() || (!k.Expires.IsZero() && now.After(k.Expires)) {
			continue
		}
		finding := server.Finding{Level: server.OK, What: "API key " + k.ID, Detail: fmt.Sprintf("%s, %d days old", k.Name, int(now.Sub(k.Created).Hours()/24))}
		if k.Expires.IsZero() {
			finding.Level, finding.Detail = server.Warn, finding.Detail+", never expires"
		}
		all = append(all, finding)
	}
	return all
}
