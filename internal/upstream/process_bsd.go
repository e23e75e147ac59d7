//go:build unix && !linux

package upstream

import (
	"os/exec"
	"syscall"
)

// isolate puts the child into a session, and so a process group, of its own. A process of our session could put words
// into the terminal that it shares with us (TIOCSTI).
func isolate(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// reap waits for the child and then kills what is left of its group. Between the two its number is free for a moment;
// there is no portable wait that keeps it.
func (p *process) reap() error {
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	killGroup(p.cmd)
	p.reaped = true
	return err
}

// closeRangeOnExec: there is no such call here.
func closeRangeOnExec() bool { return false }
