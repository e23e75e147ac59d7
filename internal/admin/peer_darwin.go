package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peersKnown says that peerUID works on this system.
const peersKnown = true

// peerUID returns the user id of the process that connected (unix(4), LOCAL_PEERCRED, which getpeereid reads too).
func peerUID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	uid := -1
	var inner error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Xucred
		if cred, inner = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED); inner == nil {
			uid = int(cred.Uid)
		}
	})
	if err == nil {
		err = inner
	}
	return uid, err
}
