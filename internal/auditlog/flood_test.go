package auditlog_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// Issue 3, line 5: 20,000 refusals a second before authentication from fifty addresses beside sixteen callers. The log
// grows by at most 20 MiB a minute for the refusals, their counts add up, and nothing of the callers is lost.
func TestFlood(t *testing.T) {
	last := 3 * time.Second
	if os.Getenv("SALLYPORT_TEST_COUNTS") == "full" {
		last = time.Minute
	}
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Now, cfg.KeepPlain = time.Now, false
	l := open(t, cfg)
	var observed atomic.Int64
	r, err := audit.NewRecorder(audit.RecorderConfig{Log: l, Durable: true, Logger: cfg.Logger, Observe: func(e *audit.Event) {
		if e.Kind == audit.AuthFailed {
			observed.Add(int64(e.Occurrences()))
		}
	}})
	must(t, err)
	var (
		wg        sync.WaitGroup
		calls     atomic.Int64
		flooding  atomic.Bool
		sent      int64
		stranger  = fmt.Sprintf("Mozilla/5.0 (flood; %s)", "of the usual length of a browser's name, a hundred bytes or so in all")
		principal = audit.Identity{Issuer: "keys", Subject: "k1", Name: "ci"}
	)
	flooding.Store(true)
	for range 16 {
		wg.Go(func() {
			for flooding.Load() {
				e := &audit.Event{Kind: audit.CallAllowed, Outcome: audit.Allowed, Principal: principal, Server: "files", Tool: "read"}
				if err := r.Record(t.Context(), e); err != nil {
					t.Errorf("a caller was refused: %v", err)
					return
				}
				calls.Add(1)
				r.Note(&audit.Event{Kind: audit.CallCompleted, Outcome: audit.Allowed, Principal: principal, Ref: e.Seq, Server: "files", Tool: "read"})
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	for began := time.Now(); time.Since(began) < last; time.Sleep(time.Millisecond) {
		for ; sent < int64(time.Since(began).Seconds()*20_000); sent++ {
			r.Note(&audit.Event{
				Time: time.Now().UTC(), Kind: audit.AuthFailed, Outcome: audit.Denied, Status: 401, IP: netip.AddrFrom4([4]byte{192, 0, 2, byte(sent % 50)}),
				Server: "files", Claimed: fmt.Sprint("user", sent), UserAgent: stranger, Rule: "authentication", Reason: "no such key",
			})
		}
	}
	flooding.Store(false)
	wg.Wait()
	must(t, r.Close(t.Context()))
	must(t, l.Close())

	kinds, grown := floodLog(t, dir)
	if kinds[audit.AuthFailed] != sent || observed.Load() != sent || r.Lost() != 0 {
		t.Errorf("%d sent, %d in the log, %d observed, %d lost", sent, kinds[audit.AuthFailed], observed.Load(), r.Lost())
	}
	if kinds[audit.CallAllowed] != calls.Load() || kinds[audit.CallCompleted] != calls.Load() || calls.Load() < 100 {
		t.Errorf("%d calls, %d allowed and %d completed in the log", calls.Load(), kinds[audit.CallAllowed], kinds[audit.CallCompleted])
	}
	if grown > 20<<20 {
		t.Errorf("%d bytes of refusals in %v", grown, last)
	}
	checkLog(t, dir)
	t.Logf("%d refusals in %v take %d KiB; %d calls beside them; %d KiB on disk in all", sent, last, grown>>10, calls.Load(), l.Used()>>10)
}

// floodLog counts what the log holds, and the bytes of the refusals in it, uncompressed and with their hashes.
func floodLog(t *testing.T, dir string) (kinds map[audit.Kind]int64, refusals int64) {
	t.Helper()
	kinds = map[audit.Kind]int64{}
	const head = 100 // number, previous hash and newline
	for _, e := range allEvents(t, dir) {
		kinds[e.Kind] += int64(e.Occurrences())
		if e.Kind == audit.AuthFailed {
			refusals += int64(len(e.AppendJSON(nil))) + head + 64
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
	return kinds, refusals
}
