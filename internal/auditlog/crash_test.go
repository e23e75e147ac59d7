package auditlog_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

// appendUntilKilled is the child of TestKilledAtAnyMoment: eight goroutines record and print each number once it is
// acknowledged.
func appendUntilKilled(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
	cfg := config(dir)
	cfg.SegmentSize, cfg.CheckpointEvery = 20_000, 2*time.Millisecond
	l, err := auditlog.Open(cfg)
	fail(err)
	r, err := audit.NewRecorder(audit.RecorderConfig{Log: l, Durable: true, Logger: cfg.Logger})
	fail(err)
	var mu sync.Mutex
	for range 8 {
		go func() {
			for {
				e := &audit.Event{Kind: audit.CallAllowed, Server: "crash"}
				fail(r.Record(context.Background(), e))
				mu.Lock()
				fmt.Println(e.Seq)
				mu.Unlock()
				r.Note(&audit.Event{Kind: audit.AuthFailed})
			}
		}()
	}
	select {}
}

// THREATS: kill -9 at any moment; every acknowledged record is in the log, at most one torn tail.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	var acknowledged []uint64
	for round := range 20 {
		acknowledged = append(acknowledged, runAndKill(t, dir, round%4 == 3)...)
		found := map[uint64]bool{}
		must(t, auditlog.Scan(t.Context(), dir, time.Time{}, time.Time{}, func(e *audit.Event) error {
			found[e.Seq] = e.Kind == audit.CallAllowed
			return nil
		}))
		for _, seq := range acknowledged {
			if !found[seq] {
				t.Fatalf("record %d was acknowledged and is not there", seq)
			}
		}
		if r := verify(t, dir); r.Fault != nil { // before the next child recovers it
			t.Fatal(r.Fault)
		}
	}
	l := open(t, config(dir))
	must(t, l.Close())
	checkLog(t, dir)
	t.Logf("%d acknowledged records", len(acknowledged))
}

// runAndKill kills the child a moment after its first acknowledged record or, if early, perhaps before it.
func runAndKill(t *testing.T, dir string, early bool) (acknowledged []uint64) {
	t.Helper()
	moment := time.Duration(rand.Int64N(int64(20 * time.Millisecond)))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "AUDITLOG_CRASH_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	kill := func() { cmd.Process.Kill() }
	if early {
		time.AfterFunc(moment+10*time.Millisecond, kill)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		seq, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			break // cut by the kill
		}
		if len(acknowledged) == 0 && !early {
			time.AfterFunc(moment, kill)
		}
		acknowledged = append(acknowledged, seq)
	}
	_ = cmd.Wait() // killed
	if len(acknowledged) == 0 && !early {
		t.Fatal("the child recorded nothing")
	}
	return acknowledged
}
