package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peersKnown says that peerUID works on this system.
const peersKnown = true

// peerUID returns the user id of the process that connected, as the kernel saw it then (unix(7), SO_PEERCRED).
func peerUID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	uid := -1
	var inner error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); inner == nil {
			uid = int(cred.Uid)
		}
	})
	if err == nil {
		err = inner
	}
	return uid, err
}
