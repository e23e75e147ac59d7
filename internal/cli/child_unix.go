//go:build unix

package cli

import (
	"fmt"
	"syscall"
)

// become replaces this process; descriptors other than the three standard ones are closed on exec already.
func become(path string, argv []string, a *app) error {
	return fmt.Errorf("starting %s: %w", argv[0], syscall.Exec(path, argv, a.env))
}
