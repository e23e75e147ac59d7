package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// lockName is the file whose lock says that a process writes in the data directory. It holds that process's id and is
// never removed: who removed it could lock another file than the next one.
const lockName = "lock"

// errHeld is what lockFile returns when another process holds the lock.
var errHeld = errors.New("the lock is held")

// Lock holds a data directory against every other process. Release it once.
type Lock struct {
	file *os.File
	dir  string
	made []string // directories this lock made, deepest first; empty when dir was there
}

// Acquire makes the data directory, mode 0700, if it is missing, and locks it. Errors are Mistakes: one says which
// process holds the directory, one that it cannot be written.
func Acquire(dir string) (*Lock, error) {
	made, err := makeDir(dir)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	l, err := acquire(dir)
	if err != nil {
		removeEmpty(made) // nothing may be left half made
		return nil, err
	}
	l.dir, l.made = dir, made
	return l, nil
}

func acquire(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	if err := lockFile(f); err != nil {
		holder := readHolder(f)
		_ = f.Close() // nothing was written
		if errors.Is(err, errHeld) {
			return nil, &Mistake{Err: &Held{Dir: dir, PID: holder}, Fix: "stop it first, or choose another data directory"}
		}
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	pid := []byte(strconv.Itoa(os.Getpid()) + "\n")
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(pid, 0)
	}
	if err != nil {
		_ = f.Close() // the first error is the one that counts
		return nil, unwritable(dir, err)
	}
	return &Lock{file: f}, nil
}

// Held says that another process writes in a data directory.
type Held struct {
	Dir string
	PID int // 0 when it cannot be read
}

// Error names the directory and the process.
func (h *Held) Error() string {
	if h.PID == 0 {
		return fmt.Sprintf("data directory %s is in use by another process", h.Dir)
	}
	return fmt.Sprintf("data directory %s is in use by process %d", h.Dir, h.PID)
}

func unwritable(dir string, err error) error {
	fix := "check its owner and permissions, or choose another data directory"
	if errors.Is(err, fs.ErrNotExist) {
		fix = "make its parent directory first"
	}
	return &Mistake{Err: fmt.Errorf("data directory %s cannot be written: %w", dir, reason(err)), Fix: fix}
}

// reason is the cause of a file error without the path, which the message has already.
func reason(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// makeDir makes a directory and its parents and returns those that were not there, deepest first.
func makeDir(dir string) (made []string, err error) {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		_, err := os.Stat(at)
		if err == nil || at == filepath.Dir(at) {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		made = append(made, at)
	}
	for _, at := range slices.Backward(made) {
		if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			removeEmpty(made)
			return nil, err
		}
	}
	return made, nil
}

// removeEmpty removes directories that are still empty.
func removeEmpty(dirs []string) {
	for _, dir := range dirs {
		_ = os.Remove(dir) // not empty: somebody else uses it by now
	}
}

func readHolder(f *os.File) int {
	text := make([]byte, 32)
	n, _ := f.ReadAt(text, 0) // an empty or unreadable file names nobody
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return 0
	}
	return pid
}

// Discard releases the lock and removes the data directory with all it holds, if this lock made it: what failed at its
// first start leaves nothing behind. A directory that was there before is left alone.
func (l *Lock) Discard() error {
	err := l.Release()
	if len(l.made) > 0 {
		err = errors.Join(err, os.RemoveAll(l.dir))
		removeEmpty(l.made[1:])
	}
	return err
}

// Release gives the directory to the next process.
func (l *Lock) Release() error {
	if err := l.file.Close(); err != nil { // closing gives up the lock
		return fmt.Errorf("releasing the data directory: %w", err)
	}
	return nil
}
