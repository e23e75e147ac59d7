package sandbox

import (
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepared is the rule set to enter: a descriptor that exec closes, or -1 for none.
type prepared int

func prepare(p Policy) (prepared, error) {
	if len(p.Hidden) == 0 {
		return -1, nil
	}
	fd, err := newRuleSet(p.Hidden, p.User == "" && os.Geteuid() == 0)
	if err != nil {
		return -1, fmt.Errorf("making the rule set of the child: %w", err)
	}
	return prepared(fd), nil
}

// confine gives up, on this thread alone, the way back to privileges and everything outside the rule set. Each step that
// fails is an error, save where Look says that the kernel lacks it.
func confine(rules prepared, sameUser bool) error {
	// A change of user, and a start from another thread, have dropped the wish to die with the gateway (prctl(2)).
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("asking to end with the gateway: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new privileges: %w", err)
	}
	if rules >= 0 {
		if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0); errno != 0 {
			return fmt.Errorf("entering the rule set: %w", errno)
		}
	}
	if err := dropCapabilities(sameUser && os.Geteuid() == 0); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	return nil
}

// filesOfOthers are what is left of root's capabilities where the child runs as root: it can do with the files it
// reaches what root can. Devices, modules, mounts, raw memory, tracing and other users' processes are gone.
const filesOfOthers = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID

// dropCapabilities leaves root with filesOfOthers and everybody else with nothing.
func dropCapabilities(root bool) error {
	var keep uint32
	if root {
		keep = filesOfOthers
	}
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if c < 32 && keep&(1<<c) != 0 {
			continue
		}
		// Refused to those who may not: without new privileges exec adds none to the permitted ones anyway.
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&head, &have[0]); err != nil {
		return err
	}
	left := [2]unix.CapUserData{{Permitted: have[0].Permitted & keep, Effective: have[0].Permitted & keep}}
	return unix.Capset(&head, &left[0])
}

// sealRange does in one call what seal is for; false where the kernel (before 5.11) cannot.
func sealRange() bool {
	return unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil
}

// Undumpable keeps processes of the same user from tracing this one and from reading its memory and environment, and
// forbids core dumps of it (prctl(2), PR_SET_DUMPABLE). Children that are exec'd are as usual.
func Undumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("closing this process to others of its user: %w", err)
	}
	return nil
}
