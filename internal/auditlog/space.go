package auditlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/sallyport-mcp/sallyport/audit"
)

// Level is how much of Config.MaxSize the records take.
type Level int32

// The levels.
const (
	LevelLow   Level = iota // below 80 %, or there is no bound
	LevelHigh               // from 80 %
	LevelTight              // from 90 %: the rest is not for strangers
	LevelFull               // from 100 %
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

// segmentSize is small enough for a log of bounded size to delete a small part of itself.
func segmentSize(most int64) int64 {
	const usual = 64 << 20
	if most == 0 {
		return usual
	}
	return min(usual, max(most/10, 64<<10))
}

// set changes one of the two sizes and looks at the level.
func (s *space) set(size *atomic.Int64, n int64) {
	size.Store(n)
	if s.max == 0 {
		return
	}
	level := LevelLow
	switch used := s.used(); {
	case used >= s.max:
		level = LevelFull
	case used >= s.max/10*9:
		level = LevelTight
	case used >= s.max/10*8:
		level = LevelHigh
	}
	if s.level.Swap(int32(level)) != int32(level) {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
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

// fits refuses what goes beyond the reserve, a tenth of MaxSize on top of it.
func (l *Log) fits(more int64) error {
	if l.space.max > 0 && l.space.used()+more > l.space.max+l.space.max/10 {
		return errFull
	}
	return nil
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
