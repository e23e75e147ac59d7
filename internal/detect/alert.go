package detect

import (
	"context"
	"time"
)

// Severity orders alerts.
type Severity string

// Severities, lowest first.
const (
	Low    Severity = "low"
	Medium Severity = "medium"
	High   Severity = "high"
)

// Alert is a pattern of events that a rule found.
type Alert struct {
	ID             string    `json:"id"` // random, URL-safe
	Name           string    `json:"name"`
	Rule           string    `json:"rule"`
	UserID         string    `json:"user_id,omitempty"` // the principal's readable name; empty when keyed otherwise
	Key            string    `json:"key"`               // what the rule counted for: "claimed:alice", "ip:192.0.2.1"
	Timestamp      time.Time `json:"timestamp"`
	Severity       Severity  `json:"severity"`
	Context        Context   `json:"context"`
	RequiresAction bool      `json:"requires_action"`
}

// Context is the evidence of an Alert.
type Context struct {
	Count    int       `json:"count"`
	Window   string    `json:"window"` // Go duration, such as 15m0s
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Address  string    `json:"address,omitempty"`
	Evidence []uint64  `json:"evidence"` // sequence numbers of the events that were counted
}

// Alerts keeps alerts. Implementations are safe for concurrent use.
type Alerts interface {
	// PutAlert stores a new alert.
	PutAlert(ctx context.Context, a Alert) error
	// AlertsBetween returns the alerts with from <= Timestamp < to, newest first.
	AlertsBetween(ctx context.Context, from, to time.Time) ([]Alert, error)
	// DeleteAlertsBefore removes alerts older than t and returns how many.
	DeleteAlertsBefore(ctx context.Context, t time.Time) (int, error)
}
