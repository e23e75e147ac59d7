// Package report turns a time range of the audit log into one value that people, programs and models read. For most
// uses parse the range with ParseRange, Build the report, and write it with Text or json.Marshal.
//
// It finds nothing that is not in the log or among the alerts, and decides nothing. Its memory does not grow with the
// number of events, users or addresses.
//
// Its invariant: every line of the analysis names the records behind it, and text that a caller chose is cut, escaped
// and marked as untrusted wherever it appears.
package report

import (
	"context"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/detect"
)

// Source is where a report reads from.
type Source interface {
	// Events calls fn with the records whose time is from <= t < to, in the order of their sequence numbers, until it
	// returns an error, which Events returns. The event is fn's only during the call.
	Events(ctx context.Context, from, to time.Time, fn func(*audit.Event) error) error
	// AlertsBetween returns the alerts with from <= Timestamp < to, newest first.
	AlertsBetween(ctx context.Context, from, to time.Time) ([]detect.Alert, error)
	// Integrity reports whether the log as a whole is as it was written.
	Integrity(ctx context.Context) (Integrity, error)
}

// Report is what happened in a time range. Its JSON form is an interface: fields are added, never renamed.
type Report struct {
	TimeRange       TimeRange        `json:"time_range"`
	Summary         Summary          `json:"summary"`
	SecurityEvents  []Event          `json:"security_events"` // high-risk ones, newest first, at most 100
	ThreatAnalysis  ThreatAnalysis   `json:"threat_analysis"`
	Recommendations []Recommendation `json:"recommendations"`
	Alerts          []Alert          `json:"alerts"`           // newest first, at most 100
	Decisions       []Decision       `json:"decisions"`        // none are made yet
	UnknownOutcomes UnknownOutcomes  `json:"unknown_outcomes"` // calls that were allowed and whose end is not on record
	Integrity       Integrity        `json:"integrity"`
}

// TimeRange is the range of a report.
type TimeRange struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	Duration string    `json:"duration"` // the name it was asked for by, such as 24h, or a Go duration
}

// Summary counts the events of the range. A folded record counts as often as it says; a client's automatic repetition
// of a refusal does not count.
type Summary struct {
	TotalEvents        int            `json:"total_events"`
	UniqueUsers        int            `json:"unique_users"`                    // verified identities; claimed ones do not count
	UniqueUsersAtLeast bool           `json:"unique_users_at_least,omitempty"` // there were more than are told apart
	EventTypes         map[string]int `json:"event_types"`
	HighRiskEvents     int            `json:"high_risk_events"` // auth_failed, permission_denied and rate_limit_exceeded
}

// Untrusted is text that a caller chose: it may be made to look like an instruction. It has at most 128 characters;
// control and invisible ones are escaped.
type Untrusted struct {
	Text string `json:"untrusted"`
}

// Event is one record.
type Event struct {
	Seq        uint64    `json:"seq"`
	Time       time.Time `json:"time"`
	Kind       string    `json:"kind"`
	Outcome    string    `json:"outcome,omitempty"`
	Principal  string    `json:"principal,omitempty"` // the verified identity's name
	Claimed    Untrusted `json:"claimed,omitzero"`    // an identity that was not verified
	Credential string    `json:"credential,omitempty"`
	Client     Untrusted `json:"client,omitzero"`
	IP         string    `json:"ip,omitempty"`
	UserAgent  Untrusted `json:"user_agent,omitzero"`
	Server     string    `json:"server,omitempty"`
	Method     Untrusted `json:"method,omitzero"`
	Tool       Untrusted `json:"tool,omitzero"`
	Permission Untrusted `json:"permission,omitzero"` // it may contain the name of a tool
	Rule       string    `json:"rule,omitempty"`
	Reason     Untrusted `json:"reason,omitzero"`
	Status     int       `json:"status,omitempty"`
	Count      int       `json:"count,omitempty"` // occurrences, when the record is folded
}

// Evidence names the records behind a line by their sequence numbers: all of them, or the first and last 20.
type Evidence struct {
	Records int      `json:"records"`
	First   []uint64 `json:"first"`
	Last    []uint64 `json:"last,omitempty"` // those after First, when there are more than fit
}

// RiskLevel is the highest severity in the analysis, and low without any.
type RiskLevel = detect.Severity

// ThreatAnalysis is what the counts of the whole range say.
type ThreatAnalysis struct {
	RiskLevel        RiskLevel `json:"risk_level"`
	ActiveThreats    []Threat  `json:"active_threats"` // at most 100, those with most events first
	PatternsDetected []Pattern `json:"patterns_detected"`
	IPAnalysis       []Address `json:"ip_analysis"` // the 20 addresses with most high-risk events
	// AtLeast says that more addresses came than are told apart: counts of an address may have begun too late, and
	// addresses with few events may be missing.
	AtLeast bool `json:"at_least,omitempty"`
}

// Threat is an address with more than 10 high-risk events.
type Threat struct {
	Type     string          `json:"type"` // suspicious_ip_activity
	Severity detect.Severity `json:"severity"`
	IP       string          `json:"ip"`
	Count    int             `json:"count"`
	Evidence Evidence        `json:"evidence"`
}

// Pattern is something that all events together show.
type Pattern struct {
	Pattern  string          `json:"pattern"` // high_failed_authentication_rate
	Severity detect.Severity `json:"severity"`
	Count    int             `json:"count"`
	Evidence Evidence        `json:"evidence"`
}

// Address is an IPv4 address or IPv6 /64 and its high-risk events.
type Address struct {
	IP                string    `json:"ip"`
	HighRiskEvents    int       `json:"high_risk_events"`
	AuthFailed        int       `json:"auth_failed"`
	PermissionDenied  int       `json:"permission_denied"`
	RateLimitExceeded int       `json:"rate_limit_exceeded"`
	First             time.Time `json:"first"`
	Last              time.Time `json:"last"`
	Evidence          Evidence  `json:"evidence"`
}

// Recommendation is one piece of advice.
type Recommendation struct {
	Text     string   `json:"text"`
	Evidence Evidence `json:"evidence"`
}

// Alert is an alert of the range. Its key may hold an identity that was only claimed.
type Alert struct {
	ID             string          `json:"id"`
	Name           string          `json:"name"`
	Rule           string          `json:"rule"`
	UserID         string          `json:"user_id,omitempty"`
	Key            Untrusted       `json:"key"`
	Timestamp      time.Time       `json:"timestamp"`
	Severity       detect.Severity `json:"severity"`
	Context        detect.Context  `json:"context"`
	RequiresAction bool            `json:"requires_action"`
}

// Decision is a timed answer to an alert. None are made yet; the field is there so that its readers need not change.
type Decision struct{}

// UnknownOutcomes counts calls that were allowed and whose end was never recorded. Calls allowed in the last minute of
// the range may still be running and are not among them.
type UnknownOutcomes struct {
	Count    int      `json:"count"`
	AtLeast  bool     `json:"at_least,omitempty"` // there were more than are kept apart
	Evidence Evidence `json:"evidence"`
}

// Integrity is the result of verifying the log.
type Integrity struct {
	Result  string `json:"result"`  // in the words of the verification
	Records uint64 `json:"records"` // all records of the log, not only those of the range
}
