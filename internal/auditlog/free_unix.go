//go:build linux || darwin || freebsd

package auditlog

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Free returns how many bytes of the disk that dir lies on are free for us.
func Free(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("reading the free space of %s: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil //nolint:unconvert // the types differ between systems
}
