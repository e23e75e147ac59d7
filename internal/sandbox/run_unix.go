//go:build unix

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// maxFiles is how many descriptors a child may have open.
const maxFiles = 4096

// Run applies the policy to this process and replaces it by the program at path. It returns only on an error, and then
// the process is partly confined and fit for nothing but its end. argv[0] is the program's name.
func Run(p Policy, path string, argv, env []string) error {
	runtime.LockOSThread() // what is given up belongs to the thread that becomes the child; never unlocked
	parent := os.Getppid()
	rules, err := prepare(p) // before the user changes: another may not see every directory
	if err != nil {
		return err
	}
	if err := limit(); err != nil {
		return err
	}
	seal()
	if p.User != "" {
		u, err := ParseUser(p.User)
		if err != nil {
			return err
		}
		env = atHome(env, u)
		if err := become(u); err != nil {
			return fmt.Errorf("becoming user %s: %w", p.User, err)
		}
	}
	if err := confine(rules, p.User == ""); err != nil {
		return err
	}
	if os.Getppid() != parent {
		return errors.New("the gateway has ended")
	}
	if err := syscall.Exec(path, argv, env); err != nil {
		return fmt.Errorf("starting %s: %w", argv[0], err)
	}
	return nil
}

// limit bounds what is counted for one process alone. Processes and memory are not: the kernel counts the first over all
// of a user's, and runtimes reserve far more address space than they use.
func limit() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	files.Max = min(files.Max, maxFiles)
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limiting open files: %w", err)
	}
	return nil
}

// seal marks every descriptor above stderr to be closed on exec.
func seal() {
	if sealRange() {
		return
	}
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		return // no such place here; the gateway has marked its own before it started us
	}
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// become changes the user for good and drops all other groups. It fails unless we are root.
func become(u User) error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	if err := syscall.Setgroups([]int{u.GID}); err != nil {
		return err
	}
	if err := syscall.Setgid(u.GID); err != nil {
		return err
	}
	return syscall.Setuid(u.UID)
}
