package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Text writes the report for people: plain text, tables aligned, in UTC. Text that a caller chose stands in quotes;
// all text is escaped, so that it cannot reach out of its place on a terminal. It returns the first error of w.
func (r *Report) Text(w io.Writer) error {
	var b bytes.Buffer
	r.heading(&b)
	r.analysis(&b)
	section(&b, "Recommendations", "")
	for _, x := range r.Recommendations {
		fmt.Fprintf(&b, "  - %s%s\n", x.Text, x.Evidence.words())
	}
	r.alerts(&b)
	r.events(&b)
	section(&b, "Calls without a recorded outcome", "")
	fmt.Fprintf(&b, "  %s%s\n", atLeast(r.UnknownOutcomes.Count, r.UnknownOutcomes.AtLeast), r.UnknownOutcomes.Evidence.words())
	section(&b, "Integrity of the log", "")
	fmt.Fprintf(&b, "  %s (%d records)\n", escape(r.Integrity.Result, 2*maxText), r.Integrity.Records)
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Report) heading(b *bytes.Buffer) {
	fmt.Fprintf(b, "Security report for %s: %s to %s\n", r.TimeRange.Duration, stamp(r.TimeRange.Start), stamp(r.TimeRange.End))
	section(b, "Summary", "")
	t := table(b)
	fmt.Fprintf(t, "  events\t%d\n", r.Summary.TotalEvents)
	fmt.Fprintf(t, "  high-risk events\t%d\n", r.Summary.HighRiskEvents)
	fmt.Fprintf(t, "  unique users\t%s\n", atLeast(r.Summary.UniqueUsers, r.Summary.UniqueUsersAtLeast))
	for _, kind := range slices.Sorted(maps.Keys(r.Summary.EventTypes)) {
		fmt.Fprintf(t, "  %s\t%d\n", escape(kind, maxText), r.Summary.EventTypes[kind])
	}
	t.Flush()
}

func (r *Report) analysis(b *bytes.Buffer) {
	a := r.ThreatAnalysis
	section(b, "Threat analysis", "")
	fmt.Fprintf(b, "  risk level: %s\n", a.RiskLevel)
	for _, x := range a.ActiveThreats {
		fmt.Fprintf(b, "  active threat: %s (%s): %d high-risk events of %s%s\n", x.Type, x.Severity, x.Count, x.IP, x.Evidence.words())
	}
	for _, x := range a.PatternsDetected {
		fmt.Fprintf(b, "  pattern: %s (%s): %d%s\n", x.Pattern, x.Severity, x.Count, x.Evidence.words())
	}
	if len(a.IPAnalysis) == 0 {
		return
	}
	fmt.Fprintln(b)
	t := table(b)
	fmt.Fprintln(t, "  ADDRESS\tHIGH-RISK\tFAILED AUTH\tDENIED\tLIMITED\tFIRST\tLAST")
	for _, x := range a.IPAnalysis {
		fmt.Fprintf(t, "  %s\t%d\t%d\t%d\t%d\t%s\t%s\n", x.IP, x.HighRiskEvents, x.AuthFailed, x.PermissionDenied, x.RateLimitExceeded, stamp(x.First), stamp(x.Last))
	}
	t.Flush()
	if a.AtLeast {
		fmt.Fprintln(b, "  More addresses came than can be told apart: addresses with few events are missing.")
	}
}

func (r *Report) alerts(b *bytes.Buffer) {
	section(b, "Alerts", none(len(r.Alerts)))
	if len(r.Alerts) == 0 {
		return
	}
	t := table(b)
	fmt.Fprintln(t, "  TIME\tNAME\tSEVERITY\tFOR\tCOUNT\tACTION")
	for _, x := range r.Alerts {
		action := ""
		if x.RequiresAction {
			action = "required"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%d in %s\t%s\n", stamp(x.Timestamp), x.Name, x.Severity, quoted(x.Key, ""), x.Context.Count, x.Context.Window, action)
	}
	t.Flush()
}

func (r *Report) events(b *bytes.Buffer) {
	section(b, "High-risk events, newest first", none(len(r.SecurityEvents)))
	if len(r.SecurityEvents) == 0 {
		return
	}
	t := table(b)
	fmt.Fprintln(t, "  SEQ\tTIME\tKIND\tWHO\tADDRESS\tSERVER\tWHAT\tREASON")
	for _, x := range r.SecurityEvents {
		who := x.Principal
		if who == "" {
			who = quoted(x.Claimed, "claimed ")
		}
		what := quoted(Untrusted{cmp.Or(x.Tool.Text, x.Method.Text)}, "")
		kind := x.Kind
		if x.Count > 1 {
			kind += fmt.Sprintf(" x%d", x.Count)
		}
		fmt.Fprintf(t, "  %d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Seq, stamp(x.Time), kind, cmp.Or(who, "-"), cmp.Or(x.IP, "-"), cmp.Or(x.Server, "-"), cmp.Or(what, "-"), cmp.Or(quoted(x.Reason, ""), "-"))
	}
	t.Flush()
}

// words says which records are behind a line.
func (e Evidence) words() string {
	if e.Records == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(" [records")
	for _, seq := range e.First {
		fmt.Fprintf(&b, " %d", seq)
	}
	if e.Records > len(e.First)+len(e.Last) {
		b.WriteString(" ...")
	}
	for _, seq := range e.Last {
		fmt.Fprintf(&b, " %d", seq)
	}
	b.WriteString("]")
	return b.String()
}

func section(b *bytes.Buffer, title, note string) { fmt.Fprintf(b, "\n%s%s\n", title, note) }

func table(b *bytes.Buffer) *tabwriter.Writer { return tabwriter.NewWriter(b, 0, 0, 2, ' ', 0) }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func none(n int) string {
	if n == 0 {
		return ": none"
	}
	return ""
}

func atLeast(n int, more bool) string {
	if more {
		return fmt.Sprintf("at least %d", n)
	}
	return strconv.Itoa(n)
}

// quoted puts text that a caller chose in quotes, cut so that a row stays readable.
func quoted(u Untrusted, before string) string {
	if u.Text == "" {
		return ""
	}
	text := u.Text
	if short := cutTo(text, 60); short != text {
		text = short + "..."
	}
	return before + `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
}
