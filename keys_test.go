package sallyport

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// TestKeyIsMadeOnce: of many who start at once all get the same key, in a file for us alone.
func TestKeyIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		keys = map[string]bool{}
	)
	for range 16 {
		wg.Go(func() {
			k, err := loadKey(dir, "seal")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			keys[string(k)] = true
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(keys) != 1 {
		t.Errorf("%d keys", len(keys))
	}
	files, err := os.ReadDir(filepath.Join(dir, "keys"))
	if err != nil || len(files) != 1 {
		t.Fatalf("left behind: %v, %v", files, err)
	}
	info, err := files[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// TestBadKeyIsRefused: a key file that was damaged is neither used nor replaced, and its content is not shown.
func TestBadKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadKey(dir, "seal"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keys", "seal.key")
	for _, bad := range []string{"", "%%%", base64.StdEncoding.EncodeToString(make([]byte, 31)), base64.StdEncoding.EncodeToString(make([]byte, 33))} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadKey(dir, "seal"); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("key %q: %v", bad, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != bad {
			t.Errorf("the file was changed: %q, %v", now, err)
		}
	}
}
