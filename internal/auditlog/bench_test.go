package auditlog_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

func ordinary() audit.Event {
	return audit.Event{
		Kind: audit.CallAllowed, Outcome: audit.Allowed,
		Principal: audit.Identity{Issuer: "https://mcp.example.com", Subject: "u-1042", Name: "Ann Example"}, Credential: "sp_7f3a",
		Client: "vscode", IP: netip.MustParseAddr("203.0.113.7"), UserAgent: "Visual Studio Code/1.99", Server: "files",
		Method: "tools/call", Tool: "read_file", Permission: "files:read_file", Rule: "role user", BytesIn: 312,
	}
}

// How many events a second does a durable log take from 1, 16 and 64 callers who each wait, and an async one?
func BenchmarkRecord(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("durable-%d", callers), func(b *testing.B) { benchmarkRecord(b, callers, true) })
	}
	b.Run("async-16", func(b *testing.B) { benchmarkRecord(b, 16, false) })
}

func benchmarkRecord(b *testing.B, callers int, durable bool) {
	l := open(b, config(b.TempDir()))
	r, err := audit.NewRecorder(audit.RecorderConfig{Log: l, Durable: durable, Wait: time.Minute})
	must(b, err)
	b.ReportAllocs()
	b.ResetTimer()
	var (
		wg   sync.WaitGroup
		left atomic.Int64
	)
	left.Store(int64(b.N))
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				e := ordinary()
				if err := r.Record(context.Background(), &e); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(b, r.Close(context.Background()))
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	must(b, l.Close())
	if r.Lost() > 0 {
		b.Errorf("%d lost", r.Lost())
	}
}

const many = 100_000

func filled(b *testing.B) string {
	dir := b.TempDir()
	l := open(b, config(dir))
	for range many / 1000 {
		var (
			events []*audit.Event
			lines  [][]byte
		)
		for i := range 1000 {
			e := ordinary()
			e.Seq, e.Time = l.NextSeq()+uint64(i), start
			events = append(events, &e)
			lines = append(lines, e.AppendJSON(nil))
		}
		must(b, l.Append(events, lines))
	}
	must(b, l.Close())
	return dir
}

// How long does it take to verify, to scan and to open a log of 100,000 events?
func BenchmarkRead(b *testing.B) {
	dir := filled(b)
	b.Run("verify-100k", func(b *testing.B) {
		for b.Loop() {
			if r, err := auditlog.Verify(context.Background(), auditlog.VerifyConfig{Dir: dir}); err != nil || r.Records != many {
				b.Fatal(r, err)
			}
		}
		b.ReportMetric(many*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("scan-100k", func(b *testing.B) {
		for b.Loop() {
			must(b, auditlog.Scan(context.Background(), dir, time.Time{}, time.Time{}, func(*audit.Event) error { return nil }))
		}
		b.ReportMetric(many*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("open-100k", func(b *testing.B) {
		for b.Loop() {
			must(b, open(b, config(dir)).Close())
		}
	})
}
