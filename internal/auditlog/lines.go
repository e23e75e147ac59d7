package auditlog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sallyport-mcp/sallyport/audit"
)

var errLong = errors.New("line too long")

// lineReader reads lines and tells a last one without newline from the rest.
type lineReader struct {
	r      *bufio.Reader
	long   []byte
	offset int64 // of the byte after the last line returned
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 256<<10)}
}

// next returns the next line without its newline, valid until the next call. whole is false for a last line without
// newline. After the last line the error is io.EOF.
func (l *lineReader) next() (line []byte, whole bool, err error) {
	line, err = l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.nextLong(line)
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		return nil, false, err
	}
	l.offset += int64(len(line))
	if err != nil {
		return line, false, nil
	}
	return line[:len(line)-1], true, nil
}

func (l *lineReader) nextLong(start []byte) ([]byte, error) {
	l.long = append(l.long[:0], start...)
	for {
		more, err := l.r.ReadSlice('\n')
		l.long = append(l.long, more...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return l.long, err
		}
		if len(l.long) > audit.MaxLine {
			return nil, errLong
		}
	}
}

// eachLine calls f with every whole line of a file and returns the offset after the last of them and how many bytes
// follow it without a newline.
func eachLine(path string, f func(line []byte) error) (end, torn int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, 0, fmt.Errorf("reading audit log: %w", err)
	}
	defer file.Close()
	return readLines(file, filepath.Base(path), 0, f)
}

// readLines is eachLine over what is left of a file from an offset on.
func readLines(r io.Reader, name string, from int64, f func(line []byte) error) (end, torn int64, err error) {
	lines := newLineReader(r)
	end = from
	for {
		line, whole, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return end, 0, nil
		case errors.Is(err, errLong):
			return end, 0, fmt.Errorf("%s at byte %d: %w", name, end, err)
		case err != nil:
			return end, 0, fmt.Errorf("reading audit log: %w", err)
		case !whole:
			return end, int64(len(line)), nil
		}
		if err := f(line); err != nil {
			return end, 0, err
		}
		end = from + lines.offset
	}
}
