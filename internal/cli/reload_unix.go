//go:build unix

package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// hangups returns a channel that gets a value for each SIGHUP until ctx ends.
func hangups(ctx context.Context) <-chan struct{} {
	signals, asked := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() { // ends with ctx
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				select {
				case asked <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return asked
}
