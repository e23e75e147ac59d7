package auditlog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

func scan(t testing.TB, dir string, from, to time.Time) (seqs []uint64) {
	t.Helper()
	must(t, auditlog.Scan(t.Context(), dir, from, to, func(e *audit.Event) error {
		seqs = append(seqs, e.Seq)
		return nil
	}))
	return seqs
}

func allEvents(t testing.TB, dir string) (all []*audit.Event) {
	t.Helper()
	must(t, auditlog.Scan(t.Context(), dir, time.Time{}, time.Time{}, func(e *audit.Event) error { all = append(all, e); return nil }))
	return all
}

func TestScanRange(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize = 1000
	l := open(t, cfg)
	for range 20 {
		must(t, add(l, 1)) // at start plus its number in seconds
	}
	sec := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
	for _, c := range []struct {
		from, to time.Time
		want     []uint64
	}{
		{sec(5), sec(8), []uint64{5, 6, 7}},
		{sec(19), time.Time{}, []uint64{19, 20}},
		{time.Time{}, sec(2), []uint64{1}},
		{sec(20), sec(20), nil},
		{sec(21), time.Time{}, nil},
		{sec(9000), sec(9001), nil},
		{sec(-9000), sec(-8000), nil},
	} {
		if got := scan(t, dir, c.from, c.to); !slices.Equal(got, c.want) {
			t.Errorf("%v to %v: %v, want %v", c.from, c.to, got, c.want)
		}
	}
	// A segment far outside is not read: it may be damaged.
	path := filepath.Join(dir, "00000000000000000001.jsonl")
	lines := strings.SplitAfter(string(readAll(t, path)), "\n")
	lines[1] = "garbage\n"
	must(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600))
	scan(t, dir, sec(9000), time.Time{})
	if err := auditlog.Scan(t.Context(), dir, sec(1), time.Time{}, func(*audit.Event) error { return nil }); err == nil {
		t.Error("a damaged line was passed over")
	}
	must(t, l.Close())
}

func TestScanEnds(t *testing.T) {
	dir := t.TempDir()
	l := open(t, config(dir))
	must(t, add(l, 5))
	stop := errors.New("enough")
	if err := auditlog.Scan(t.Context(), dir, time.Time{}, time.Time{}, func(*audit.Event) error { return stop }); err != stop {
		t.Errorf("error of f: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := auditlog.Scan(ctx, dir, time.Time{}, time.Time{}, func(*audit.Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	must(t, l.Close())
	appendTo(t, filepath.Join(dir, "00000000000000000001.jsonl"), `{"seq":6`)
	if got := scan(t, dir, time.Time{}, time.Time{}); len(got) != 5 {
		t.Errorf("with a torn tail: %v", got)
	}
}

// Readers beside a running writer see each record once, in order, and whole.
func TestReadersBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize, cfg.CheckpointEvery = 3000, time.Millisecond
	l := open(t, cfg)
	must(t, add(l, 1))
	const total = 400
	var wg sync.WaitGroup
	done := errors.New("done")
	for _, from := range []uint64{0, 1, 7, total} {
		wg.Go(func() {
			next := max(from, 1)
			err := auditlog.Tail(t.Context(), dir, from, func(e *audit.Event) error {
				if e.Seq != next {
					t.Errorf("tail from %d: got %d, expected %d", from, e.Seq, next)
				}
				if next++; next > total {
					return done
				}
				return nil
			})
			if err != done {
				t.Errorf("tail from %d: %v", from, err)
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			if r := verify(t, dir); r.Fault != nil {
				t.Errorf("verify beside a writer: %v", r.Fault)
			}
			seqs := scan(t, dir, time.Time{}, time.Time{})
			for i, seq := range seqs {
				if seq != uint64(i)+1 {
					t.Errorf("scan: %d at %d", seq, i)
				}
			}
		}
	})
	for i := 1; i < total; i++ {
		must(t, add(l, 1))
	}
	wg.Wait()
	must(t, l.Close())
}

func TestRetention(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize = 2000
	l := open(t, cfg)
	for range 50 {
		must(t, add(l, 1))
	}
	whole := readAll(t, filepath.Join(dir, "tree"))
	if through, err := l.Expired(start.Add(time.Minute)); err != nil || through != 0 {
		t.Errorf("young records expire through %d, %v", through, err)
	}
	through, err := l.Expired(start.Add(48 * time.Hour))
	if err != nil || through == 0 || through >= 50 {
		t.Fatalf("expired through %d, %v", through, err)
	}
	must(t, declare(l, through))
	must(t, l.DeleteThrough(through))
	must(t, l.Close())
	anchor := (&victim{t: t, dir: dir}).last().Line()

	r := verify(t, dir, []byte(anchor))
	if r.Result != "verified against 1 checkpoints from elsewhere" || r.FirstBody != through+1 || r.Records != 51 {
		t.Errorf("%s: %v, first body %d of %d", r.Result, r.Fault, r.FirstBody, r.Records)
	}
	if got := scan(t, dir, time.Time{}, time.Time{}); got[0] != through+1 || len(got) != int(51-through) {
		t.Errorf("scan gives %v", got)
	}
	if !strings.HasPrefix(string(readAll(t, filepath.Join(dir, "tree"))), string(whole)) {
		t.Error("leaf hashes changed")
	}
	l = open(t, cfg)
	must(t, add(l, 3))
	must(t, l.Close())
	if got := checkLog(t, dir); got != 54 {
		t.Errorf("%d records", got)
	}
}

// Must not: bodies that went without a record that says so, or further than it says.
func TestDeletionWithoutARecordIsDamage(t *testing.T) {
	v := newVictim(t)
	must(t, os.Remove(filepath.Join(v.dir, "00000000000000000001.jsonl")))
	if r := verify(t, v.dir, v.outside...); r.Result != auditlog.ResultDamaged || r.Fault.Seq != 1 {
		t.Errorf("%s: %v", r.Result, r.Fault)
	}
}

// declare records that the bodies up to through are deleted.
func declare(l *auditlog.Log, through uint64) error {
	e := audit.RecordsDeletedEvent(through)
	e.Seq, e.Time = l.NextSeq(), start.Add(48*time.Hour)
	return l.Append([]*audit.Event{e}, [][]byte{e.AppendJSON(nil)})
}

// segments returns the numbers in the names of the segments.
func segments(t testing.TB, dir string) (firsts []uint64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	must(t, err)
	for _, f := range files {
		n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(f), ".jsonl"), 10, 64)
		must(t, err)
		firsts = append(firsts, n)
	}
	return firsts
}

func segment(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d.jsonl", first))
}
