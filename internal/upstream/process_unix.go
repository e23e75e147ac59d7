//go:build unix

package upstream

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// inherited are the variables of ours that a child sees.
var inherited = [...]string{"PATH", "HOME", "LANG", "TZ"}

// sealDescriptors marks every descriptor above stderr close-on-exec. The Go runtime does so with its own, but not with
// those that this program was started with.
func sealDescriptors() {
	if closeRangeOnExec() {
		return
	}
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		return // no such place here: what Go opened is closed all the same
	}
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// terminateGroup asks the child's process group to end.
func terminateGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) } // gone already is fine

// killGroup ends the child's process group.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // gone already is fine
