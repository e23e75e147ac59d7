package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// events reads a whole stream.
func events(r io.Reader, bound int) ([]wire.SSEEvent, error) {
	reader := wire.NewSSEReader(r, bound)
	var all []wire.SSEEvent
	for {
		e, err := reader.Next()
		if err != nil {
			return all, err
		}
		e.Data = bytes.Clone(e.Data)
		all = append(all, e)
	}
}

func TestSSEReader(t *testing.T) {
	data := func(s string) wire.SSEEvent { return wire.SSEEvent{Data: []byte(s)} }
	tests := []struct {
		name, stream string
		want         []wire.SSEEvent
	}{
		{"LF", "data: a\n\ndata: b\n\n", []wire.SSEEvent{data("a"), data("b")}},
		{"CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", []wire.SSEEvent{data("a"), data("b")}},
		{"CR", "data: a\r\rdata: b\r\r", []wire.SSEEvent{data("a"), data("b")}},
		{"mixed", "data: a\r\n\rdata: b\n\r\n", []wire.SSEEvent{data("a"), data("b")}},
		{"byte order mark once", "\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n", []wire.SSEEvent{data("a"), data("c")}},
		{"several lines", "data: a\ndata:\ndata:  b\n\n", []wire.SSEEvent{data("a\n\n b")}},
		{"all fields", "event: message\nid: 7\nretry: 3000\ndata: {}\n\n", []wire.SSEEvent{{ID: "7", HasID: true, Event: "message", Retry: "3000", Data: []byte("{}")}}},
		{"no space and no colon", "data:a\ndata\nid\n\n", []wire.SSEEvent{{HasID: true, Data: []byte("a\n")}}},
		{"empty data is an event", "id: 1\ndata:\n\n", []wire.SSEEvent{{ID: "1", HasID: true, Data: []byte{}}}},
		{"id or retry alone", "id: 1\n\nretry: 5\n\nevent: x\n\n", []wire.SSEEvent{{ID: "1", HasID: true}, {Retry: "5"}}},
		{"comments", ": hello\n\n:\ndata: a\n: b\n\n", []wire.SSEEvent{data("a")}},
		{"unknown and folded fields", "Data: x\ndata : y\nfoo: z\ndata: a\n\n", []wire.SSEEvent{data("a")}},
		{"bad retry and id", "retry: 1s\nretry: -1\nretry: 9999999999999999999\nid: a\x00b\ndata: a\n\n", []wire.SSEEvent{data("a")}},
		{"an event type is not carried over", "event: x\n\ndata: a\n\n", []wire.SSEEvent{data("a")}},
		{"unfinished event", "data: a\n\ndata: b\n", []wire.SSEEvent{data("a")}},
		{"unfinished line", "data: a\n\ndata: b", []wire.SSEEvent{data("a")}},
		{"nothing", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole": strings.NewReader(tt.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.stream)),
				"error with data": iotest.DataErrReader(strings.NewReader(tt.stream)),
			} {
				got, err := events(r, 1000)
				if err != io.EOF {
					t.Errorf("%s: %v", name, err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestSSEReaderIsBounded(t *testing.T) {
	for name, stream := range map[string]string{
		"line": "data: " + strings.Repeat("x", 200) + "\n\n", "event": strings.Repeat("data: xxxxxxxxxx\n", 20) + "\n", "comment": ":" + strings.Repeat("x", 200),
		"endless names": strings.Repeat("n:\n", 100), "no line end": strings.Repeat("x", 200),
	} {
		if got, err := events(strings.NewReader(stream), 100); !errors.Is(err, wire.ErrSSETooLarge) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	r := wire.NewSSEReader(strings.NewReader("data: "+strings.Repeat("x", 200)+"\n\ndata: a\n\n"), 100)
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, wire.ErrSSETooLarge) {
			t.Errorf("the error is not final: %v", err)
		}
	}
	if got, err := events(strings.NewReader(strings.Repeat(": keep-alive\n", 100)+"data: a\n\n"), 100); err != io.EOF || len(got) != 1 {
		t.Errorf("comments counted as an event: %v, %v", got, err)
	}
}

func TestSSEReaderErrors(t *testing.T) {
	broken := errors.New("broken")
	if got, err := events(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(broken)), 100); !errors.Is(err, broken) || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := events(stuck{}, 100); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
}

// A CR ends an event at once: waiting for a LF behind it would hold back the last event of a quiet stream.
func TestSSEReaderDoesNotWaitBehindCR(t *testing.T) {
	pr, pw := io.Pipe()
	go func() { _, _ = pw.Write([]byte("data: a\r\r")) }()
	if e, err := wire.NewSSEReader(pr, 100).Next(); err != nil || string(e.Data) != "a" {
		t.Errorf("got %v, %v", e, err)
	}
	_ = pr.Close()
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestAppendSSE(t *testing.T) {
	tests := []struct {
		event wire.SSEEvent
		want  string
	}{
		{wire.SSEEvent{Event: "message", ID: "1", HasID: true, Retry: "5", Data: []byte("{}")}, "event: message\nid: 1\nretry: 5\ndata: {}\n\n"},
		{wire.SSEEvent{HasID: true, Data: []byte{}}, "id: \ndata: \n\n"},
		{wire.SSEEvent{Data: []byte("a\nb\r\nc\rd\n")}, "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"},
		{wire.SSEEvent{Event: "a\ndata: x", ID: "1\r", HasID: true, Retry: "1\n", Data: []byte("y")}, "data: y\n\n"},
		{wire.SSEEvent{ID: "1\x002", HasID: true, Data: []byte("y")}, "data: y\n\n"},
		{wire.SSEEvent{ID: "unused", Data: nil}, ""},
	}
	for _, tt := range tests {
		if got := string(wire.AppendSSE([]byte("x"), tt.event)); got != "x"+tt.want {
			t.Errorf("%+v: %q, want %q", tt.event, got[1:], tt.want)
		}
	}
}
