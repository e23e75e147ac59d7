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
	if err := l.replaySegments(segments, &last); err != nil {
		return err
	}
	if l.chain.Size < last.Size {
		return fmt.Errorf("record %d is missing: the last checkpoint covers %d records", l.chain.Size+1, last.Size)
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

func (l *Log) replaySegments(segments []uint64, last *audit.Checkpoint) error {
	start := 0
	for i, first := range segments {
		if first <= l.chain.Size+1 {
			start = i
		}
	}
	for i := start; i < len(segments); i++ {
		first := segments[i]
		if i > start && first != l.chain.Size+1 || i == start && first > l.chain.Size+1 {
			return fmt.Errorf("record %d is missing: the next segment begins with %d", l.chain.Size+1, first)
		}
		path := fileOf(l.cfg.Dir, first, segmentEnd)
		end, torn, err := eachLine(path, 0, l.replayLine(first, last))
		if err != nil {
			return err
		}
		if torn > 0 && i < len(segments)-1 {
			return fmt.Errorf("record %d is incomplete, and records follow it", l.chain.Size+1)
		}
		l.seg.size = end
		if torn > 0 {
			l.recovered = &Recovery{File: filepath.Base(path), Bytes: torn, Next: l.chain.Size + 1}
		}
	}
	return nil
}

// replayLine returns what is done with each line of a segment: those the tree holds already are only counted.
func (l *Log) replayLine(first uint64, last *audit.Checkpoint) func([]byte) error {
	position := first
	return func(line []byte) error {
		defer func() { position++ }()
		if position <= l.chain.Size {
			if seq, _, err := audit.ParseLine(line); err != nil || seq != position {
				return fmt.Errorf("record %d is damaged or missing", position)
			}
			return nil
		}
		leaf, err := l.chain.Next(line)
		if err != nil {
			return err
		}
		if _, err := audit.Decode(line); err != nil {
			return fmt.Errorf("record %d: %w", position, err)
		}
		l.store.add(l.tree.Add(leaf))
		if len(l.store.pending) > maxPending {
			if err := l.store.flush(); err != nil {
				return err
			}
		}
		return l.compare(last)
	}
}
