package upstream_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestNoOrphans: when we are killed, the kernel kills our children, however stubborn.
func TestNoOrphans(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"=gateway")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := ""
	for lines := bufio.NewScanner(log); pid == "" && lines.Scan(); {
		if _, after, found := strings.Cut(lines.Text(), "pid "); found {
			pid = strings.TrimRight(after, `"`)
		}
	}
	if !runs(pid) {
		t.Fatalf("no child %q", pid)
	}
	_ = cmd.Process.Kill()
	vanishes(t, runs, pid, 2*time.Second)
	_ = cmd.Wait()
}
