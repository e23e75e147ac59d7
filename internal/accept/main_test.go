//go:build unix

package accept_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// root is the top of the repository, seen from this package.
const root = "../.."

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sallyport-accept-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programs.dir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// programs builds each program once for all tests.
var programs struct {
	dir   string // set by TestMain
	mu    sync.Mutex
	built map[string]error // by name; guarded by mu
}

// build returns the path of the program called name, built from pkg with the given build flags.
func build(t *testing.T, name, pkg string, flags ...string) string {
	t.Helper()
	programs.mu.Lock()
	defer programs.mu.Unlock()
	path := filepath.Join(programs.dir, name)
	err, done := programs.built[name]
	if !done {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		args := append([]string{"build", "-o", path}, flags...)
		cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, failure := cmd.CombinedOutput(); failure != nil {
			err = fmt.Errorf("building %s: %w\n%s", name, failure, out)
		}
		if programs.built == nil {
			programs.built = map[string]error{}
		}
		programs.built[name] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// sallyport returns the path of the program under test, built as it is released: without cgo.
func sallyport(t *testing.T) string {
	t.Helper()
	return build(t, "sallyport", "./cmd/sallyport")
}

// everythingProgram returns the path of the example server of the MCP Go SDK, which has something of everything.
func everythingProgram(t *testing.T) string {
	t.Helper()
	return build(t, "everything-server", "github.com/modelcontextprotocol/go-sdk/conformance/everything-server", "-modfile=tools/go.mod")
}

// full reports whether everything a test may need must be there.
func full() bool { return os.Getenv("SALLYPORT_TEST_FULL") == "1" }

// counts returns n where acceptance is decided and a tenth of it, at least one, elsewhere.
func counts(n int) int {
	if os.Getenv("SALLYPORT_TEST_COUNTS") == "full" {
		return n
	}
	return max(1, n/10)
}
