package upstream

import (
	"errors"
	"math"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolate puts the child into a session, and so a process group, of its own and has the kernel kill it when we die. A
// process of our session could put words into the terminal that it shares with us (TIOCSTI).
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// reap waits for the child's exit, kills what is left of its group while its number is still taken, and only then lets
// the number go.
func (p *process) reap() error {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break // exited, or a wait that will fail likewise
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	killGroup(p.cmd)
	p.reaped = true
	return p.cmd.Wait()
}

// closeRangeOnExec does in one call what sealDescriptors is for; false where the kernel (before 5.11) cannot.
func closeRangeOnExec() bool {
	return unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil
}
