package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/server"
)

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first, err := server.Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory %v, %v", info.Mode(), err)
	}
	_, err = server.Acquire(dir)
	var held *server.Held
	if !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Fatalf("second lock: %v", err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := server.Acquire(dir)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := again.Discard(); err != nil { // it did not make the directory
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("a directory that was there before is gone: %v", err)
	}
}

func TestDiscardRemovesWhatWasMade(t *testing.T) {
	top := filepath.Join(t.TempDir(), "a")
	lock, err := server.Acquire(filepath.Join(top, "b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "b", "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := lock.Discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(top); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there", top)
	}
}
