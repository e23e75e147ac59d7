//go:build !linux && !darwin && !freebsd && !windows

package auditlog

import "errors"

// Free returns errors.ErrUnsupported: there is no way here to ask for the free space of a disk.
func Free(string) (int64, error) { return 0, errors.ErrUnsupported }
