package sallyport

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// keyBytes is the length of every key kept in a file.
const keyBytes = 32

// loadKey reads the key of that name from the data directory, or makes it: 32 random bytes in base64, mode 0600, never
// half written and never overwritten.
func loadKey(dataDir, name string) ([]byte, error) {
	path := filepath.Join(dataDir, "keys", name+".key")
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the key directory: %w", err)
	}
	if err := createKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readKey(path) // whoever created it first has won
}

func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("key file %s does not hold %d bytes in base64", path, keyBytes)
	}
	return key, nil
}

// createKey writes a new key beside its place and links it there, which fails with fs.ErrExist if another was faster.
func createKey(path string) error {
	key := make([]byte, keyBytes)
	rand.Read(key) //nolint:errcheck // crypto/rand.Read never returns an error
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // a second name at most
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err == nil {
		err = tmp.Chmod(0o600)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Link(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	return nil
}
