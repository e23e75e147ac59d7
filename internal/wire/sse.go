package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrSSETooLarge says that one event, or one line of a comment, is longer than the reader's bound.
var ErrSSETooLarge = errors.New("event stream: event is too large")

// maxEmptyReads bounds how often a reader may give nothing without an error before it counts as broken.
const maxEmptyReads = 100

// SSEEvent is one block of an event stream (WHATWG HTML, section 9.2). The zero value is an empty block.
type SSEEvent struct {
	ID    string // meaningful only when HasID; may be empty, which resets the client's last event id
	HasID bool   // the block had an id line
	Event string // event type; empty means "message"
	Retry string // reconnection time in milliseconds, decimal digits as sent; empty when absent
	Data  []byte // lines joined by LF; nil when the block had no data line, empty when it had an empty one
}

// SSEReader reads an event stream. Unlike a browser it also returns blocks without data that carry an id or a retry, so
// that a relay loses neither; such blocks have a nil Data and are no message. It is used by one goroutine.
type SSEReader struct {
	source   io.Reader
	max      int // bytes of one event, and of one line
	buf      []byte
	pos, end int    // unread bytes are buf[pos:end]
	data     []byte // reused for every event
	skipLF   bool   // the last line ended in CR: a LF right after it belongs to it
	started  bool   // the first line was read, so that no byte order mark is skipped later
	err      error  // sticky
}

// NewSSEReader reads events of at most maxEvent bytes each; 0 or less means the default of [Limits].
func NewSSEReader(r io.Reader, maxEvent int) *SSEReader {
	if maxEvent <= 0 {
		maxEvent = defaultBytes
	}
	return &SSEReader{source: r, max: maxEvent}
}

// Next returns the next event. Its Data is valid until the next call. io.EOF is the orderly end; an event that was not
// finished by a blank line is dropped, as the standard says. Every error is final.
func (r *SSEReader) Next() (SSEEvent, error) {
	var e SSEEvent
	var size int
	r.data = r.data[:0]
	for {
		line, err := r.line()
		if err != nil {
			return SSEEvent{}, err
		}
		if len(line) == 0 {
			if e.Data != nil || e.HasID || e.Retry != "" {
				return e, nil
			}
			e, size, r.data = SSEEvent{}, 0, r.data[:0] // an event type alone is forgotten
			continue
		}
		if line[0] == ':' {
			continue
		}
		if size += len(line) + 1; size > r.max {
			return SSEEvent{}, r.fail(ErrSSETooLarge)
		}
		r.field(&e, line)
	}
}

// field applies one line to the event. Field names are compared exactly; unknown ones are ignored.
func (r *SSEReader) field(e *SSEEvent, line []byte) {
	name, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimPrefix(value, []byte{' '})
	switch string(name) {
	case "data":
		if e.Data != nil {
			r.data = append(r.data, '\n')
		}
		r.data = append(r.data, value...)
		e.Data = r.data
		if e.Data == nil {
			e.Data = []byte{}
		}
	case "event":
		e.Event = oneLine(string(value))
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			e.ID, e.HasID = oneLine(string(value)), true
		}
	case "retry":
		if digits(string(value)) {
			e.Retry = string(value)
		}
	}
}

// line returns the next line without its end. An unfinished last line is dropped with the event it belongs to.
func (r *SSEReader) line() ([]byte, error) {
	seen := 0 // bytes after pos that hold no line end
	for {
		if r.skipLF && r.pos < r.end {
			if r.buf[r.pos] == '\n' {
				r.pos++
			}
			r.skipLF = false
		}
		if i := lineEnd(r.buf[r.pos+seen : r.end]); i >= 0 {
			line := r.buf[r.pos : r.pos+seen+i]
			r.skipLF = r.buf[r.pos+seen+i] == '\r'
			r.pos += seen + i + 1
			if !r.started {
				r.started = true
				line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
			}
			if len(line) > r.max {
				return nil, r.fail(ErrSSETooLarge)
			}
			return line, nil
		}
		if seen = r.end - r.pos; seen > r.max {
			return nil, r.fail(ErrSSETooLarge)
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// lineEnd finds the first CR or LF.
func lineEnd(b []byte) int {
	lf := bytes.IndexByte(b, '\n')
	if lf >= 0 {
		b = b[:lf]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

// fill reads more bytes behind the unread ones, growing the buffer when they already fill it.
func (r *SSEReader) fill() error {
	if r.err != nil {
		return r.err
	}
	if r.pos > 0 {
		r.end = copy(r.buf, r.buf[r.pos:r.end])
		r.pos = 0
	}
	if r.end == len(r.buf) {
		grown := make([]byte, max(4096, 2*len(r.buf)))
		copy(grown, r.buf)
		r.buf = grown
	}
	for range maxEmptyReads {
		n, err := r.source.Read(r.buf[r.end:])
		r.end += n
		if err != nil && err != io.EOF {
			err = fmt.Errorf("reading the event stream: %w", err)
		}
		r.err = err
		if n > 0 {
			return nil // what came with an error is used first
		}
		if err != nil {
			return err
		}
	}
	return r.fail(io.ErrNoProgress)
}

// fail makes an error final: nothing is read after it, also not what is buffered.
func (r *SSEReader) fail(err error) error {
	r.err, r.pos, r.end = err, 0, 0
	return err
}

// AppendSSE appends e as a block with LF line ends. Data with line ends is split over several lines. An id or event type
// that could not be read back (CR, LF, NUL, invalid UTF-8) and a retry that is not digits are left out. A block with
// nothing in it appends nothing.
func AppendSSE(dst []byte, e SSEEvent) []byte {
	start := len(dst)
	if e.Event != "" && oneLine(e.Event) == e.Event {
		dst = append(append(append(dst, "event: "...), e.Event...), '\n')
	}
	if e.HasID && oneLine(e.ID) == e.ID {
		dst = append(append(append(dst, "id: "...), e.ID...), '\n')
	}
	if digits(e.Retry) {
		dst = append(append(append(dst, "retry: "...), e.Retry...), '\n')
	}
	if e.Data != nil {
		dst = appendData(dst, e.Data)
	}
	if len(dst) == start {
		return dst
	}
	return append(dst, '\n')
}

// appendData writes one data line for each line of data.
func appendData(dst, data []byte) []byte {
	for {
		dst = append(dst, "data: "...)
		i := lineEnd(data)
		if i < 0 {
			return append(append(dst, data...), '\n')
		}
		dst = append(append(dst, data[:i]...), '\n')
		if data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n' {
			i++
		}
		data = data[i+1:]
	}
}

// oneLine returns value without what a field of an event stream cannot carry.
func oneLine(value string) string {
	value = strings.ToValidUTF8(value, "\uFFFD")
	if !strings.ContainsAny(value, "\r\n\x00") {
		return value
	}
	return strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(value)
}

// digits reports whether value is one or more ASCII digits, and short enough for any integer.
func digits(value string) bool {
	if value == "" || len(value) > 18 {
		return false
	}
	for _, c := range []byte(value) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
