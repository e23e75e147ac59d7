package auditlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// Recovery is what Open cut off the last segment: the beginning of a record that was never acknowledged.
type Recovery struct {
	File  string // name of the segment
	Bytes int64  // cut off
	Next  uint64 // the number the cut record would have had
}

// Open opens the log in cfg.Dir or begins one. It reads the records since the last checkpoint, checks that they continue
// the chain, and completes the tree. An incomplete last line is cut off (Recovered); anything else that is not as it
// was written is an error that names the record, and no record is changed: move the directory away to begin a new log,
// and verify the old one.
func Open(cfg Config) (*Log, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, dirMode); err != nil {
		return nil, fmt.Errorf("making audit log directory: %w", err)
	}
	writer, err := readWriter(cfg.Dir, cfg.Writer)
	if err != nil {
		return nil, err
	}
	l := &Log{cfg: cfg, tree: new(audit.Tree)}
	l.space = newSpace(cfg.MaxSize)
	l.cp.dirty, l.cp.quit, l.cp.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	if l.signer, err = audit.NewSigner(audit.OriginPrefix+writer, cfg.Key); err != nil {
		return nil, err
	}
	if err := l.publishKey(); err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		l.abandon()
		return nil, err
	}
	if err := l.checkpoint(); err != nil { // the first of a new log, or one over what followed the last
		l.abandon()
		return nil, err
	}
	l.cp.quiet = l.print()
	if err := l.measure(); err != nil {
		l.abandon()
		return nil, err
	}
	go l.checkpointLoop()
	l.packer.start(l)
	return l, nil
}

func (c *Config) complete() error {
	if c.Dir == "" || len(c.Key) == 0 {
		return errors.New("opening audit log: directory or key missing")
	}
	if c.CheckpointEvery < 0 || c.PrintEvery < 0 || c.SegmentSize < 0 || c.MaxSize < 0 {
		return errors.New("opening audit log: negative interval or size")
	}
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = time.Second
	}
	if c.PrintEvery == 0 {
		c.PrintEvery = 10 * time.Second
	}
	if c.SegmentSize == 0 {
		c.SegmentSize = segmentSize(c.MaxSize)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.OpenFile == nil {
		c.OpenFile = OpenFile
	}
	return nil
}

// publishKey writes the public key beside the log, or checks that it is still the same.
func (l *Log) publishKey() error {
	text, err := audit.PublicKeyText(l.signer.Name(), l.cfg.Key)
	if err != nil {
		return err
	}
	path := filepath.Join(l.cfg.Dir, publicKeyName)
	err = writeNew(path, []byte(text+"\n"))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading checkpoint public key: %w", err)
	}
	if string(bytes.TrimSpace(old)) != text {
		return fmt.Errorf("opening audit log: %s was begun with another checkpoint key", l.cfg.Dir)
	}
	return nil
}

// abandon closes what a failed Open opened.
func (l *Log) abandon() {
	for _, f := range []File{l.seg.file, l.store.file, l.cp.file} {
		if f != nil {
			_ = f.Close() // the error that matters is already on its way
		}
	}
}

// load brings the log to the state the files say.
func (l *Log) load() error {
	last, err := l.lastCheckpoint()
	if err != nil {
		return err
	}
	segments, err := listSegments(l.cfg.Dir)
	if err != nil {
		return err
	}
	path := filepath.Join(l.cfg.Dir, treeName)
	if l.store.file, err = l.cfg.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode); err != nil {
		return fmt.Errorf("opening audit tree: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("opening audit tree: %w", err)
	}
	if err := l.signed(segments, info.Size()); err != nil {
		return err
	}
	if err := l.replay(segments, last, leafCount(info.Size())); err != nil {
		return fmt.Errorf("opening audit log: %w", err)
	}
	l.next.Store(l.chain.Size + 1)
	return l.openSegment(segments)
}

// signed refuses a log that holds records or hashes but no checkpoint. The first checkpoint is older than the first record,
// so somebody took them away; going on would put our signature under whatever the records say now.
func (l *Log) signed(segments []uint64, tree int64) error {
	if l.cp.last != nil {
		return nil
	}
	held := tree
	for _, first := range segments {
		info, err := os.Stat(fileOf(l.cfg.Dir, first, segmentEnd))
		if err != nil {
			return fmt.Errorf("opening audit log: %w", err)
		}
		held += info.Size()
	}
	if held > 0 {
		return fmt.Errorf("opening audit log: it holds records and no checkpoint")
	}
	return nil
}

// lastCheckpoint returns the newest stored checkpoint, an empty one if there is none, and cuts a torn one off.
func (l *Log) lastCheckpoint() (audit.Checkpoint, error) {
	firsts, err := list(l.cfg.Dir, checkpointEnd)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	key, err := audit.PublicKeyText(l.signer.Name(), l.cfg.Key)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	verifier, err := audit.ParsePublicKey(key)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	for i := len(firsts) - 1; i >= 0; i-- {
		path := fileOf(l.cfg.Dir, firsts[i], checkpointEnd)
		var line []byte
		end, torn, err := eachLine(path, func(b []byte) error { line = append(line[:0], b...); return nil })
		if err != nil {
			return audit.Checkpoint{}, err
		}
		if torn > 0 {
			if err := os.Truncate(path, end); err != nil {
				return audit.Checkpoint{}, fmt.Errorf("cutting torn checkpoint: %w", err)
			}
		}
		if line == nil {
			continue
		}
		c, err := audit.ParseCheckpoint(line)
		if err == nil {
			err = c.Verify(verifier)
		}
		if err != nil {
			return audit.Checkpoint{}, fmt.Errorf("opening audit log: last checkpoint in %s: %w", filepath.Base(path), err)
		}
		l.cp.last = &c
		return c, nil
	}
	return audit.Checkpoint{}, nil
}

// openSegment opens the last segment for writing, or makes the first.
func (l *Log) openSegment(segments []uint64) error {
	l.seg.day = day(l.cfg.Now())
	if len(segments) == 0 {
		l.seg.first = 1
		file, err := l.create(1)
		l.seg.file = file
		return err
	}
	l.seg.first = segments[len(segments)-1]
	path := fileOf(l.cfg.Dir, l.seg.first, segmentEnd)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && l.recovered == nil {
		l.seg.first, l.seg.size = l.chain.Size+1, 0 // the last one is compressed, so it takes no more
		file, err := l.create(l.seg.first)
		l.seg.file = file
		return err
	}
	file, err := l.cfg.OpenFile(path, os.O_RDWR, fileMode)
	if err != nil {
		return fmt.Errorf("opening audit segment: %w", err)
	}
	l.seg.file = file
	if first, _, err := timeRange(l.cfg.Dir, l.seg.first); err == nil && l.seg.size > 0 {
		l.seg.day = day(first)
	}
	if l.recovered == nil {
		return nil
	}
	if err := file.Truncate(l.seg.size); err != nil {
		return fmt.Errorf("cutting torn record: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("cutting torn record: %w", err)
	}
	return nil
}
