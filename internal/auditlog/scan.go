package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// clockSlack is how far the times of neighbouring records may be out of order: folded records bear the time of their
// last occurrence, and clocks are set back.
const clockSlack = time.Hour

// Scan calls f with every event whose Time is at or after from and before to, in the order of sequence. A zero from or
// to is no bound. Segments that lie outside by more than an hour are not read. It may run beside a writer: it sees at
// least what was durable when it began, and never an incomplete line. The event is f's to keep. An error of f ends the
// scan and is returned as it is; a line that is no record is an error that names the file.
func Scan(ctx context.Context, dir string, from, to time.Time, f func(*audit.Event) error) error {
	segments, err := listSegments(dir)
	if err != nil {
		return err
	}
	for _, first := range segments {
		if oldest, newest, err := timeRange(dir, first); err == nil &&
			(!from.IsZero() && newest.Add(clockSlack).Before(from) || !to.IsZero() && oldest.Add(-clockSlack).After(to)) {
			continue
		}
		if err := scanSegment(ctx, dir, first, from, to, f); err != nil {
			return err
		}
	}
	return nil
}

func scanSegment(ctx context.Context, dir string, first uint64, from, to time.Time, f func(*audit.Event) error) error {
	_, _, err := eachRecord(dir, first, 0, func(line []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if at, err := audit.LineTime(line); err == nil && (at.Before(from) || !to.IsZero() && !at.Before(to)) {
			return nil
		}
		e, err := audit.Decode(line)
		if err != nil {
			return fmt.Errorf("%s: %w", fileOf(dir, first, segmentEnd), err)
		}
		return f(&e)
	})
	if gone(dir, first, err) {
		return nil // deleted by retention since it was listed
	}
	return err
}

// gone reports whether err is that a segment exists in no form.
func gone(dir string, first uint64, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, plain := os.Stat(fileOf(dir, first, segmentEnd))
	_, packed := os.Stat(fileOf(dir, first, packedEnd))
	return errors.Is(plain, fs.ErrNotExist) && errors.Is(packed, fs.ErrNotExist)
}

// lastLine returns the last whole line of a file that has at least one.
func lastLine(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading audit log: %w", err)
	}
	for span := int64(8 << 10); ; span *= 4 {
		start := max(0, info.Size()-span)
		buf := make([]byte, info.Size()-start)
		if n, err := file.ReadAt(buf, start); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading audit log: %w", err)
		} else {
			buf = buf[:n]
		}
		end := bytes.LastIndexByte(buf, '\n')
		begin := bytes.LastIndexByte(buf[:max(end, 0)], '\n') + 1
		if end >= 0 && (begin > 0 || start == 0) {
			return buf[begin:end], nil
		}
		if start == 0 || span > 4*audit.MaxLine {
			return nil, errors.New("reading audit log: no whole line")
		}
	}
}

// LastSeq returns the number of the last record in dir, 0 if there is none. It may run beside a writer.
func LastSeq(dir string) (uint64, error) {
	segments, err := listSegments(dir)
	if err != nil {
		return 0, err
	}
	for i := len(segments) - 1; i >= 0; i-- {
		line, err := finalLine(dir, segments[i])
		if err != nil {
			continue // empty: just begun
		}
		seq, _, err := audit.ParseLine(line)
		return seq, err
	}
	return 0, nil
}
