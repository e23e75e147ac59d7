package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/internal/admin"
)

func (a *app) alertCommand() *cobra.Command {
	var since string
	list := &cobra.Command{
		Use: "list", Short: "List alerts, newest first", Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := moment(c, "--since", since)
			if err != nil {
				return err
			}
			return a.with(c.Context(), func(client *admin.Client) error {
				alerts, err := client.Alerts(c.Context(), admin.Span{From: from})
				if err != nil || a.asJSON {
					return firstOf(err, func() error { return a.printJSON(alerts) })
				}
				t := newTable(a.stdout, "TIME", "SEVERITY", "NAME", "KEY", "COUNT", "WINDOW", "EVIDENCE")
				for _, alert := range alerts {
					t.row(stamp(alert.Timestamp), string(alert.Severity), alert.Name, alert.Key, strconv.Itoa(alert.Context.Count), alert.Context.Window, numbers(alert.Context.Evidence))
				}
				return t.flush()
			})
		},
	}
	list.Flags().StringVar(&since, "since", "30d", "only alerts from a time on, such as 2026-01-31T00:00:00Z or 24h")
	return group("alert", "Show alerts", a.located(a.readable(list)))
}

// numbers lists at most ten sequence numbers.
func numbers(seqs []uint64) string {
	var parts []string
	for i, n := range seqs {
		if i == 10 {
			parts = append(parts, "...")
			break
		}
		parts = append(parts, strconv.FormatUint(n, 10))
	}
	return strings.Join(parts, " ")
}
