package auditlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/sallyport-mcp/sallyport/audit"
)

// Level is how much of Config.MaxSize the records take.
type Level int32

// The levels.
const (
	LevelLow   Level = iota // below 80 %, or there is no bound
	LevelHigh               // from 80 %, until below 70 %
	LevelTight              // from 90 %: the rest is not for strangers
	LevelFull               // from 100 %, until below 95 %
)

// space counts the bytes of records. It is safe for concurrent use.
type space struct {
	max     int64         // 0: no bound
	closed  atomic.Int64  // of closed segments
	current atomic.Int64  // of the one being written
	level   atomic.Int32  // the Level of both
	changed chan struct{} // capacity 1: level is another
}

func newSpace(most int64) space { return space{max: most, changed: make(chan struct{}, 1)} }

// segmentSize is small enough for a log of bounded size to delete a small part of itself, and for compressing one segment
// to make little difference.
func segmentSize(most int64) int64 {
	const usual = 64 << 20
	if most == 0 {
		return usual
	}
	return min(usual, max(most/16, 1))
}

// set changes one of the two sizes and looks at the level. mu is held.
func (s *space) set(size *atomic.Int64, n int64) {
	size.Store(n)
	if s.max == 0 {
		return
	}
	before := Level(s.level.Load())
	level := levelOf(s.used(), s.max, before)
	s.level.Store(int32(level))
	if level != before {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
}

// levelOf leaves LevelFull below 95 % and LevelHigh below 70 %, so that compressing a segment, which makes room for its
// half, does not make it waver.
func levelOf(used, most int64, before Level) Level {
	percent := used / max(1, most/100)
	switch {
	case percent >= 100 || before == LevelFull && percent >= 95:
		return LevelFull
	case percent >= 90:
		return LevelTight
	case percent >= 80 || before >= LevelHigh && percent >= 70:
		return LevelHigh
	}
	return LevelLow
}

// add makes the current segment, of n bytes, a closed one.
func (s *space) add(n int64) {
	s.current.Store(0)
	s.set(&s.closed, s.closed.Load()+n)
}

func (s *space) used() int64 { return s.closed.Load() + s.current.Load() }

// Used returns how many bytes the records take on disk, their hashes not counted.
func (l *Log) Used() int64 { return l.space.used() }

// MaxSize returns the bound of Used; 0: there is none.
func (l *Log) MaxSize() int64 { return l.space.max }

// Level returns how much of MaxSize is taken.
func (l *Log) Level() Level { return Level(l.space.level.Load()) }

// Levels returns the channel that gets a value when Level has changed, at least once after every change.
func (l *Log) Levels() <-chan struct{} { return l.space.changed }

var _ audit.Rationer = (*Log)(nil)

// Room implements audit.Rationer.
func (l *Log) Room() audit.Room {
	switch level := l.Level(); {
	case level == LevelFull && l.cfg.Refuse:
		return audit.RoomFull
	case level >= LevelTight:
		return audit.RoomTight
	}
	return audit.RoomPlenty
}

// errFull means that not even the reserve beyond MaxSize is left.
var errFull = errors.New("the audit log has reached its largest size and its reserve is used up")

// fits refuses what goes beyond the reserve, a tenth of MaxSize on top of it, and then everything until the records are
// below MaxSize again. What says that records go is always taken.
func (l *Log) fits(events []*audit.Event, more int64) error {
	if l.space.max == 0 {
		return nil
	}
	used := l.space.used()
	if used+more <= l.space.max+l.space.max/10 && !(l.stuck && used >= l.space.max) {
		l.stuck = false
		return nil
	}
	if slices.ContainsFunc(events, func(e *audit.Event) bool { return e.Kind == audit.RecordsDeleted }) {
		return nil
	}
	l.stuck = true
	return errFull
}

// measure counts the closed segments anew.
func (l *Log) measure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	segments, err := listSegments(l.cfg.Dir)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, first := range segments {
		if first >= l.seg.first {
			break
		}
		n, err := sizeOf(l.cfg.Dir, first)
		if err != nil {
			return err
		}
		total += n
	}
	l.space.current.Store(l.seg.size)
	l.space.set(&l.space.closed, total)
	return nil
}

// sizeOf returns what a segment takes in all its forms.
func sizeOf(dir string, first uint64) (total int64, err error) {
	for _, end := range []string{segmentEnd, packedEnd} {
		info, err := os.Stat(fileOf(dir, first, end))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("measuring audit log: %w", err)
		}
		total += info.Size()
	}
	return total, nil
}

// probeSize must be free before a log that failed is said to work again: what is left of the last block of a full disk
// takes a short record and not the next.
const probeSize = 64 << 10

// probe writes and removes a file.
func (l *Log) probe() error {
	path := filepath.Join(l.cfg.Dir, "probe.tmp")
	file, err := l.cfg.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(make([]byte, probeSize), 0)
	if err == nil {
		err = file.Sync()
	}
	_ = file.Close()    // either it is synced, or err says more
	_ = os.Remove(path) // what stays is truncated next time
	return err
}
