// Package cli is the command line: it reads arguments, asks the running gateway or the data directory, and prints.
//
// For most uses, call [Run] from main and turn its error into an exit code with [ExitCode]. It decides nothing and
// keeps nothing; what a command does is a verb of package admin or a call of package server.
//
// The one invariant: every failure is one "error:" line for each mistake, "hint:" lines that say what to do, and a
// documented exit code; text that others chose is escaped before it reaches a terminal.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// app is what every command has: the streams and the environment of this run.
type app struct {
	env    []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer

	asJSON     bool   // --json
	configPath string // --config
	dataDir    string // --data-dir
}

// Run executes one command line (without the program's name) and prints its errors to stderr. It returns when the
// command has ended or ctx has.
func Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) error {
	a := &app{env: env, stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		report(stderr, err)
	}
	return err
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "A gateway that guards MCP servers: authentication, permissions, limits and an audit log that can be checked",
		Long: `Sallyport stands in front of MCP servers that know nothing of security.

Exit codes: 0 done, 1 error, 2 wrong usage, 3 what was named does not exist,
4 refused or the data directory is in use, 5 verification found damage.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, "%v", err) })
	root.AddCommand(
		a.demoCommand(), a.wrapCommand(), a.serveCommand(), a.initCommand(), a.checkCommand(),
		a.roleCommand(), a.keyCommand(), a.tokenCommand(), a.auditCommand(), a.alertCommand(),
		a.configCommand(), a.versionCommand(), a.childCommand(),
	)
	for _, c := range everyCommand(root) {
		if c.HasSubCommands() && c.RunE == nil { // a mistyped subcommand is an error, not a help page
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(c *cobra.Command, args []string) error {
				if len(args) == 0 {
					return c.Help()
				}
				return usage(c, "unknown command %q", args[0])
			}
		}
	}
	return root
}

func everyCommand(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, everyCommand(sub)...)
	}
	return all
}

// group makes a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(subs...)
	return c
}

// getenv looks up a variable of this run.
func (a *app) getenv(name string) (string, bool) {
	for _, entry := range slices.Backward(a.env) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

func (a *app) log() *slog.Logger { return slog.New(slog.NewTextHandler(a.stderr, nil)) }

// quiet is the process log of commands that end by themselves: only what went wrong.
func (a *app) quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

// printJSON writes one value for programs.
func (a *app) printJSON(v any) error {
	text, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	_, err = fmt.Fprintln(a.stdout, string(text))
	return err
}

func (a *app) say(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}

// exact is a cobra argument check whose error is a usage error.
func exact(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usage(c, "%s needs %s", c.CommandPath(), what)
		}
		return nil
	}
}

func none(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(c, "%s takes no argument: %q", c.CommandPath(), args[0])
	}
	return nil
}

var errUsage = errors.New("wrong usage")
