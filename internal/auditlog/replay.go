package auditlog

import (
	"fmt"
	"path/filepath"

	"github.com/sallyport-mcp/sallyport/audit"
)

// replay continues the tree of the last checkpoint with the records after it. leaves is how many leaves the tree file
// holds; if that is fewer than the checkpoint covers, the missing ones are computed from the records again. Hashes in
// the tree file that no checkpoint covers were perhaps never synced: they are replaced, once all is known to be well.
func (l *Log) replay(segments []uint64, last audit.Checkpoint, leaves uint64) error {
	from := min(leaves, last.Size)
	tree, hash, err := readTree(l.store.file, from)
	if err != nil {
		return err
	}
	l.tree, l.chain = tree, audit.Chain{Size: from, Last: hash}
	l.store.begin(from)
	if err := l.compare(&last); err != nil {
		return err
	}
	r := replayer{log: l, last: &last, next: 1}
	if err := r.segments(segments); err != nil {
		return err
	}
	if r.next <= max(from, last.Size) {
		return fmt.Errorf("record %d is missing: the last checkpoint covers %d records", r.next, last.Size)
	}
	return l.store.cut()
}

// compare checks the tree against the checkpoint when it has its size.
func (l *Log) compare(last *audit.Checkpoint) error {
	if last.Origin == "" || l.tree.Size() != last.Size || l.tree.Root() == last.Root {
		return nil
	}
	return fmt.Errorf("records up to %d do not have the tree that the last checkpoint signed", last.Size)
}

// replayer goes through the records from the segment on in which the tree ends.
type replayer struct {
	log  *Log
	last *audit.Checkpoint
	next uint64 // the number the next line must have
}

func (r *replayer) segments(segments []uint64) error {
	start := 0
	for i, first := range segments {
		if first <= r.log.chain.Size+1 {
			start, r.next = i, first
		}
	}
	for i := start; i < len(segments); i++ {
		if segments[i] != r.next {
			return fmt.Errorf("record %d is missing: the next segment begins with %d", r.next, segments[i])
		}
		end, torn, err := eachRecord(r.log.cfg.Dir, segments[i], 0, r.line)
		if err != nil {
			return err
		}
		if torn > 0 && i < len(segments)-1 {
			return fmt.Errorf("record %d is incomplete, and records follow it", r.next)
		}
		r.log.seg.size = end
		if torn > 0 {
			r.log.recovered = &Recovery{File: filepath.Base(fileOf(r.log.cfg.Dir, segments[i], segmentEnd)), Bytes: torn, Next: r.next}
		}
	}
	return nil
}

// line takes the next line. Of a record that the tree holds already only the number is looked at.
func (r *replayer) line(line []byte) error {
	l := r.log
	if r.next <= l.chain.Size {
		if seq, _, err := audit.ParseLine(line); err != nil || seq != r.next {
			return fmt.Errorf("record %d is damaged or missing", r.next)
		}
		r.next++
		return nil
	}
	leaf, err := l.chain.Next(line)
	if err != nil {
		return err
	}
	if _, err := audit.Decode(line); err != nil {
		return fmt.Errorf("record %d: %w", r.next, err)
	}
	r.next++
	l.store.add(l.tree.Add(leaf))
	if len(l.store.pending) > maxPending {
		if err := l.store.flush(); err != nil {
			return err
		}
	}
	return l.compare(r.last)
}
