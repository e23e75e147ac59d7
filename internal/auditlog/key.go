package auditlog

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LoadKey reads the checkpoint key, an Ed25519 seed (RFC 8032 §5.1.5) as 64 hexadecimal digits, and makes one, mode
// 0600, if the file does not exist. Of two processes that do so at once both get the same key. The directory is made
// too, 0700.
//
// Who loses the key cannot go on with its log; who steals it can forge whatever no checkpoint elsewhere holds.
func LoadKey(path string) (ed25519.PrivateKey, error) {
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return nil, fmt.Errorf("making directory of checkpoint key: %w", err)
	}
	var seed [ed25519.SeedSize]byte
	rand.Read(seed[:]) // never fails, or the program ends
	err = writeNew(path, []byte(hex.EncodeToString(seed[:])+"\n"))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readKey(path)
}

func readKey(path string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint key: %w", err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("reading checkpoint key %s: not %d hexadecimal digits", path, 2*ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
