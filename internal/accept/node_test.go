//go:build unix

package accept_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// node is the folder with Node 22 and the programs that scripts/npm locks.
type node struct{ dir string }

// findNode returns that folder, which scripts/test.sh fills. Without it the test is skipped, or fails where everything
// must be there.
func findNode(t *testing.T) node {
	t.Helper()
	cache := os.Getenv("SALLYPORT_TEST_CACHE")
	if cache == "" {
		cache = filepath.Join(root, ".cache")
	}
	dir, err := filepath.Abs(filepath.Join(cache, "npm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".bin", "node")); err != nil {
		if full() {
			t.Fatalf("no Node for the tests: %v", err)
		}
		t.Skipf("no Node for the tests (scripts/test.sh installs it): %v", err)
	}
	return node{dir: dir}
}

// bin is the folder of the programs; first on PATH it also makes "#!/usr/bin/env node" find the right Node.
func (n node) bin() string { return filepath.Join(n.dir, "node_modules", ".bin") }

// path is the setting of PATH with those programs first.
func (n node) path() string { return "PATH=" + n.bin() + ":" + os.Getenv("PATH") }

// npx is the command line that runs a locked package the way its documentation says, without asking a registry.
func (n node) npx(pkg string, args ...string) []string {
	return append([]string{"npx", "-y", "--prefix", n.dir, pkg}, args...)
}

// outcome is what a program that ran to its end left.
type outcome struct {
	Out, Err string
	Code     int
}

// run runs one of the programs to its end. A server in it that names no address listens on loopback.
func (n node) run(t *testing.T, limit time.Duration, name string, args ...string) outcome {
	t.Helper()
	loopback, err := filepath.Abs(filepath.Join(root, "scripts", "npm", "loopback.cjs"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(n.bin(), name), args...)
	cmd.Env = environment(t, n.path(), "NODE_OPTIONS=--require="+loopback)
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, 5*time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("running %s %q: %v\n%s\n%s", name, args, err, tail(out.String(), 40), tail(errs.String(), 40))
	}
	return outcome{Out: out.String(), Err: errs.String(), Code: cmd.ProcessState.ExitCode()}
}
