package upstream

import (
	"os/exec"
	"syscall"
)

// inherited are the variables of ours that a child sees. Without the last four no program starts properly.
var inherited = [...]string{"PATH", "HOME", "LANG", "TZ", "SystemRoot", "PATHEXT", "TEMP", "USERPROFILE"}

// isolate gives the child a process group of its own.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// sealDescriptors does nothing: a child inherits only the handles that are listed for it.
func sealDescriptors() {}

// terminateGroup does nothing: there is no signal that asks a program without a console to end. The closed stdin does.
func terminateGroup(*exec.Cmd) {}

// killGroup ends the child. Its own children are not reached: job objects are not used yet.
func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() } // gone already is fine

// reap waits for the child.
func (p *process) reap() error {
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	return err
}
