package auditlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// pollEvery is how often a follower looks for new records.
const pollEvery = 200 * time.Millisecond

// Tail calls f with every event from number fromSeq on (0: from the oldest kept), in order and each once, and then with
// new ones as they come, until ctx ends or f returns an error, which is returned. It never hands out an incomplete line.
// In the moment of a failing disk it can hand out a record that the writer then takes back.
func Tail(ctx context.Context, dir string, fromSeq uint64, f func(*audit.Event) error) error {
	t := follower{dir: dir, next: fromSeq, f: f}
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		if err := t.poll(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

type follower struct {
	dir    string
	next   uint64 // the record wanted next; 0 before the first
	first  uint64 // the segment being read, 0 before the first
	offset int64  // where to go on in it
	f      func(*audit.Event) error
}

// poll hands out what is there. A segment is left only when the next one begins where this one ends.
func (t *follower) poll(ctx context.Context) error {
	segments, err := listSegments(t.dir)
	if err != nil {
		return err
	}
	for i, first := range segments {
		if i+1 < len(segments) && segments[i+1] <= max(t.next, 1) {
			continue
		}
		if first != t.first {
			t.first, t.offset = first, 0
		}
		if err := t.read(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *follower) read(ctx context.Context) error {
	start := t.offset
	end, _, err := eachRecord(t.dir, t.first, start, func(line []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return t.line(line)
	})
	if errors.Is(err, errMoved) && start > 0 {
		t.offset = 0 // the writer took back what we had read: find the place again
		return nil
	}
	if gone(t.dir, t.first, err) {
		return nil // deleted by retention since it was listed
	}
	if err != nil {
		return err
	}
	t.offset = end
	return nil
}

var errMoved = errors.New("audit log changed while it was read")

func (t *follower) line(line []byte) error {
	seq, _, err := audit.ParseLine(line)
	if err != nil || t.next > 0 && seq > t.next && t.offset > 0 {
		return fmt.Errorf("%s at record %d: %w", fileOf(t.dir, t.first, segmentEnd), t.next, errMoved)
	}
	if seq < t.next {
		return nil
	}
	e, err := audit.Decode(line)
	if err != nil {
		return fmt.Errorf("%s: %w", fileOf(t.dir, t.first, segmentEnd), err)
	}
	t.next = seq + 1
	return t.f(&e)
}
