package admin

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// Stats are figures of a running guard.
type Stats struct {
	Events      []EventCount `json:"events"`
	AuditQueued int          `json:"audit_queued"` // events that wait for the disk
	AuditLost   uint64       `json:"audit_lost"`   // events that could not be kept since the start
	Streams     int          `json:"streams"`      // open streams of clients
	Children    int          `json:"children"`     // running child processes
}

// EventCount is how many events of one kind, outcome and server there were since the start.
type EventCount struct {
	Server  string        `json:"server"` // empty before the server was known
	Kind    audit.Kind    `json:"kind"`
	Outcome audit.Outcome `json:"outcome"`
	Count   uint64        `json:"count"`
	Seconds float64       `json:"seconds"` // sum of the durations
}

// maxSeries bounds a Counter. Kinds, outcomes and configured servers are few; the bound holds even if one were not.
const maxSeries = 4096

// Counter counts events. The zero value is ready; it is safe for concurrent use.
type Counter struct {
	mu     sync.Mutex
	counts map[series]*total
}

type series struct {
	server  string
	kind    audit.Kind
	outcome audit.Outcome
}

type total struct {
	count    uint64
	duration time.Duration
}

// Add counts an event, with all occurrences that a folded one stands for.
func (c *Counter) Add(e *audit.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := series{e.Server, e.Kind, e.Outcome}
	t, ok := c.counts[key]
	if !ok {
		if len(c.counts) >= maxSeries {
			return
		}
		if c.counts == nil {
			c.counts = map[series]*total{}
		}
		t = &total{}
		c.counts[key] = t
	}
	t.count += uint64(e.Occurrences())
	t.duration += e.Duration
}

// Events returns the counts so far, in a fixed order.
func (c *Counter) Events() []EventCount {
	c.mu.Lock()
	all := make([]EventCount, 0, len(c.counts))
	for k, t := range c.counts {
		all = append(all, EventCount{Server: k.server, Kind: k.kind, Outcome: k.outcome, Count: t.count, Seconds: t.duration.Seconds()})
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b EventCount) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Outcome, b.Outcome))
	})
	return all
}

// Figures returns the statistics now; without a Stats function they are zero.
func (o *Operations) Figures() Stats {
	if o.Stats == nil {
		return Stats{}
	}
	return o.Stats()
}

// Level says how a Finding is to be taken.
type Level string

// Levels.
const (
	OK   Level = "ok"
	Warn Level = "warn" // weaker than the default
	Fail Level = "fail" // would not start, or must not stay
)

// Finding is one line of a check of a configuration.
type Finding struct {
	Level  Level  `json:"level"`
	What   string `json:"what"`
	Detail string `json:"detail"`
}

// ShowPosture returns how far the running configuration is from the defaults.
func (o *Operations) ShowPosture(context.Context, Actor, struct{}) ([]Finding, error) {
	if o.Posture == nil {
		return nil, nil
	}
	return o.Posture(), nil
}
