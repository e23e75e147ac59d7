package report

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrRange is wrapped by errors that the asker of a report made: they may be told to him as they are.
var ErrRange = errors.New("invalid time range")

// ranges are the named ranges, shortest first.
var ranges = [...]struct {
	name   string
	length time.Duration
}{{"1h", time.Hour}, {"24h", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}, {"30d", 30 * 24 * time.Hour}}

// Range is a span of time, From <= t < To. Make one with ParseRange or Between.
type Range struct {
	From, To time.Time
	Name     string // what it was asked for by; empty for other spans
}

// Ranges returns the names that ParseRange knows, shortest first.
func Ranges() []string {
	names := make([]string, len(ranges))
	for i, r := range ranges {
		names[i] = r.name
	}
	return names
}

// ParseRange returns the named range that ends now: 1h, 24h, 7d or 30d; empty is 24h. Anything else is an error that
// lists the names: a report over another range than the asker meant would mislead.
func ParseRange(s string, now time.Time) (Range, error) {
	if s == "" {
		s = "24h"
	}
	for _, r := range ranges {
		if r.name == s {
			return Range{From: now.Add(-r.length), To: now, Name: r.name}, nil
		}
	}
	return Range{}, fmt.Errorf("%w: %q is not one of %s", ErrRange, escape(s, maxText), strings.Join(Ranges(), ", "))
}

// Between returns the range from <= t < to, which must not be empty.
func Between(from, to time.Time) (Range, error) {
	if !from.Before(to) {
		return Range{}, fmt.Errorf("%w: it must end after it begins", ErrRange)
	}
	return Range{From: from, To: to}, nil
}

func (r Range) timeRange() TimeRange {
	t := TimeRange{Start: r.From.UTC(), End: r.To.UTC(), Duration: r.Name}
	if t.Duration == "" {
		t.Duration = r.To.Sub(r.From).String()
	}
	return t
}
