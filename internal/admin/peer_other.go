//go:build !linux && !darwin

package admin

import (
	"errors"
	"net"
)

// peersKnown says that peerUID does not work on this system, so that Serve refuses.
const peersKnown = false

func peerUID(*net.UnixConn) (int, error) { return -1, errors.ErrUnsupported }
