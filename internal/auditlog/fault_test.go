package auditlog_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

// disk is what the files of a log do. The zero value: what they should.
type disk struct {
	write error // of WriteAt
	part  int   // how many bytes a failing WriteAt writes all the same; -1: all
	sync  error // of Sync, after the data reached the disk
	trunc error
	open  error
	hang  chan struct{} // Sync waits until it is closed
}

// faults is a disk that can be changed while it is used.
type faults struct {
	only string // ending of the names of the files it is about

	mu  sync.Mutex
	now disk
}

func (f *faults) set(d disk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = d
}

func (f *faults) of(name string) disk {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !strings.HasSuffix(name, f.only) {
		return disk{}
	}
	return f.now
}

func (f *faults) openFile(name string, flag int, perm fs.FileMode) (auditlog.File, error) {
	if err := f.of(name).open; err != nil {
		return nil, err
	}
	file, err := auditlog.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faulty{file, f, name}, nil
}

type faulty struct {
	auditlog.File
	faults *faults
	name   string
}

func (f *faulty) WriteAt(b []byte, at int64) (int, error) {
	now := f.faults.of(f.name)
	if now.write == nil && now.part == 0 {
		return f.File.WriteAt(b, at)
	}
	part := now.part
	if part < 0 || part > len(b) {
		part = len(b)
	}
	n, err := f.File.WriteAt(b[:part], at)
	if err != nil {
		return n, err
	}
	return n, now.write
}

func (f *faulty) Sync() error {
	now := f.faults.of(f.name)
	if now.hang != nil {
		<-now.hang
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	return now.sync
}

func (f *faulty) Truncate(n int64) error {
	if err := f.faults.of(f.name).trunc; err != nil {
		return err
	}
	return f.File.Truncate(n)
}

var (
	full = syscall.ENOSPC
	eio  = syscall.EIO
)

// Every way a disk can fail an append: nothing of it is acknowledged, nothing of it is in the log, and once the disk
// works the log goes on and verifies.
func TestFailedAppendLeavesNothing(t *testing.T) {
	for name, fail := range map[string]disk{
		"full":                       {write: full},
		"full, part written":         {write: full, part: 300},
		"short write, no error":      {part: 1},
		"error, but it was written":  {write: eio, part: -1},
		"sync fails, but it is kept": {sync: eio},
		"and cannot be cut":          {write: eio, part: -1, trunc: eio},
		"and cannot be opened":       {write: eio, part: -1, open: eio},
		"and nothing works":          {write: eio, part: 100, sync: eio, trunc: eio, open: eio},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f := &faults{only: ".jsonl"}
			cfg := config(dir)
			cfg.OpenFile = f.openFile
			l := open(t, cfg)
			must(t, add(l, 2))
			f.set(fail)
			for range 3 {
				if err := add(l, 3); err == nil {
					t.Fatal("append over a failing disk succeeded")
				}
				if l.NextSeq() != 3 {
					t.Fatalf("next is %d", l.NextSeq())
				}
			}
			f.set(disk{})
			must(t, add(l, 1)) // shorter than what failed
			if got := checkLog(t, dir); got != 3 {
				t.Errorf("%d records while open", got)
			}
			must(t, add(l, 5))
			must(t, l.Close())
			if got := checkLog(t, dir); got != 8 {
				t.Errorf("%d records", got)
			}
		})
	}
}

// A tree file that cannot be written refuses no call: it is completed later.
func TestFailingTreeIsCompletedLater(t *testing.T) {
	dir := t.TempDir()
	f := &faults{only: "tree"}
	cfg := config(dir)
	cfg.OpenFile = f.openFile
	l := open(t, cfg)
	f.set(disk{write: full, part: 33})
	must(t, add(l, 10))
	must(t, add(l, 10))
	if got := checkLog(t, dir); got != 20 {
		t.Errorf("%d records", got)
	}
	if err := l.Close(); err == nil {
		t.Error("Close said nothing of a missing checkpoint")
	}
	l = open(t, config(dir))
	must(t, l.Close())
	checkLog(t, dir)
}

func TestFailingCheckpointFileIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := &faults{only: ".checkpoints"}
		cfg := config(dir)
		cfg.OpenFile = f.openFile
		l := open(t, cfg)
		f.set(disk{write: full, part: 50, trunc: full})
		must(t, add(l, 10))
		time.Sleep(10 * time.Second)
		f.set(disk{})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if r := verify(t, dir); r.Fault != nil || r.Stored != 2 {
			t.Errorf("%d checkpoints, %v", r.Stored, r.Fault)
		}
		must(t, l.Close())
	})
}

func TestFailedRotationKeepsTheSegment(t *testing.T) {
	dir := t.TempDir()
	f := &faults{only: ".jsonl"}
	cfg := config(dir)
	cfg.OpenFile, cfg.SegmentSize = f.openFile, 500
	l := open(t, cfg)
	must(t, add(l, 2))
	f.set(disk{open: full})
	if err := add(l, 3); !errors.Is(err, full) {
		t.Errorf("append that needs a segment: %v", err)
	}
	f.set(disk{})
	must(t, add(l, 3))
	must(t, l.Close())
	if got := checkLog(t, dir); got != 5 {
		t.Errorf("%d records", got)
	}
}

// SECURITY: no call without a record, from the disk up.
func TestRecorderOverFailingDisk(t *testing.T) {
	dir := t.TempDir()
	f := &faults{only: ".jsonl"}
	cfg := config(dir)
	cfg.OpenFile = f.openFile
	l := open(t, cfg)
	r, err := audit.NewRecorder(audit.RecorderConfig{Log: l, Durable: true, Logger: cfg.Logger})
	must(t, err)
	must(t, r.Record(t.Context(), &audit.Event{Kind: audit.CallAllowed}))

	f.set(disk{sync: full})
	if err := r.Record(t.Context(), &audit.Event{Kind: audit.CallAllowed}); !errors.Is(err, audit.ErrNotRecorded) || !errors.Is(err, full) {
		t.Errorf("full disk: %v", err)
	}
	hang := make(chan struct{})
	f.set(disk{hang: hang})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Record(ctx, &audit.Event{Kind: audit.CallAllowed}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hanging disk: %v", err)
	}
	f.set(disk{})
	close(hang)
	must(t, r.Record(t.Context(), &audit.Event{Kind: audit.CallAllowed}))
	must(t, r.Close(t.Context()))
	must(t, l.Close())
	if got := checkLog(t, dir); got != 5 { // one, degraded, the one that hung, recovered, one: in some order
		t.Errorf("%d records", got)
	}
}
