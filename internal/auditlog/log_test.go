package auditlog_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("AUDITLOG_CRASH_DIR"); dir != "" {
		appendUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

var start = time.Date(2026, 7, 28, 10, 0, 0, 0, time.UTC)

func key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

// journal is a process log that may be written from several goroutines.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) text() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Clone(j.buf.Bytes())
}

func config(dir string) auditlog.Config {
	return auditlog.Config{
		Dir: dir, Key: key(), KeepPlain: true, Now: func() time.Time { return start },
		Logger: slog.New(slog.NewTextHandler(&journal{}, nil)),
	}
}

func open(t testing.TB, cfg auditlog.Config) *auditlog.Log {
	t.Helper()
	l, err := auditlog.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// add appends n events in one batch and returns the error.
func add(l *auditlog.Log, n int) error {
	var (
		events []*audit.Event
		lines  [][]byte
	)
	for i := range n {
		seq := l.NextSeq() + uint64(i)
		e := &audit.Event{Seq: seq, Time: start.Add(time.Duration(seq) * time.Second), Kind: audit.CallAllowed, Reason: fmt.Sprint("call ", seq)}
		events = append(events, e)
		lines = append(lines, e.AppendJSON(nil))
	}
	return l.Append(events, lines)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkLog re-reads and verifies everything and returns the number of records.
func checkLog(t testing.TB, dir string) uint64 {
	t.Helper()
	r := verify(t, dir)
	if r.Fault != nil || r.Torn != nil || r.Result != auditlog.ResultConsistent {
		t.Fatalf("%s: %v, torn %v", r.Result, r.Fault, r.Torn)
	}
	next := r.FirstBody
	must(t, auditlog.Scan(context.Background(), dir, time.Time{}, time.Time{}, func(e *audit.Event) error {
		if e.Seq != next {
			t.Fatalf("scan gave %d, expected %d", e.Seq, next)
		}
		next++
		return nil
	}))
	if next != r.Records+1 {
		t.Fatalf("scan ended before %d, verify counted %d", next, r.Records)
	}
	return r.Records
}

func verify(t testing.TB, dir string, given ...[]byte) auditlog.VerifyReport {
	t.Helper()
	r, err := auditlog.Verify(context.Background(), auditlog.VerifyConfig{Dir: dir, Checkpoints: given})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAppendReopenAppend(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	total := uint64(0)
	for round := range 4 {
		l := open(t, config(dir))
		if l.Recovered() != nil {
			t.Errorf("recovered %+v from a clean stop", l.Recovered())
		}
		if l.NextSeq() != total+1 {
			t.Fatalf("next is %d, expected %d", l.NextSeq(), total+1)
		}
		for i := range round + 2 {
			must(t, add(l, i+1))
			total += uint64(i + 1)
		}
		must(t, l.Close())
		must(t, l.Close()) // again is nothing
		if got := checkLog(t, dir); got != total {
			t.Fatalf("%d records, expected %d", got, total)
		}
	}
	l := open(t, config(dir))
	must(t, l.Close())
	if err := add(l, 1); err == nil {
		t.Error("append after Close")
	}
	if got, err := auditlog.LastSeq(dir); err != nil || got != total {
		t.Errorf("LastSeq %d, %v", got, err)
	}
}

func TestFilesAreOurs(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	dir := filepath.Join(t.TempDir(), "audit")
	l := open(t, config(dir))
	must(t, add(l, 3))
	must(t, l.Close())
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("directory %v", info.Mode())
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if info, _ := e.Info(); info.Mode().Perm() != 0o600 || strings.HasSuffix(e.Name(), ".tmp") {
			t.Errorf("%s %v", e.Name(), info.Mode())
		}
	}
	if len(entries) != 5 {
		t.Errorf("%d files", len(entries))
	}
}

func TestSegmentsRotateBySizeAndDay(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize = 1000
	now := start
	cfg.Now = func() time.Time { return now }
	l := open(t, cfg)
	for range 20 {
		must(t, add(l, 1))
	}
	bySize, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	for _, path := range bySize {
		if n := len(readAll(t, path)); n > 1000 || len(bySize) > 5 {
			t.Errorf("%d segments, one of %d bytes", len(bySize), n)
		}
	}
	must(t, l.Close())
	cfg.SegmentSize = 0
	l = open(t, cfg)
	must(t, add(l, 1))
	now = now.Add(24 * time.Hour)
	must(t, add(l, 1))
	now = now.Add(-30 * time.Hour) // a clock set back begins no segment
	must(t, add(l, 1))
	must(t, l.Close())
	byDay, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if len(byDay) != len(bySize)+1 {
		t.Errorf("%d segments after a day", len(byDay))
	}
	if got := checkLog(t, dir); got != 23 {
		t.Errorf("%d records", got)
	}
}

func TestOpenRefusesOtherKeyWriterAndConfig(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Writer = "node-1"
	l := open(t, cfg)
	if l.Origin() != "sallyport/node-1" {
		t.Error(l.Origin())
	}
	must(t, add(l, 1))
	must(t, l.Close())
	for name, change := range map[string]func(*auditlog.Config){
		"key":      func(c *auditlog.Config) { c.Key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)) },
		"writer":   func(c *auditlog.Config) { c.Writer = "node-2" },
		"no key":   func(c *auditlog.Config) { c.Key = nil },
		"no dir":   func(c *auditlog.Config) { c.Dir = "" },
		"writer +": func(c *auditlog.Config) { c.Writer = "a+b" },
		"negative": func(c *auditlog.Config) { c.SegmentSize = -1 },
	} {
		bad := cfg
		change(&bad)
		if l, err := auditlog.Open(bad); err == nil {
			t.Errorf("%s: opened", name)
			l.Close()
		}
	}
	cfg.Writer = ""
	l = open(t, cfg)
	if l.Origin() != "sallyport/node-1" {
		t.Error(l.Origin())
	}
	must(t, l.Close())
}

func TestAppendRefusesWrongNumbers(t *testing.T) {
	l := open(t, config(t.TempDir()))
	defer l.Close()
	e := &audit.Event{Seq: 2, Kind: audit.CallAllowed}
	if err := l.Append([]*audit.Event{e}, [][]byte{e.AppendJSON(nil)}); err == nil || l.NextSeq() != 1 {
		t.Errorf("number 2 first: %v", err)
	}
	if err := l.Append([]*audit.Event{e}, nil); err == nil {
		t.Error("no lines")
	}
}
