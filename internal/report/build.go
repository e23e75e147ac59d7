package report

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/detect"
)

// Thresholds of the analysis. More than these, not as many.
const (
	threatEvents  = 10  // high-risk events of an address
	patternFailed = 50  // failed authentications
	manyHighRisk  = 100 // high-risk events
)

// settle is how long a call may go on before its missing outcome counts as unknown.
const settle = time.Minute

// Build reads the range from the source and returns the report. It reads every event of the range once.
func Build(ctx context.Context, s Source, r Range) (Report, error) {
	if !r.From.Before(r.To) {
		return Report{}, fmt.Errorf("building report: %w: it must end after it begins", ErrRange)
	}
	c := counts{kinds: map[string]int{}, users: map[user]struct{}{}, pending: map[uint64]struct{}{}, settled: r.To.Add(-settle)}
	if err := s.Events(ctx, r.From, r.To, func(e *audit.Event) error { c.add(e); return ctx.Err() }); err != nil {
		return Report{}, fmt.Errorf("building report: reading events: %w", err)
	}
	alerts, err := s.AlertsBetween(ctx, r.From, r.To)
	if err != nil {
		return Report{}, fmt.Errorf("building report: reading alerts: %w", err)
	}
	integrity, err := s.Integrity(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("building report: verifying the log: %w", err)
	}
	report := Report{
		TimeRange: r.timeRange(),
		Summary: Summary{
			TotalEvents: c.total, UniqueUsers: len(c.users), UniqueUsersAtLeast: c.moreUsers, EventTypes: c.kinds, HighRiskEvents: c.highRisk,
		},
		SecurityEvents:  c.newest(),
		ThreatAnalysis:  c.analysis(),
		Alerts:          []Alert{},
		Decisions:       []Decision{},
		UnknownOutcomes: c.unknown(),
		Integrity:       integrity,
	}
	for _, a := range alerts[:min(len(alerts), maxAlerts)] {
		report.Alerts = append(report.Alerts, alert(a))
	}
	report.Recommendations = c.recommendations(&report.ThreatAnalysis, alerts)
	return report, nil
}

// user is a verified identity.
type user struct{ issuer, subject string }

// counts is what is kept of the events of a range.
type counts struct {
	total     int
	highRisk  int
	failed    int
	kinds     map[string]int
	users     map[user]struct{}
	moreUsers bool

	events  []audit.Event // the last high-risk ones; a ring once full, oldest at next
	next    int
	risky   evidence
	failure evidence

	addresses addresses

	settled     time.Time           // allowed calls before it should have ended
	pending     map[uint64]struct{} // allowed calls without an outcome so far
	morePending bool
}

func (c *counts) add(e *audit.Event) {
	if e.Repeat {
		return
	}
	n := e.Occurrences()
	c.total += n
	c.kinds[string(e.Kind)] += n
	c.user(e)
	c.outcome(e)
	if !e.HighRisk() {
		return
	}
	c.highRisk += n
	c.risky.add(e.Seq)
	if e.Kind == audit.AuthFailed {
		c.failed += n
		c.failure.add(e.Seq)
	}
	c.addresses.add(e, n)
	if len(c.events) < maxEvents {
		c.events = append(c.events, *e)
		return
	}
	c.events[c.next] = *e
	c.next = (c.next + 1) % maxEvents
}

func (c *counts) user(e *audit.Event) {
	u := user{e.Principal.Issuer, e.Principal.Subject}
	if u == (user{}) {
		return
	}
	if _, ok := c.users[u]; ok {
		return
	}
	if len(c.users) >= maxUsers {
		c.moreUsers = true
		return
	}
	c.users[u] = struct{}{}
}

// outcome pairs allowed calls with their outcomes.
func (c *counts) outcome(e *audit.Event) {
	switch {
	case e.Kind == audit.CallCompleted:
		delete(c.pending, e.Ref)
	case e.Kind != audit.CallAllowed || !e.Time.Before(c.settled):
	case len(c.pending) >= maxPending:
		c.morePending = true
	default:
		c.pending[e.Seq] = struct{}{}
	}
}

func (c *counts) unknown() UnknownOutcomes {
	var found evidence
	for _, seq := range slices.Sorted(maps.Keys(c.pending)) {
		found.add(seq)
	}
	return UnknownOutcomes{Count: len(c.pending), AtLeast: c.morePending, Evidence: found.report()}
}

// newest returns the kept events, newest first.
func (c *counts) newest() []Event {
	list := make([]Event, len(c.events))
	for i := range c.events {
		list[len(list)-1-i] = event(&c.events[(c.next+i)%len(c.events)])
	}
	return list
}

func (c *counts) analysis() ThreatAnalysis {
	a := ThreatAnalysis{RiskLevel: detect.Low, ActiveThreats: []Threat{}, PatternsDetected: []Pattern{}, IPAnalysis: []Address{}, AtLeast: c.addresses.full}
	for i, most := range c.addresses.most() {
		found := most.evidence.report()
		if most.own() > threatEvents && len(a.ActiveThreats) < maxThreats {
			a.RiskLevel = detect.Medium
			a.ActiveThreats = append(a.ActiveThreats, Threat{
				Type: "suspicious_ip_activity", Severity: detect.Medium, IP: most.name(), Count: most.own(), Evidence: found,
			})
		}
		if i < topAddresses {
			a.IPAnalysis = append(a.IPAnalysis, Address{
				IP: most.name(), HighRiskEvents: most.own(), AuthFailed: most.by[0], PermissionDenied: most.by[1],
				RateLimitExceeded: most.by[2], First: most.first.UTC(), Last: most.last.UTC(), Evidence: found,
			})
		}
		if i >= max(topAddresses, maxThreats) {
			break
		}
	}
	if c.failed > patternFailed {
		a.RiskLevel = detect.High
		a.PatternsDetected = append(a.PatternsDetected, Pattern{
			Pattern: "high_failed_authentication_rate", Severity: detect.High, Count: c.failed, Evidence: c.failure.report(),
		})
	}
	return a
}

func (c *counts) recommendations(a *ThreatAnalysis, alerts []detect.Alert) []Recommendation {
	var list []Recommendation
	if c.highRisk > manyHighRisk {
		list = append(list, Recommendation{"More than 100 high-risk events: look through them, and tighten roles and limits where they come from.", c.risky.report()})
	}
	if c.failed > patternFailed {
		list = append(list, Recommendation{"More than 50 failed authentications: somebody may be guessing credentials; check the addresses, and rotate keys that may be known.", c.failure.report()})
	}
	if a.RiskLevel == detect.High {
		list = append(list, Recommendation{"The risk is high: act on the patterns and alerts now.", c.failure.report()})
	}
	if len(list) == 0 {
		list = append(list, Recommendation{"Normal: no unusual number of failures or refusals.", new(evidence).report()})
	}
	var behind evidence
	open := 0
	for _, alert := range alerts {
		if alert.RequiresAction {
			open++
			for _, seq := range alert.Context.Evidence {
				behind.add(seq)
			}
		}
	}
	if open > 0 {
		list = append(list, Recommendation{fmt.Sprintf("Alerts that require action: %d.", open), behind.report()})
	}
	return list
}

// event writes a record as reports show it.
func event(e *audit.Event) Event {
	shown := Event{
		Seq: e.Seq, Time: e.Time.UTC(), Kind: string(e.Kind), Outcome: string(e.Outcome),
		Principal: escape(e.Principal.Name, maxText), Claimed: Mark(e.Claimed), Credential: escape(e.Credential, maxText),
		Client: Mark(e.Client), UserAgent: Mark(e.UserAgent), Server: escape(e.Server, maxText), Method: Mark(e.Method),
		Tool: Mark(e.Tool), Permission: Mark(e.Permission), Rule: escape(e.Rule, maxText), Reason: Mark(e.Reason),
		Status: e.Status, Count: e.Count,
	}
	if shown.Principal == "" {
		shown.Principal = escape(e.Principal.Subject, maxText)
	}
	if e.IP.IsValid() {
		shown.IP = e.IP.Unmap().WithZone("").String()
	}
	return shown
}

// alert writes an alert as reports show it.
func alert(a detect.Alert) Alert {
	if a.Context.Evidence == nil {
		a.Context.Evidence = []uint64{}
	}
	a.Context.Evidence = a.Context.Evidence[:min(len(a.Context.Evidence), 2*evidenceEach)] // Count says how many there were
	return Alert{
		ID: a.ID, Name: a.Name, Rule: a.Rule, UserID: escape(a.UserID, maxText), Key: Mark(a.Key), Timestamp: a.Timestamp.UTC(),
		Severity: a.Severity, Context: a.Context, RequiresAction: a.RequiresAction,
	}
}
