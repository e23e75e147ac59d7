package auditlog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// smallDisk mounts a file system of 4 MiB in memory, which needs root.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		if os.Getenv("SALLYPORT_TEST_FULL") == "1" {
			t.Fatalf("no disk can be mounted (SALLYPORT_TEST_FULL=1 wants one; run as root): %v", err)
		}
		t.Skipf("NOT TESTED: a disk that is full. Mounting one needs root: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, 0)) })
	return dir
}

// fill takes all that is free.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	must(t, f.Close())
}

// SECURITY: on a disk that is full nothing is allowed, and once there is room all goes on by itself.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t)
	dir, ballast := filepath.Join(disk, "audit"), filepath.Join(disk, "ballast")
	cfg := config(dir)
	cfg.CheckpointEvery = 50 * time.Millisecond
	l := open(t, cfg)
	r, err := audit.NewRecorder(audit.RecorderConfig{Log: l, Durable: true, Logger: cfg.Logger})
	must(t, err)
	call := func() error {
		return r.Record(t.Context(), &audit.Event{Kind: audit.CallAllowed, Reason: strings.Repeat("long ", 200)}) // longer than store_degraded
	}
	kept, refused := 0, 0
	for range 10 {
		must(t, call())
		kept++
	}
	for n := 0; n < 3000 || n > 3500; kept++ { // so that store_degraded still fits into the last page, and no call
		must(t, r.Record(t.Context(), &audit.Event{Kind: audit.CallAllowed}))
		info, err := os.Stat(filepath.Join(dir, "00000000000000000001.jsonl"))
		must(t, err)
		n = int(info.Size() % 4096)
	}
	fill(t, ballast)
	for refused < 200 { // first what is left of the last page, then nothing
		switch err := call(); {
		case err == nil && refused == 0:
			kept++
		case err == nil:
			t.Fatalf("a call was recorded after %d were refused", refused)
		case !errors.Is(err, audit.ErrNotRecorded) || !errors.Is(err, syscall.ENOSPC):
			t.Fatal(err)
		default:
			refused++
		}
	}
	for range 2 {
		time.Sleep(2200 * time.Millisecond) // longer than the pause between two attempts of the recorder alone
		if call() == nil {
			t.Fatal("a call was recorded on a full disk")
		}
		refused++
	}
	must(t, os.Remove(ballast))
	began := time.Now()
	for call() != nil {
		refused++
		time.Sleep(10 * time.Millisecond)
	}
	kept++
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("recovered after %v", took)
	}
	must(t, r.Close(t.Context()))
	must(t, l.Close())
	count := map[audit.Kind]int{}
	for _, e := range allEvents(t, dir) {
		count[e.Kind]++
	}
	if count[audit.CallAllowed] != kept || count[audit.StoreDegraded] != 1 || count[audit.StoreRecovered] != 1 || r.Lost() != 0 {
		t.Errorf("%d calls were kept, %d refused; the log holds %v, %d lost", kept, refused, count, r.Lost())
	}
	checkLog(t, dir)
}
