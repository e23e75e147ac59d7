// Sallyport is a gateway that guards MCP servers. This file turns signals, arguments and streams into one call of
// package cli and its error into an exit code; nothing else belongs here.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sallyport-mcp/sallyport/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { // a second signal ends the program at once
		<-ctx.Done()
		stop()
	}()
	err := cli.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	os.Exit(cli.ExitCode(err))
}
