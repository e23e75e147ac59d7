package sallyport_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-mcp/sallyport"
	"github.com/sallyport-mcp/sallyport/audit"
)

// memoryLog keeps nothing but the count: it is the fastest place a record can go to.
type memoryLog struct {
	mu  sync.Mutex
	seq uint64
}

func (l *memoryLog) Append(events []*audit.Event, _ [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq += uint64(len(events))
	return nil
}

func (l *memoryLog) NextSeq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq + 1
}

func (*memoryLog) Close() error { return nil }

// trivial is a server in this process that costs next to nothing: what is measured is ours.
func trivial() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var first [256]byte // the request is in there, whatever follows
		n, _ := io.ReadFull(r.Body, first[:])
		_, _ = io.Copy(io.Discard, r.Body) // as a server would read it
		head := string(first[:n])
		_, id, _ := strings.Cut(head, `"id":`)
		id, _, _ = strings.Cut(id, ",")
		result := `{"content":[]}`
		switch {
		case strings.Contains(head, `"initialize"`):
			result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}`
		case strings.Contains(head, `"tools/list"`):
			result = `{"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"],"additionalProperties":false}}]}`
		case strings.Contains(head, `"server/discover"`):
			result = `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`
		case !strings.Contains(head, `"id":`):
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result) // a broken answer shows
	})
}

// sink is a ResponseWriter that counts.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// What does one allowed tool call cost from the first layer to the last, without sockets? Each row answers one thing:
//   - async/64B/1: the layers themselves, one after the other;
//   - async/64KiB/1: what a large argument adds (read, parse, check, emit);
//   - durable/64B/1: what waiting for the disk adds when nobody shares the commit;
//   - durable/64B/16 and 64: how far group commit takes that away again;
//   - async/64B/16 and 64: what the layers cost each other (locks, shared buckets).
//
// Parallel rows have that many callers, not processors: ns/op is the time between two answers of all of them together.
func BenchmarkCall(b *testing.B) {
	for _, mode := range []string{"async", "durable"} {
		for _, size := range []int{64, 64 << 10} {
			for _, callers := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("%s/%s/%d", mode, map[int]string{64: "64B", 64 << 10: "64KiB"}[size], callers), func(b *testing.B) {
					r := newRig(b, sallyport.Server{Handler: trivial()}, func(c *sallyport.Config) {
						huge := sallyport.Limit{Capacity: 1e7, Refill: 1e7}
						c.Limits = sallyport.Limits{Global: huge, Address: huge, Tool: huge, PrincipalTool: huge, Roles: map[string]sallyport.Limit{"user": huge}}
						if c.Audit.Mode = mode; mode == "async" {
							c.Audit.Log = &memoryLog{}
						}
					})
					benchmarkCalls(b, r, modern("echo", `{"text":"`+strings.Repeat("x", size)+`"}`), callers)
				})
			}
		}
	}
}

func benchmarkCalls(b *testing.B, r *rig, m message, callers int) {
	handler := r.guard.Handler()
	call := func() {
		req := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://localhost/plain/mcp", strings.NewReader(m.body))
		req.RemoteAddr = "127.0.0.1:4711"
		req.Header["Authorization"] = []string{"Bearer " + r.key}
		req.Header["Content-Type"] = []string{"application/json"}
		req.Header["Accept"] = []string{"application/json, text/event-stream"}
		for name, value := range m.header {
			req.Header[name] = []string{value}
		}
		w := &sink{header: http.Header{}}
		if handler.ServeHTTP(w, req); w.status != http.StatusOK {
			b.Errorf("status %d", w.status)
		}
	}
	call() // the server is asked what it speaks
	b.SetBytes(int64(len(m.body)))
	b.ReportAllocs()
	b.ResetTimer()
	work := make(chan struct{}, callers)
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range work {
				call()
			}
		})
	}
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	group.Wait()
}

// What does the frame of BenchmarkCall cost: request, channel and the trivial handler without a guard? Take it off.
func BenchmarkCallFloor(b *testing.B) {
	handler := trivial()
	body := modern("echo", `{"text":"`+strings.Repeat("x", 64)+`"}`).body
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://localhost/plain/mcp", strings.NewReader(body))
		handler.ServeHTTP(&sink{header: http.Header{}}, req)
	}
}
