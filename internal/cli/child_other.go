//go:build !unix

package cli

import (
	"errors"
	"fmt"
	"os/exec"
)

// become runs the command to its end: this system cannot replace a process.
func become(path string, argv []string, a *app) error {
	cmd := exec.Cmd{Path: path, Args: argv, Env: a.env, Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("starting %s: %w", argv[0], err)
	}
	return err
}
