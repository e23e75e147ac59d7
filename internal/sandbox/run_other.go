//go:build !unix

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Run runs the program at path to its end: this system cannot replace a process, and nothing of the policy but its
// user, which is refused, can be applied. It returns nil or the *exec.ExitError of the program.
func Run(p Policy, path string, argv, env []string) error {
	if p.User != "" {
		return ErrNotRoot
	}
	cmd := exec.Cmd{Path: path, Args: argv, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("starting %s: %w", argv[0], err)
	}
	return err
}
