package demo

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

// evidence shows what the log holds about the tour, the alert it raised, and whether the log proves itself.
func evidence(ctx context.Context, out io.Writer, ops *admin.Operations, dir string) error {
	if err := settle(ctx, dir); err != nil {
		return err
	}
	if err := auditLines(ctx, out, dir); err != nil {
		return err
	}
	alerts, err := ops.ListAlerts(ctx, admin.Local(0), admin.Span{})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "\nThe alert") // a lost reader ends the demo elsewhere
	found := false
	for _, a := range alerts {
		found = found || a.Name == "excessive_failed_auth"
		_, _ = fmt.Fprintf(out, "  %s (%s): %d events of %s within %s, evidence %v\n", a.Name, a.Severity, a.Context.Count, a.Key, a.Context.Window, a.Context.Evidence)
	}
	if !found {
		return fmt.Errorf("%w: five bad credentials raised no alert", errUnexpected)
	}
	v, err := auditlog.Verify(ctx, auditlog.VerifyConfig{Dir: dir})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "\nThe proof\n  audit verify: %d records, %s\n", v.Records, v.Result)
	if v.Fault != nil {
		return fmt.Errorf("%w: the log does not verify: %v", errUnexpected, v.Fault)
	}
	return nil
}

// settle waits until the tour's last record, the alert, is on disk: refusals of strangers do not wait for it.
func settle(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		found := false
		err := auditlog.Scan(ctx, dir, time.Time{}, time.Time{}, func(e *audit.Event) error {
			found = found || e.Kind == audit.AlertRaised
			return nil
		})
		if err != nil || found {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the alert did not reach the log", errUnexpected)
		case <-tick.C:
		}
	}
}

// auditLines prints one record of each kind the tour made; where there are many, the last.
func auditLines(ctx context.Context, out io.Writer, dir string) error {
	var order []audit.Kind
	last := map[audit.Kind]audit.Event{}
	count := map[audit.Kind]int{}
	err := auditlog.Scan(ctx, dir, time.Time{}, time.Time{}, func(e *audit.Event) error {
		if count[e.Kind] == 0 {
			order = append(order, e.Kind)
		}
		last[e.Kind] = *e
		count[e.Kind]++
		return nil
	})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "The audit log, the last record of each kind")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "  SEQ\tKIND\tCOUNT\tOUTCOME\tWHO\tTOOL\tWHY")
	for _, kind := range order {
		e := last[kind]
		who := e.Principal.Name
		if who == "" {
			who = "-"
			if e.IP.IsValid() {
				who = e.IP.String()
			}
		}
		why := e.Reason
		if e.Permission != "" && e.Outcome == audit.Denied {
			why = e.Permission + ": " + why
		}
		_, _ = fmt.Fprintf(table, "  %d\t%s\t%d\t%s\t%s\t%s\t%s\n", e.Seq, e.Kind, count[kind], e.Outcome, who, dash(e.Tool), dash(why))
	}
	return table.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
