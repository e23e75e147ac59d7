package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/storetest"
	"github.com/sallyport-mcp/sallyport/store/sqlite"
)

func open(t *testing.T, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, t.TempDir()) })
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	storetest.Reopen(t, func(t *testing.T) storetest.Store { return open(t, dir) },
		func(t *testing.T, s storetest.Store) storetest.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, dir)
		})
}

// TestReopenWithoutClose is what a killed process leaves: what was confirmed lies in the write-ahead log.
func TestReopenWithoutClose(t *testing.T) {
	dir := t.TempDir()
	storetest.Reopen(t, func(t *testing.T) storetest.Store { return open(t, dir) },
		func(t *testing.T, _ storetest.Store) storetest.Store { return open(t, dir) })
}

func TestFilesArePrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no Unix modes")
	}
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, dir)
	if err := s.CreateKey(t.Context(), record()); err != nil {
		t.Fatal(err)
	}
	if mode := stat(t, dir).Mode().Perm(); mode != 0o700 {
		t.Errorf("directory has mode %o", mode)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("files %v, %v; want the database and its log", files, err)
	}
	for _, f := range files {
		if mode := stat(t, f).Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %o", f, mode)
		}
	}
}

func TestWideModeIsTightened(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no Unix modes")
	}
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, sqlite.FileName)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if mode := stat(t, path).Mode().Perm(); mode != 0o600 {
		t.Errorf("mode is %o after Open", mode)
	}
}

func TestNewerVersionIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, sqlite.FileName)
	exec(t, path, "PRAGMA user_version = 999")
	_, err := sqlite.Open(t.Context(), dir)
	if !errors.Is(err, sqlite.ErrNewer) || !strings.Contains(err.Error(), "999") {
		t.Errorf("Open = %v, want ErrNewer with both versions", err)
	}
	stat(t, path)
}

func TestUnusableDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, sqlite.FileName), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"a file": file, "below a file": filepath.Join(file, "data"),
		"parent missing": filepath.Join(dir, "none", "data"), "database is a directory": taken,
	} {
		if s, err := sqlite.Open(t.Context(), bad); err == nil {
			_ = s.Close()
			t.Errorf("%s: Open succeeded", name)
		} else if !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: error %q does not name the directory", name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v; a failed Open left something", len(entries), err)
	}
}

// TestUnwritableDirectory puts the database where a file is: that binds root too, unlike modes.
func TestUnwritableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), filepath.Join(file, "data")); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Open = %v, want an error that names the path", err)
	}
}

func TestForeignFileIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, sqlite.FileName)
	text := strings.Repeat("this is no database. ", 100)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Open = %v, want an error that names the file", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != text {
		t.Errorf("the file was changed: %v", err)
	}
}

func TestFailedOpenLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlite.Open(ctx, dir); err == nil {
		t.Fatal("Open with a cancelled context succeeded")
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is there after a failed Open: %v", err)
	}
}

func TestOddPath(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"a b%41?c#d&mode=memory", filepath.Join(t.TempDir(), "ö?mode=ro")} {
		s := open(t, dir)
		if err := s.CreateKey(t.Context(), record()); err != nil {
			t.Fatal(err)
		}
		if stat(t, filepath.Join(dir, sqlite.FileName)).Size() == 0 {
			t.Errorf("%s: the database is elsewhere", dir)
		}
	}
}

// TestTwoProcesses has a second program write while the first one does, as a careless operator may.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	done := make(chan error, 2)
	for _, s := range []*sqlite.Store{a, b} {
		go func() {
			for i := range 50 {
				if err := s.TouchKey(t.Context(), "k1", time.Unix(int64(i), 0)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func record() apikey.Record {
	return apikey.Record{ID: "k1", Name: "name", Roles: []string{"user"}, Created: time.Unix(1, 0)}
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func exec(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
