package auditlog

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// checkpoints is the signing part of a Log. But for the channels it belongs to Open until the loop runs, then to the
// loop, then to Close.
type checkpoints struct {
	dirty chan struct{} // capacity 1: there are records no checkpoint covers
	quit  chan struct{} // closed by Close
	done  chan struct{} // closed when the loop has ended

	file    File // nil before the first one
	first   uint64
	size    int64 // bytes of file that count
	last    *audit.Checkpoint
	pending *audit.Checkpoint // signed and not yet printed
	quiet   bool              // one was printed less than PrintEvery ago
}

func (c *checkpoints) changed() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// checkpointLoop is started by Open and ended by Close.
func (l *Log) checkpointLoop() {
	defer close(l.cp.done)
	printable := time.NewTimer(l.cfg.PrintEvery)
	defer printable.Stop()
	var due <-chan time.Time
	for {
		dirty := l.cp.dirty
		if due != nil {
			dirty = nil
		}
		select {
		case <-l.cp.quit:
			return
		case <-dirty:
			due = time.After(l.cfg.CheckpointEvery)
		case <-due:
			due = nil
			if err := l.checkpoint(); err != nil {
				l.cfg.Logger.Error("audit: no checkpoint could be signed", "error", err)
				l.cp.changed() // try again
			}
		case <-printable.C:
			l.cp.quiet = false
		}
		if !l.cp.quiet && l.print() {
			l.cp.quiet = true
			printable.Reset(l.cfg.PrintEvery)
		}
	}
}

// stopCheckpoints ends the loop and signs and prints the last checkpoint.
func (l *Log) stopCheckpoints() error {
	close(l.cp.quit)
	<-l.cp.done
	err := l.checkpoint()
	l.print()
	if l.cp.file != nil {
		if cerr := l.cp.file.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("closing checkpoints: %w", cerr)
		}
	}
	return err
}

// checkpoint signs the log as it is now, unless the last checkpoint says the same. Everything it covers is durable
// before it is: the records since Append, the tree by the sync here.
func (l *Log) checkpoint() error {
	l.mu.Lock()
	size, root, first := l.tree.Size(), l.tree.Root(), l.seg.first
	err := l.store.flush()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if l.cp.last != nil && l.cp.last.Size == size {
		return nil
	}
	if err := l.store.file.Sync(); err != nil {
		return fmt.Errorf("syncing audit tree: %w", err)
	}
	c, err := audit.SignCheckpoint(size, root, l.cfg.Now(), l.signer)
	if err != nil {
		return err
	}
	if err := l.keep(&c, first); err != nil {
		return err
	}
	l.cp.last, l.cp.pending = &c, &c
	return nil
}

// keep appends a checkpoint to the file that belongs to a segment.
func (l *Log) keep(c *audit.Checkpoint, first uint64) error {
	if l.cp.file == nil || l.cp.first != first {
		if err := l.openCheckpoints(first); err != nil {
			return err
		}
	}
	line := []byte(c.Line() + "\n")
	n, err := l.cp.file.WriteAt(line, l.cp.size)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = l.cp.file.Sync()
	}
	if err != nil {
		_ = l.cp.file.Truncate(l.cp.size) // if it fails: the next, which is not shorter, is written over it
		return fmt.Errorf("writing checkpoint: %w", err)
	}
	l.cp.size += int64(n)
	return nil
}

func (l *Log) openCheckpoints(first uint64) error {
	path := fileOf(l.cfg.Dir, first, checkpointEnd)
	size := int64(0)
	if info, err := os.Stat(path); err == nil {
		size = info.Size() // Open cut off what was torn
	}
	file, err := l.cfg.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return fmt.Errorf("opening checkpoints: %w", err)
	}
	if err := syncDir(l.cfg.Dir); err != nil {
		_ = file.Close() // nothing was written
		return err
	}
	if l.cp.file != nil {
		_ = l.cp.file.Close() // everything in it is synced
	}
	l.cp.file, l.cp.first, l.cp.size = file, first, size
	return nil
}

// print writes the newest checkpoint to the process log, if it is not there yet.
func (l *Log) print() bool {
	if l.cp.pending == nil {
		return false
	}
	l.cfg.Logger.Info("audit checkpoint", "checkpoint", l.cp.pending.Line())
	l.cp.pending = nil
	return true
}
