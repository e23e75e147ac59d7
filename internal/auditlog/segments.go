package auditlog

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// packedEnd is the ending of a closed segment that was compressed with gzip (RFC 1952). The time in its header is that
// of its last record, rounded up to the second.
const packedEnd = segmentEnd + ".gz"

// errDamaged means that a compressed segment is not as it was written.
var errDamaged = errors.New("compressed segment is damaged")

// listSegments returns the first numbers of all segments, in whichever form, ascending.
func listSegments(dir string) ([]uint64, error) {
	plain, err := list(dir, segmentEnd)
	if err != nil {
		return nil, err
	}
	packed, err := list(dir, packedEnd)
	if err != nil {
		return nil, err
	}
	all := append(plain, packed...)
	slices.Sort(all)
	return slices.Compact(all), nil
}

// segmentReader reads the lines of a segment in whichever form it has. Where both are there, a crash came between
// compressing and deleting, and the plain one is read.
type segmentReader struct {
	file *os.File
	gzip *gzip.Reader // nil: plain
	in   io.Reader
}

func openSegmentReader(dir string, first uint64) (*segmentReader, error) {
	file, err := os.Open(fileOf(dir, first, segmentEnd))
	if err == nil {
		return &segmentReader{file: file, in: file}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading audit log: %w", err)
	}
	file, err = os.Open(fileOf(dir, first, packedEnd))
	if err != nil {
		return nil, fmt.Errorf("reading audit log: %w", err)
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(file, 64<<10))
	if err != nil {
		file.Close()
		return nil, damaged(filepath.Base(file.Name()), err)
	}
	return &segmentReader{file: file, gzip: z, in: z}, nil
}

func (s *segmentReader) Close() error { return s.file.Close() }

func (s *segmentReader) name() string { return filepath.Base(s.file.Name()) }

// Read tells what is wrong with compressed bytes from a file that cannot be read.
func (s *segmentReader) Read(b []byte) (int, error) {
	n, err := s.in.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && s.gzip != nil {
		err = damaged(s.name(), err)
	}
	return n, err
}

func damaged(name string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("reading audit log: %w", err)
	}
	return fmt.Errorf("%s: %w: %w", name, errDamaged, err)
}

// skip goes to an offset in the lines.
func (s *segmentReader) skip(offset int64) error {
	if s.gzip == nil {
		_, err := s.file.Seek(offset, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, s, offset)
	return err
}

// newest returns the time of the last record of a compressed segment, to the second, as its header tells; zero if it
// does not.
func (s *segmentReader) newest() time.Time {
	if s.gzip == nil {
		return time.Time{}
	}
	return s.gzip.ModTime
}

// endsAt reports whether the header bears the time of the last record, so that nobody hides records from readers who
// look for a time.
func (s *segmentReader) endsAt(last []byte) bool {
	t, err := audit.LineTime(last)
	return err != nil || s.gzip.ModTime.IsZero() || s.gzip.ModTime.Equal(roundUp(t))
}

// roundUp returns the first whole second that is not before t.
func roundUp(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); !whole.Equal(t) {
		return whole.Add(time.Second)
	}
	return t
}

// eachRecord is eachLine over a segment in whichever form it has; offsets are those of the plain one.
func eachRecord(dir string, first uint64, from int64, f func(line []byte) error) (end, torn int64, err error) {
	s, err := openSegmentReader(dir, first)
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	if err := s.skip(from); err != nil {
		return 0, 0, fmt.Errorf("reading audit log: %w", err)
	}
	return readLines(s, s.name(), from, f)
}

// timeRange returns the times of the first and the last whole line of a segment. Of a compressed one only the beginning
// is read.
func timeRange(dir string, first uint64) (oldest, newest time.Time, err error) {
	s, err := openSegmentReader(dir, first)
	if err != nil {
		return oldest, newest, err
	}
	defer s.Close()
	line, whole, err := newLineReader(s).next()
	if err != nil || !whole {
		return oldest, newest, errors.New("reading audit log: empty segment")
	}
	if oldest, err = audit.LineTime(line); err != nil || s.gzip != nil && !s.gzip.ModTime.IsZero() {
		return oldest, s.newest(), err
	}
	tail, err := finalLine(dir, first)
	if err != nil {
		return oldest, newest, err
	}
	newest, err = audit.LineTime(tail)
	return oldest, newest, err
}

// finalLine returns the last whole line of a segment that has at least one.
func finalLine(dir string, first uint64) ([]byte, error) {
	s, err := openSegmentReader(dir, first)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if s.gzip == nil {
		return lastLine(s.file)
	}
	var last []byte
	_, _, err = readLines(s, s.name(), 0, func(line []byte) error { last = append(last[:0], line...); return nil })
	if err == nil && last == nil {
		err = errors.New("reading audit log: no whole line")
	}
	return last, err
}
