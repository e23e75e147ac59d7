package auditlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Expired returns the number of the last record of the newest closed segment of which, as of all before it, every
// record is older than before; 0 if there is none. The caller records audit.RecordsDeletedEvent of it, durably, and then
// calls DeleteThrough.
func (l *Log) Expired(before time.Time) (through uint64, err error) {
	l.closed.Lock()
	defer l.closed.Unlock()
	segments, err := l.closedSegments()
	if err != nil {
		return 0, err
	}
	for i := 0; i+1 < len(segments); i++ {
		_, newest, err := timeRange(l.cfg.Dir, segments[i])
		if err != nil {
			return 0, err
		}
		if !newest.Add(clockSlack).Before(before) {
			break
		}
		through = segments[i+1] - 1
	}
	return through, nil
}

// DeleteThrough deletes the segments whose records all have numbers up to through, and thins their checkpoints to the
// last one of each. Leaf hashes stay. The segment being written is never deleted. The record that says so must be in the
// log already: Verify takes bodies missing without it for damage.
func (l *Log) DeleteThrough(through uint64) error {
	l.closed.Lock()
	defer l.closed.Unlock()
	segments, err := l.closedSegments()
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(segments) && segments[i+1] <= through+1; i++ { // oldest first: what is left has no hole
		if err := thinCheckpoints(l.cfg.Dir, segments[i]); err != nil {
			return err
		}
		for _, end := range []string{packedEnd, segmentEnd} { // the plain one, which readers prefer, last
			if err := os.Remove(fileOf(l.cfg.Dir, segments[i], end)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("deleting audit segment: %w", err)
			}
		}
	}
	if err := syncDir(l.cfg.Dir); err != nil {
		return err
	}
	return l.measure()
}

// closedSegments returns the closed segments and, last, the one being written.
func (l *Log) closedSegments() ([]uint64, error) {
	l.mu.Lock()
	current := l.seg.first
	l.mu.Unlock()
	segments, err := listSegments(l.cfg.Dir)
	if err != nil {
		return nil, err
	}
	for i, first := range segments {
		if first == current {
			return segments[:i+1], nil
		}
	}
	return nil, fmt.Errorf("audit segment %d is missing", current)
}

// thinCheckpoints keeps only the last checkpoint of a closed segment.
func thinCheckpoints(dir string, first uint64) error {
	path := fileOf(dir, first, checkpointEnd)
	var last []byte
	_, _, err := eachLine(path, func(line []byte) error { last = append(last[:0], line...); return nil })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return replace(path, append(last, '\n'))
}

// Oldest returns the number of the last record of the newest closed segment that must go, with all before it, for the
// records to take at most want bytes; 0 if nothing must or can go. The caller records it as with Expired.
func (l *Log) Oldest(want int64) (through uint64, err error) {
	l.closed.Lock()
	defer l.closed.Unlock()
	segments, err := l.closedSegments()
	if err != nil {
		return 0, err
	}
	used := l.Used()
	for i := 0; i+1 < len(segments) && used > want; i++ {
		n, err := sizeOf(l.cfg.Dir, segments[i])
		if err != nil {
			return 0, err
		}
		used -= n
		through = segments[i+1] - 1
	}
	return through, nil
}
