//go:build unix

package accept_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program a test started. It ends with the test.
type process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when it has ended; exit is set then
	exit error
}

// output keeps what a program writes. It may be read while the program runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// environment is what every program gets: a home of its own, so that a test neither reads nor leaves settings, and
// none of the variables that may carry credentials.
func environment(t *testing.T, more ...string) []string {
	t.Helper()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LANG=C.UTF-8", "TMPDIR=" + os.TempDir()}
	return append(env, more...)
}

// start runs a program and ends it with the test: by SIGTERM, and if that does not help within 15 s, by SIGKILL. What
// it wrote is shown when the test has failed.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = &p.out, &p.out, env
	// A group of its own, so that children which outlive the program can be found and ended.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		p.exit = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("%s wrote:\n%s", filepath.Base(name), tail(p.out.String(), 60))
		}
	})
	return p
}

// stop asks the program to end, waits for it and returns how it ended. It may be called more than once.
func (p *process) stop(t *testing.T) error {
	t.Helper()
	if !p.ended() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // It may have ended since; then there is nothing to do.
	}
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		t.Errorf("%s does not stop on SIGTERM", filepath.Base(p.cmd.Path))
		p.kill()
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // What is left of its group; usually nothing.
	return p.exit
}

// kill ends the program as a power cut would, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // It may have ended since; then there is nothing to do.
	<-p.done
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// waitFor waits until ready reports true, and fails the test when that takes longer than limit or the program ends
// first. A nil program is not watched.
func waitFor(t *testing.T, p *process, limit time.Duration, what string, ready func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		if p != nil && p.ended() {
			t.Fatalf("waiting until %s: the program has ended: %v\n%s", what, p.exit, tail(p.out.String(), 60))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waiting until %s: not within %v", what, limit)
		}
	}
}

// freeAddress returns a loopback address with a port that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func accepts(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close() // Nothing was written.
	return true
}

// startEverything runs the everything-server over HTTP and returns the URL of its endpoint.
func startEverything(t *testing.T, e era) string {
	t.Helper()
	address := freeAddress(t)
	stateless := "-stateless=false"
	if e == modern {
		stateless = "-stateless=true"
	}
	p := start(t, environment(t), everythingProgram(t), "-http", address, stateless)
	waitFor(t, p, 10*time.Second, "the everything-server listens", func() bool { return accepts(address) })
	return "http://" + address + "/mcp"
}

// tail returns the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
