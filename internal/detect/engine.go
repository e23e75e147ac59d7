// Package detect finds patterns in events as they are recorded, and says so in alerts. For most uses make an Engine and
// hand its Observe to the recorder.
//
// It looks at nothing but events, and answers nothing: blocking or telling somebody is up to whoever gets the alert.
// Only counts within a sliding window are known to it, a row in the table of rules each.
//
// Its invariant: an alert is raised by exactly the occurrence that completes its threshold, once per key and window.
package detect

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// Config is what an Engine can be told. The zero value of every field means the default its comment states.
type Config struct {
	// Thresholds tune the rules.
	Thresholds Thresholds
	// MaxKeys is how many keys each rule remembers; at the bound the one that was idle for the longest is forgotten.
	// Attackers choose keys. 0: 65,536.
	MaxKeys int
	// Raise is told of each alert that Observe returns, in the same goroutine, holding no lock. It may call
	// (*audit.Recorder).Note. Nil: nobody is told.
	Raise func(Alert)
	// Now is the clock for events without a time. Nil: time.Now.
	Now func() time.Time
}

// Engine applies the rules to events. It is safe for concurrent use.
type Engine struct {
	tables []*table
	raise  func(Alert)
	now    func() time.Time
}

// New checks the configuration and returns an Engine that has seen nothing.
func New(c Config) (*Engine, error) {
	if c.MaxKeys == 0 {
		c.MaxKeys = 65_536
	}
	if c.MaxKeys < 0 {
		return nil, errors.New("detection: MaxKeys is negative")
	}
	if c.Raise == nil {
		c.Raise = func(Alert) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	e := &Engine{raise: c.Raise, now: c.Now}
	for _, r := range rules(c.Thresholds) {
		if err := r.threshold.validate(); err != nil {
			return nil, fmt.Errorf("detection rule %s: %w", r.name, err)
		}
		e.tables = append(e.tables, &table{rule: r, max: c.MaxKeys, entries: map[key]*entry{}})
	}
	return e, nil
}

// Observe counts an event and returns the alerts that it completes. Kinds that no rule counts cost no lock and no
// allocation. A client's automatic repetition is not counted; a folded record counts as often as it says, at its
// first and last time. The event is not kept and not changed.
func (e *Engine) Observe(ev *audit.Event) []Alert {
	var alerts []Alert
	for _, t := range e.tables {
		if t.rule.kind != ev.Kind || ev.Repeat {
			continue
		}
		k := t.rule.key(ev)
		if k == (key{}) {
			continue
		}
		at := ev.Time
		if at.IsZero() {
			at = e.now()
		}
		if evidence := t.count(k, ev, at); evidence != nil {
			alerts = append(alerts, t.alert(k, ev, at, evidence))
		}
	}
	for _, a := range alerts {
		e.raise(a)
	}
	return alerts
}

// alert writes the alert for a key. Times of the evidence are those of the table's clock, so they are told relative to
// the completing event.
func (t *table) alert(k key, ev *audit.Event, at time.Time, evidence []hit) Alert {
	last := evidence[len(evidence)-1].at
	a := Alert{
		ID: rand.Text(), Name: t.rule.alert, Rule: t.rule.name, Key: k.String(), Timestamp: at.UTC(), Severity: t.rule.severity,
		RequiresAction: t.rule.severity == High,
		Context: Context{
			Count: len(evidence), Window: t.rule.threshold.Window.String(),
			First: at.Add(evidence[0].at - last).UTC(), Last: at.UTC(), Evidence: []uint64{},
		},
	}
	if k.sort == byPrincipal {
		a.UserID = ev.Principal.Name
		if a.UserID == "" {
			a.UserID = ev.Principal.Subject
		}
	}
	if ev.IP.IsValid() {
		a.Context.Address = ev.IP.Unmap().WithZone("").String()
	}
	for _, h := range evidence {
		if h.seq != 0 && !slices.Contains(a.Context.Evidence[max(0, len(a.Context.Evidence)-1):], h.seq) {
			a.Context.Evidence = append(a.Context.Evidence, h.seq)
		}
	}
	return a
}

// table holds the windows of one rule: a map, and a ring through its entries in order of use.
type table struct {
	rule rule
	max  int

	mu      sync.Mutex
	clock   clock          // guarded by mu
	entries map[key]*entry // guarded by mu
	used    entry          // guarded by mu; its next was used last, its prev was idle for the longest
}

type entry struct {
	key        key
	window     window
	episode    episode
	at         time.Duration // of the latest event
	next, prev *entry
}

// count counts the event for a key and returns the evidence when the threshold is complete.
func (t *table) count(k key, ev *audit.Event, last time.Time) []hit {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := last
	if n := ev.Occurrences(); n > 1 && !ev.First.IsZero() && ev.First.Before(last) {
		first = ev.First
	}
	to := t.clock.at(last)
	from := to - last.Sub(first)
	e := t.entry(k, to)
	if t.rule.episodes {
		return t.refusals(e, ev, from, to)
	}
	return t.occurrences(e, ev, from, to)
}

// occurrences counts the first of a folded record at its first time and all others at its last. More than a threshold
// twice over cannot change anything: the window fires at most once for them, and then holds no more.
func (t *table) occurrences(e *entry, ev *audit.Event, from, to time.Duration) (evidence []hit) {
	for i := range min(ev.Occurrences(), 2*t.rule.threshold.Count) {
		h := hit{to, ev.Seq}
		if i == 0 {
			h.at = from
		}
		if found := e.window.add(h, t.rule.threshold); found != nil {
			evidence = found
		}
	}
	return evidence
}

// refusals counts the episodes in a record. A folded one is a run of refusals without a pause from its first to its
// last time, of which no more is looked at than could matter.
func (t *table) refusals(e *entry, ev *audit.Event, from, to time.Duration) (evidence []hit) {
	from = max(from, to-2*episodeLength*time.Duration(t.rule.threshold.Count))
	for at := from; ; at = min(at+episodeLength/2, to) {
		if e.episode.refused(at) {
			if found := e.window.add(hit{at, ev.Seq}, t.rule.threshold); found != nil {
				evidence = found
			}
		}
		if at >= to {
			return evidence
		}
	}
}

// entry returns the entry of k, as the one used last, and forgets others: those idle for so long that they hold
// nothing, two at a time, and at the bound the one that was idle for the longest.
func (t *table) entry(k key, at time.Duration) *entry {
	if t.used.next == nil {
		t.used.next, t.used.prev = &t.used, &t.used
	}
	e := t.entries[k]
	if e == nil {
		for range 2 {
			if old := t.used.prev; old != &t.used && at-old.at > t.rule.threshold.Window+episodeLength+disorder {
				t.forget(old)
			}
		}
		if len(t.entries) >= t.max {
			t.forget(t.used.prev)
		}
		e = &entry{key: k}
		t.entries[k] = e
	} else {
		e.prev.next, e.next.prev = e.next, e.prev
	}
	e.at = max(e.at, at)
	e.prev, e.next = &t.used, t.used.next
	e.prev.next, e.next.prev = e, e
	return e
}

func (t *table) forget(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	delete(t.entries, e.key)
}
