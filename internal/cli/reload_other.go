//go:build !unix

package cli

import "context"

// hangups never gets a value: this system has no SIGHUP. A changed file is noticed all the same.
func hangups(context.Context) <-chan struct{} { return nil }
