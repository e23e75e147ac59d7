package sallyport

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/internal/guard"
	"github.com/sallyport-mcp/sallyport/internal/report"
	"github.com/sallyport-mcp/sallyport/policy"
)

// alertTimeout bounds storing one alert: detection must not wait for ever for a store.
const alertTimeout = 5 * time.Second

// operations collects what an administrator may do with this guard.
func (g *Guard) operations() *admin.Operations {
	return &admin.Operations{
		Keys:       g.keys,
		Tokens:     g.tokens,
		Roles:      g.store,
		Alerts:     g.store,
		Recorder:   g.recorder,
		Configured: g.configuredRoles,
		Apply:      g.applyRoles,
		Audience:   func(server string) (string, bool) { r := g.gateway.Resource(server); return r, r != "" },
		Report:     g.report,
		Stats:      g.stats,
		Now:        g.now,
		Log:        g.logger,
	}
}

// configuredRoles returns the roles of the configuration, which cannot be changed at run time.
func (g *Guard) configuredRoles() []policy.Role {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.config.Roles)
}

// applyRoles puts the stored roles in force.
func (g *Guard) applyRoles(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	rules, err := g.compile(ctx, g.config)
	if err != nil {
		return err
	}
	return g.gateway.ApplyPolicy(guard.Settings{Rules: rules, Limits: g.limits})
}

func (g *Guard) stats() admin.Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	children := 0
	for _, up := range g.ups {
		if parent, ok := up.upstream.(interface{ Children() int }); ok {
			children += parent.Children()
		}
	}
	return admin.Stats{Events: g.counter.Events(), AuditQueued: g.recorder.Queued(), AuditLost: g.recorder.Lost(), Streams: g.gateway.Live(), Children: children}
}

// observe sees every event at once, before it is on disk: a block must not wait for a disk. What the rules find is
// stored and recorded; those records are not looked at again.
func (g *Guard) observe(e *audit.Event) {
	g.counter.Add(e)
	for _, alert := range g.detect.Observe(e) {
		g.raise(alert)
	}
}

// raise stores and records an alert.
func (g *Guard) raise(a detect.Alert) {
	g.recorder.Note(&audit.Event{
		Time: a.Timestamp.UTC(), Kind: audit.AlertRaised, Outcome: audit.Info, Rule: a.Rule,
		Reason: fmt.Sprintf("%s: %d events of %s within %s", a.Name, a.Context.Count, a.Key, a.Context.Window),
		Details: []audit.Detail{
			{Name: "alert", Value: a.ID}, {Name: "name", Value: a.Name}, {Name: "severity", Value: string(a.Severity)}, {Name: "key", Value: a.Key},
		},
	})
	g.logger.Warn("alert", "name", a.Name, "severity", a.Severity, "key", a.Key, "count", a.Context.Count, "window", a.Context.Window)
	ctx, cancel := context.WithTimeout(context.Background(), alertTimeout)
	defer cancel()
	if err := g.store.PutAlert(ctx, a); err != nil {
		g.logger.Error("an alert could not be stored; it is in the audit log", "alert", a.ID, "err", err)
	}
}

// report builds the security report for a range such as "24h", or "FROM/TO" in RFC 3339.
func (g *Guard) report(ctx context.Context, timeRange string) (*report.Report, error) {
	span, err := parseRange(timeRange, g.now())
	if err != nil {
		return nil, err
	}
	r, err := report.Build(ctx, source{g}, span)
	if err != nil {
		return nil, err
	}
	return &r, nil
}

func parseRange(text string, now time.Time) (report.Range, error) {
	first, second, ok := strings.Cut(text, "/")
	if !ok {
		return report.ParseRange(text, now)
	}
	from, err := time.Parse(time.RFC3339, first)
	if err != nil {
		return report.Range{}, fmt.Errorf("%w: it must begin with a time such as 2026-01-31T00:00:00Z", report.ErrRange)
	}
	to, err := time.Parse(time.RFC3339, second)
	if err != nil {
		return report.Range{}, fmt.Errorf("%w: it must end with a time such as 2026-01-31T00:00:00Z", report.ErrRange)
	}
	return report.Between(from, to)
}

// source is where a report reads from: the log in the data directory and the stored alerts.
type source struct{ guard *Guard }

func (s source) Events(ctx context.Context, from, to time.Time, f func(*audit.Event) error) error {
	return auditlog.Scan(ctx, s.guard.auditDir(), from, to, f)
}

func (s source) AlertsBetween(ctx context.Context, from, to time.Time) ([]detect.Alert, error) {
	return s.guard.store.AlertsBetween(ctx, from, to)
}

func (s source) Integrity(ctx context.Context) (report.Integrity, error) {
	v, err := auditlog.Verify(ctx, auditlog.VerifyConfig{Dir: s.guard.auditDir()})
	if err != nil {
		return report.Integrity{}, err
	}
	return report.Integrity{Result: v.Result, Records: v.Records}, nil
}

func (g *Guard) auditDir() string { return filepath.Join(g.dataDir, "audit") }
