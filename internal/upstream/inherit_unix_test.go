//go:build unix

package upstream_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
)

// inheritable opens a file as a program that was started with it would hold it, and returns its name.
func inheritable(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "held")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	return name
}

// TestChildIsGivenLittle: environment, descriptors and log lines.
func TestChildIsGivenLittle(t *testing.T) {
	t.Setenv("CANARY_OF_OURS", "canary-inherited")
	held := inheritable(t)
	c := run(t, "tell", upstream.StdioConfig{Env: map[string]string{"TOKEN": "canary-configured"}})
	c.mustBegin(person("a"))
	c.until(`line="?\\+x1b\[31mred`)
	log := c.logged()
	for _, must := range []string{"env PATH=", "env TOKEN=[redacted]", "dir /\"", `line=\x1b[31mred`, "fd 0 pipe", "fd 1 pipe", "fd 2 pipe"} {
		if !strings.Contains(log, must) {
			t.Errorf("the log lacks %q:\n%s", must, log)
		}
	}
	for _, never := range []string{"CANARY_OF_OURS", "canary", "\x1b", held, strings.Repeat("z", 1100)} {
		if strings.Contains(log, never) {
			t.Errorf("the log holds %q:\n%s", never, log)
		}
	}
}
