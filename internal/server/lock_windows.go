package server

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockedByte is where the lock lies: far behind the process id, so that others can read that.
const lockedByte = 1 << 30

// lockFile locks an open file against every other open of it, in this process or another, until it is closed.
func lockFile(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{Offset: lockedByte})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errHeld
	}
	return err
}
