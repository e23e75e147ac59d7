//go:build unix

package upstream_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/policy"
)

// exists says whether a process is there, as itself or as a zombie.
func exists(pid string) bool {
	n, _ := strconv.Atoi(pid)
	return syscall.Kill(n, 0) == nil
}

// runs is exists for a process that is not our child: when it becomes a zombie is not our doing.
func runs(pid string) bool {
	if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && strings.Contains(string(stat), ") Z ") {
		return false
	}
	return exists(pid)
}

// vanishes waits for a process to be gone, by whichever of the two.
func vanishes(t *testing.T, there func(string) bool, pid string, within time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(within); there(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %s is still there after %v", pid, within)
		}
	}
}

func TestDeadChild(t *testing.T) {
	c := run(t, "legacy", upstream.StdioConfig{})
	p := person("a")
	id := c.mustBegin(p)
	if _, err := c.call(id, p, "die", `{}`); !errors.Is(err, upstream.ErrUnavailable) || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("the call it died in: %v, want ErrUnavailable with its exit status", err)
	}
	if _, err := c.call(id, p, "echo", `{}`); !errors.Is(err, upstream.ErrSessionGone) {
		t.Errorf("the next: %v, want ErrSessionGone", err)
	}
}

// TestEndIsPrompt: a child that ignores everything is gone within the second in which its principal's access ended, and
// nobody else's is touched.
func TestEndIsPrompt(t *testing.T) {
	c := run(t, "stubborn", upstream.StdioConfig{})
	c.mustBegin(person("a"))
	pid := c.until(`pid (\d+)`)[1]
	c.End(func(p *policy.Principal) bool { return p.Subject == "b" })
	if !exists(pid) {
		t.Error("another's child was ended")
	}
	c.End(func(p *policy.Principal) bool { return p.Subject == "a" })
	vanishes(t, exists, pid, time.Second)
}

// TestGroupDies: what a child has started goes with it, and nothing is left as a zombie.
func TestGroupDies(t *testing.T) {
	c := run(t, "family", upstream.StdioConfig{})
	p := person("a")
	id := c.mustBegin(p)
	pid := c.until(`pid (\d+)`)[1]
	if _, err := c.call(id, p, "die", `{}`); err == nil {
		t.Error("it did not die")
	}
	vanishes(t, runs, pid, time.Second)
}

func TestIdleStop(t *testing.T) {
	c := run(t, "legacy", upstream.StdioConfig{IdleStop: 100 * time.Millisecond})
	p := person("a")
	id := c.mustBegin(p)
	if _, err := c.call(id, p, "slow", `{"ms":300}`); err != nil {
		t.Errorf("a call under way was ended as idle: %v", err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		time.Sleep(150 * time.Millisecond) // longer than IdleStop: the clock of the timer is real
		if _, err := c.call(id, p, "echo", `{}`); errors.Is(err, upstream.ErrSessionGone) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("an idle session never ended")
		}
	}
}

func TestCaps(t *testing.T) {
	var clock atomic.Int64
	c := run(t, "legacy", upstream.StdioConfig{MaxPerPrincipal: 2, MaxChildren: 3, Now: func() time.Time {
		return time.Unix(clock.Add(1), 0)
	}})
	a, b := person("a"), person("b")
	oldest, middle := c.mustBegin(a), c.mustBegin(a)
	if _, err := c.call(oldest, a, "echo", `{}`); err != nil { // now middle is the longest idle
		t.Fatal(err)
	}
	newest := c.mustBegin(a)
	if _, err := c.call(middle, a, "echo", `{}`); !errors.Is(err, upstream.ErrSessionGone) {
		t.Errorf("the longest idle session: %v, want ErrSessionGone", err)
	}
	for _, id := range []string{oldest, newest} {
		if _, err := c.call(id, a, "echo", `{}`); err != nil {
			t.Errorf("a session that should live: %v", err)
		}
	}
	c.mustBegin(b)
	if _, err := c.begin(person("c")); !errors.Is(err, upstream.ErrBusy) {
		t.Errorf("beyond all children: %v, want ErrBusy", err)
	}
	for _, id := range []string{oldest, newest} {
		go func() { _, _ = c.call(id, a, "hang", `{}`) }()
		for {
			if got, err := c.call(id, a, "cancelled", `{}`); err != nil || strings.Contains(got, "of 1") {
				break
			}
		}
	}
	if _, err := c.begin(a); !errors.Is(err, upstream.ErrBusy) {
		t.Errorf("with all sessions busy: %v, want ErrBusy", err)
	}
}

// TestCrashLoop: after a few deaths no child is started for a while, for this principal only.
func TestCrashLoop(t *testing.T) {
	var clock atomic.Int64
	c := run(t, "crash", upstream.StdioConfig{Now: func() time.Time { return time.Unix(clock.Load(), 0) }})
	crash := func(p *policy.Principal) string {
		_, err := c.begin(p)
		if !errors.Is(err, upstream.ErrUnavailable) {
			t.Fatalf("got %v, want ErrUnavailable", err)
		}
		return err.Error()
	}
	for range 4 {
		if got := crash(person("a")); !strings.Contains(got, "exit status 7") {
			t.Fatalf("a free crash: %s", got)
		}
	}
	if got := crash(person("a")); !strings.Contains(got, "for a while") {
		t.Errorf("the fifth in a row: %s", got)
	}
	if got := crash(person("b")); !strings.Contains(got, "exit status 7") {
		t.Errorf("somebody else: %s", got)
	}
	clock.Add(2)
	if got := crash(person("a")); !strings.Contains(got, "exit status 7") {
		t.Errorf("after the pause: %s", got)
	}
}

// TestCloseIsSure: Close ends a child that ignores the end of stdin and SIGTERM.
func TestCloseIsSure(t *testing.T) {
	if testing.Short() {
		t.Skip("waits out the grace of a stubborn child, 6 s")
	}
	c := run(t, "stubborn", upstream.StdioConfig{})
	c.mustBegin(person("a"))
	pid := c.until(`pid (\d+)`)[1]
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if exists(pid) {
		t.Error("the child outlived Close")
	}
}
