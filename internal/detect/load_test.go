package detect_test

import (
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/detect"
)

// TestMemoryIsBounded lets an attacker choose more keys than are kept: a hundred thousand, or a million where
// acceptance is decided.
func TestMemoryIsBounded(t *testing.T) {
	keys := 100_000
	if os.Getenv("SALLYPORT_TEST_COUNTS") == "full" {
		keys = 1_000_000
	}
	e := engine(t, detect.Config{})
	name := make([]byte, 0, 16)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range keys {
		name = strconv.AppendInt(append(name[:0], "user"...), int64(i), 10)
		ev := failed(string(name), time.Duration(i)*time.Microsecond)
		ev.IP = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		e.Observe(ev)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) >> 20; grown > 96 {
		t.Errorf("%d MiB kept", grown)
	}
	runtime.KeepAlive(e)
}

// BenchmarkObserveIrrelevant asks what detection costs a call that is allowed.
func BenchmarkObserveIrrelevant(b *testing.B) {
	b.ReportAllocs()
	e := engine(b, detect.Config{})
	ev := &audit.Event{Kind: audit.CallAllowed, Time: epoch}
	for b.Loop() {
		e.Observe(ev)
	}
}

// BenchmarkObserveCounted asks what detection costs a failed authentication, which two rules count.
func BenchmarkObserveCounted(b *testing.B) {
	b.ReportAllocs()
	e := engine(b, detect.Config{})
	ev := failed("alice", 0)
	for b.Loop() {
		ev.Time = ev.Time.Add(time.Hour) // never an alert
		e.Observe(ev)
	}
}
