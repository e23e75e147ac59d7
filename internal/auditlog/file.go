package auditlog

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-mcp/sallyport/audit"
)

// File is what the log needs of an open file. Tests put failing ones in its place.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// OpenFile is os.OpenFile behind the interface File.
func OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // a nil *os.File must not become a File
	}
	return f, nil
}

const (
	fileMode = 0o600
	dirMode  = 0o700

	segmentEnd    = ".jsonl"
	checkpointEnd = ".checkpoints"
	treeName      = "tree"
	writerName    = "writer"
	publicKeyName = "checkpoint.pub"
)

// fileOf returns the path of a numbered file.
func fileOf(dir string, first uint64, end string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d", first)+end)
}

// list returns the numbers of all files with the given ending, ascending. Other files are ignored.
func list(dir, end string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing audit log: %w", err)
	}
	var firsts []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), end)
		if n, err := strconv.ParseUint(name, 10, 64); ok && err == nil && len(name) == 20 && n > 0 {
			firsts = append(firsts, n)
		}
	}
	slices.Sort(firsts) // ReadDir sorts by name already; the order matters too much to lean on that
	return firsts, nil
}

// syncDir makes the names in dir durable. Windows has no such call and needs none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing directory: %w", err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("syncing directory: %w", err)
	}
	return nil
}

// writeNew creates a file with the given content, whole or not at all. If the file exists, it stays as it is and the
// error is fs.ErrExist.
func writeNew(path string, content []byte) error {
	temp, err := writeTemp(path, content)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := os.Link(temp, path); err != nil { // unlike Rename it never replaces
		return fmt.Errorf("creating %s: %w", filepath.Base(path), err)
	}
	return syncDir(filepath.Dir(path))
}

// replace puts new content in the place of a file, whole or not at all.
func replace(path string, content []byte) error {
	temp, err := writeTemp(path, content)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		return fmt.Errorf("replacing %s: %w", filepath.Base(path), err)
	}
	return syncDir(filepath.Dir(path))
}

func writeTemp(path string, content []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return "", fmt.Errorf("creating %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	return f.Name(), nil
}

// readWriter returns the identifier kept in dir, made at random or as wanted if there is none.
func readWriter(dir, want string) (string, error) {
	if want != "" && !audit.ValidWriter(want) {
		return "", fmt.Errorf("audit log writer %q: use 1 to 64 lower-case letters, digits and hyphens", want)
	}
	id := want
	if id == "" {
		id = randomWriter()
	}
	path := filepath.Join(dir, writerName)
	err := writeNew(path, []byte(id+"\n"))
	if err == nil {
		return id, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading audit log writer: %w", err)
	}
	id = strings.TrimSpace(string(text))
	if !audit.ValidWriter(id) {
		return "", fmt.Errorf("audit log writer %q in %s: malformed", id, path)
	}
	if want != "" && id != want {
		return "", fmt.Errorf("audit log in %s belongs to writer %q, not %q", dir, id, want)
	}
	return id, nil
}

func randomWriter() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, or the program ends
	return hex.EncodeToString(b[:])
}
