package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
	"github.com/sallyport-mcp/sallyport/internal/server"
)

func (a *app) auditCommand() *cobra.Command {
	return group("audit", "Read, follow, report on and verify the audit log", a.auditReport(), a.auditEvents(), a.auditTail(), a.auditVerify())
}

func (a *app) auditReport() *cobra.Command {
	var span, from, to string
	c := &cobra.Command{
		Use: "report", Short: "Print the security report for a range of time", Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if from != "" || to != "" {
				first, last, err := between(c, from, to)
				if err != nil {
					return err
				}
				span = first.UTC().Format(time.RFC3339Nano) + "/" + last.UTC().Format(time.RFC3339Nano)
			}
			return a.with(c.Context(), func(client *admin.Client) error {
				r, err := client.Report(c.Context(), span)
				switch {
				case err != nil:
					return err
				case a.asJSON:
					return a.printJSON(r)
				}
				return r.Text(a.stdout)
			})
		},
	}
	c.Flags().StringVar(&span, "range", "24h", "1h, 24h, 7d or 30d until now")
	c.Flags().StringVar(&from, "from", "", "begin at a time such as 2026-01-31T00:00:00Z, instead of --range")
	c.Flags().StringVar(&to, "to", "", "end before a time (default: now)")
	return a.located(a.readable(c))
}

// between reads two times; an empty from is the beginning, an empty to is now.
func between(c *cobra.Command, from, to string) (first, last time.Time, err error) {
	first, last = time.Unix(0, 0), time.Now()
	if from != "" {
		if first, err = moment(c, "--from", from); err != nil {
			return first, last, err
		}
	}
	if to != "" {
		last, err = moment(c, "--to", to)
	}
	return first, last, err
}

// moment reads a time, or how long ago it was.
func moment(c *cobra.Command, flag, text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	var ago server.Duration
	if err := ago.SetScalar(text); err != nil {
		return time.Time{}, usage(c, "%s: %q is neither a time such as 2026-01-31T00:00:00Z nor a duration such as 15m or 7d", flag, text)
	}
	return time.Now().Add(-time.Duration(ago)), nil
}

// filter says which events are printed. The zero value lets all pass.
type filter struct {
	kinds                        []string
	principal, ip, tool, outcome string
	since, until                 string
	limit                        int
}

func (f *filter) flags(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.kinds, "kind", nil, "kind of event, such as permission_denied; may be repeated")
	c.Flags().StringVar(&f.outcome, "outcome", "", "allowed, denied, failed, unknown or info")
	c.Flags().StringVar(&f.principal, "principal", "", "name or subject of the caller")
	c.Flags().StringVar(&f.ip, "ip", "", "address of the caller")
	c.Flags().StringVar(&f.tool, "tool", "", "tool, prompt or resource")
}

func (f *filter) check(c *cobra.Command) error {
	for _, k := range f.kinds {
		if !audit.Kind(k).Known() {
			names := make([]string, 0, 32)
			for _, info := range audit.Kinds() {
				names = append(names, string(info.Kind))
			}
			return &failure{message: fmt.Sprintf("--kind: there is no kind of event %q", k), fix: "kinds are " + strings.Join(names, ", "), cause: errUsage}
		}
	}
	if f.limit < 0 {
		return usage(c, "--limit must not be negative")
	}
	return nil
}

func (f *filter) passes(e *audit.Event) bool {
	kind := len(f.kinds) == 0
	for _, k := range f.kinds {
		kind = kind || string(e.Kind) == k
	}
	return kind &&
		(f.outcome == "" || string(e.Outcome) == f.outcome) &&
		(f.principal == "" || e.Principal.Name == f.principal || e.Principal.Subject == f.principal) &&
		(f.ip == "" || e.IP.String() == f.ip) &&
		(f.tool == "" || e.Tool == f.tool)
}

func (a *app) auditEvents() *cobra.Command {
	var f filter
	c := &cobra.Command{
		Use: "events", Short: "Print events, oldest first", Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(c); err != nil {
				return err
			}
			first, last, err := between(c, f.since, f.until)
			if err != nil {
				return err
			}
			dir, err := a.auditDir()
			if err != nil {
				return err
			}
			return a.events(c.Context(), dir, &f, first, last.Add(time.Second)) // what is recorded while we begin is meant too
		},
	}
	f.flags(c)
	c.Flags().StringVar(&f.since, "since", "", "only events from a time on, such as 2026-01-31T00:00:00Z or 15m")
	c.Flags().StringVar(&f.until, "until", "", "only events before a time")
	c.Flags().IntVar(&f.limit, "limit", 100, "only the newest of them; 0 prints all")
	return a.located(a.readable(c))
}

// events prints what passes, in one pass: without a limit each event as it is read, with one the newest, of which no
// more than the limit are held.
func (a *app) events(ctx context.Context, dir string, f *filter, first, last time.Time) error {
	var newest []audit.Event
	next := 0 // where the next goes once newest is full
	err := auditlog.Scan(ctx, dir, first, last, func(e *audit.Event) error {
		switch {
		case !f.passes(e):
			return nil
		case f.limit == 0:
			return a.event(e)
		case len(newest) < f.limit:
			newest = append(newest, *e)
		default:
			newest[next] = *e
			next = (next + 1) % f.limit
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range newest {
		if err := a.event(&newest[(next+i)%len(newest)]); err != nil {
			return err
		}
	}
	return nil
}

// event prints one event on one line.
func (a *app) event(e *audit.Event) error {
	if a.asJSON {
		line := append([]byte(`{"seq":`+strconv.FormatUint(e.Seq, 10)+","), e.AppendJSON(nil)[1:]...)
		return a.say("%s\n", line)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d  %s  %-20s %-8s", e.Seq, stamp(e.Time), e.Kind, e.Outcome)
	for _, part := range []struct{ name, value string }{
		{"who", e.Principal.Name},
		{"claimed", e.Claimed},
		{"key", e.Credential},
		{"ip", address(e)},
		{"server", e.Server},
		{"method", e.Method},
		{"tool", e.Tool},
		{"permission", e.Permission},
		{"rule", e.Rule},
		{"reason", e.Reason},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, "  %s=%s", part.name, quoted(part.value))
		}
	}
	for _, d := range e.Details {
		fmt.Fprintf(&b, "  %s=%s", audit.Printable(d.Name), quoted(d.Value))
	}
	if e.Count > 1 {
		fmt.Fprintf(&b, "  count=%d", e.Count)
	}
	return a.say("%s\n", b.String())
}

func address(e *audit.Event) string {
	if !e.IP.IsValid() {
		return ""
	}
	return e.IP.String()
}

// quoted escapes a value and puts it in quotes where it could be taken for more than one.
func quoted(s string) string {
	if s = audit.Printable(s); strings.ContainsAny(s, " =\"") {
		return strconv.Quote(s)
	}
	return s
}

func (a *app) auditTail() *cobra.Command {
	var f filter
	c := &cobra.Command{
		Use: "tail", Short: "Print the last events and then new ones as they come", Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(c); err != nil {
				return err
			}
			dir, err := a.auditDir()
			if err != nil {
				return err
			}
			last, err := auditlog.LastSeq(dir)
			if err != nil {
				return err
			}
			from := uint64(1)
			if n := uint64(f.limit); last > n { //nolint:gosec // checked not to be negative
				from = last - n + 1
			}
			err = auditlog.Tail(c.Context(), dir, from, func(e *audit.Event) error {
				if !f.passes(e) {
					return nil
				}
				return a.event(e)
			})
			if errors.Is(err, context.Canceled) { // interrupted: that is how it ends
				return nil
			}
			return err
		},
	}
	f.flags(c)
	c.Flags().IntVarP(&f.limit, "last", "n", 10, "how many of the last events to print first")
	return a.located(a.readable(c))
}
