package auditlog

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport-mcp/sallyport/audit"
)

// Config says where the log lies and how it is signed.
type Config struct {
	// Dir is the directory, made 0700 if it does not exist. Required. Nobody else may write in it.
	Dir string
	// Writer identifies the log in its checkpoints: 1 to 64 lower-case letters, digits and hyphens. Empty: made at
	// random at first start and kept in Dir. It must not change afterwards.
	Writer string
	// Key signs the checkpoints. Who loses it cannot go on with its log; who steals it can forge
	// whatever no checkpoint elsewhere holds. Required; it must not change during the life of the log.
	Key ed25519.PrivateKey
	// CheckpointEvery is the time from an event to the checkpoint that covers it. 0: 1 s.
	CheckpointEvery time.Duration
	// PrintEvery is the shortest time between two checkpoints in the process log. 0: 10 s.
	PrintEvery time.Duration
	// SegmentSize is how many bytes a segment file holds. 0: 64 MiB, or less for a small MaxSize.
	SegmentSize int64
	// KeepPlain leaves closed segments as they are. False: they are compressed in the background.
	KeepPlain bool
	// MaxSize is how many bytes the records may take, their hashes not counted (64 bytes a record). At MaxSize it is for
	// the caller to make room (Levels, Oldest, DeleteThrough). 0: no bound.
	MaxSize int64
	// Refuse keeps out calls at MaxSize (Room) until there is room again. False: Append goes on for a tenth of MaxSize
	// more while the caller deletes. Beyond that nothing is taken, in either case.
	Refuse bool
	// Now is the clock: for the day that ends a segment and the time of a checkpoint. Nil: time.Now.
	Now func() time.Time
	// Logger is the process log. Nil: slog.Default().
	Logger *slog.Logger
	// OpenFile opens the files that are written. Nil: OpenFile of this package.
	OpenFile func(name string, flag int, perm fs.FileMode) (File, error)
}

// Log is an audit.Log in segment files. Its methods may be called from many goroutines; Append calls follow each other.
type Log struct {
	cfg       Config
	signer    note.Signer
	recovered *Recovery
	next      atomic.Uint64 // chain.Size+1, readable while Append waits for the disk

	mu     sync.Mutex // held during Append, so nothing that must not wait for the disk may take it
	seg    segment
	chain  audit.Chain
	tree   *audit.Tree
	store  treeStore
	broken bool // the segment may hold more than it should: repair before the next append
	stuck  bool // the reserve beyond MaxSize was used up
	ended  bool
	buf    []byte       // reused by Append
	leaves []audit.Hash // reused by Append

	closed sync.Mutex // held while closed segments are compressed, deleted or looked through; taken before mu
	packer packer
	space  space

	cp checkpoints
}

// segment is the file being written.
type segment struct {
	file  File
	first uint64 // number of its first record
	size  int64  // bytes that count
	day   int64  // UTC days since 1970 when it was begun
}

var _ audit.Log = (*Log)(nil)

// NextSeq returns the number the next record will have. It never waits.
func (l *Log) NextSeq() uint64 { return l.next.Load() }

// Recovered says what Open had to cut off, nil if nothing. The caller records it as log_recovered.
func (l *Log) Recovered() *Recovery { return l.recovered }

// Origin returns the origin of the log's checkpoints, which names its public key too.
func (l *Log) Origin() string { return l.signer.Name() }

// Append implements audit.Log: it writes all lines with one write and one sync. If either fails, the file is cut back to
// what it held; if that fails too, the next Append does it first.
func (l *Log) Append(events []*audit.Event, lines [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(events, lines); err != nil {
		return err
	}
	chain := l.frame(lines)
	if err := l.rotate(int64(len(l.buf))); err != nil {
		return err
	}
	if err := l.fits(events, int64(len(l.buf))); err != nil {
		return err
	}
	if err := l.write(); err != nil {
		l.broken = true
		if rerr := l.repair(); rerr != nil {
			return errors.Join(err, rerr)
		}
		return err
	}
	l.commit(chain)
	return nil
}

func (l *Log) ready(events []*audit.Event, lines [][]byte) error {
	if l.ended {
		return errors.New("appending to audit log: it is closed")
	}
	if len(events) != len(lines) {
		return fmt.Errorf("appending to audit log: %d events, %d lines", len(events), len(lines))
	}
	for i, e := range events {
		if want := l.chain.Size + 1 + uint64(i); e.Seq != want {
			return fmt.Errorf("appending to audit log: event has number %d, expected %d", e.Seq, want)
		}
	}
	if len(l.store.pending) > maxPending {
		if err := l.store.flush(); err != nil {
			return err
		}
	}
	if l.broken {
		return l.repair()
	}
	return nil
}

// frame writes the lines as they will be kept into buf, their hashes into leaves, and returns the chain after them.
func (l *Log) frame(lines [][]byte) audit.Chain {
	const keep = 4 << 20
	if cap(l.buf) > keep {
		l.buf = nil
	}
	l.buf, l.leaves = l.buf[:0], l.leaves[:0]
	chain := l.chain
	for _, line := range lines {
		start := len(l.buf)
		l.buf = audit.AppendLine(l.buf, chain.Size+1, chain.Last, line)
		chain.Last = audit.LeafHash(l.buf[start:])
		chain.Size++
		l.leaves = append(l.leaves, chain.Last)
		l.buf = append(l.buf, '\n')
	}
	return chain
}

func (l *Log) write() error {
	n, err := l.seg.file.WriteAt(l.buf, l.seg.size)
	if err == nil && n < len(l.buf) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = l.seg.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("appending to audit log: %w", err)
	}
	return nil
}

// commit takes what is durable now into memory, and into the tree file as far as that can be written.
func (l *Log) commit(chain audit.Chain) {
	l.seg.size += int64(len(l.buf))
	l.chain = chain
	for _, leaf := range l.leaves {
		l.store.add(l.tree.Add(leaf))
	}
	l.next.Store(chain.Size + 1)
	l.space.set(&l.space.current, l.seg.size)
	_ = l.store.flush() // what cannot be written stays pending; the checkpoint reports it
	l.cp.changed()
}

// repair opens the segment anew, since a failed write or sync may have left the descriptor unusable, and cuts off what
// was not acknowledged.
func (l *Log) repair() error {
	_ = l.seg.file.Close() // nothing in it counts that was not synced
	file, err := l.cfg.OpenFile(fileOf(l.cfg.Dir, l.seg.first, segmentEnd), os.O_RDWR, fileMode)
	if err != nil {
		return fmt.Errorf("repairing audit log: %w", err)
	}
	l.seg.file = file
	if err := file.Truncate(l.seg.size); err != nil {
		return fmt.Errorf("repairing audit log: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("repairing audit log: %w", err)
	}
	if err := l.probe(); err != nil {
		return fmt.Errorf("repairing audit log: %w", err)
	}
	l.broken = false
	return nil
}

// rotate begins a new segment if the current one has records and is of an earlier day or has no room for more bytes.
func (l *Log) rotate(more int64) error {
	today := day(l.cfg.Now())
	if l.seg.size == 0 || (l.seg.size+more <= l.cfg.SegmentSize && today <= l.seg.day) {
		return nil
	}
	next := segment{first: l.chain.Size + 1, day: today}
	file, err := l.create(next.first)
	if err != nil {
		return err
	}
	next.file = file
	_ = l.seg.file.Close() // everything in it is synced
	l.space.add(l.seg.size)
	l.seg = next
	l.packer.wake()
	return nil
}

// create makes an empty segment whose name is durable.
func (l *Log) create(first uint64) (File, error) {
	path := fileOf(l.cfg.Dir, first, segmentEnd)
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		return nil, fmt.Errorf("beginning audit segment %d: the file exists and is not empty", first)
	}
	file, err := l.cfg.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("beginning audit segment %d: %w", first, err)
	}
	if err := syncDir(l.cfg.Dir); err != nil {
		_ = file.Close() // empty, and opened again by the next attempt
		return nil, fmt.Errorf("beginning audit segment %d: %w", first, err)
	}
	return file, nil
}

func day(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

// Close signs a last checkpoint, ends the signing goroutine and closes the files. The Recorder must be closed before.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return nil
	}
	l.ended = true
	l.mu.Unlock()
	l.packer.stop()
	err := l.stopCheckpoints()
	for _, f := range []File{l.seg.file, l.store.file} {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("closing audit log: %w", cerr)
		}
	}
	return err
}
