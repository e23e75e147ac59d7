package cli

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/internal/demo"
	"github.com/sallyport-mcp/sallyport/internal/sandbox"
	"github.com/sallyport-mcp/sallyport/internal/server"
)

func (a *app) demoCommand() *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use: "demo", Short: "Show every layer at work, in front of a bundled example server", Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			return demo.Run(c.Context(), demo.Options{Once: once, Stdout: a.stdout})
		},
	}
	c.Flags().BoolVar(&once, "once", false, "end after the tour instead of serving until interrupted")
	return c
}

func (a *app) configCommand() *cobra.Command {
	return group("config", "About the configuration file", &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of sallyport.yaml, for editors", Args: none,
		RunE: func(*cobra.Command, []string) error { return a.say("%s", server.Schema()) },
	})
}

func (a *app) versionCommand() *cobra.Command {
	return a.readable(&cobra.Command{
		Use: "version", Short: "Print the version", Args: none,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Commit  string `json:"commit,omitempty"`
				Go      string `json:"go"`
				System  string `json:"system"`
			}{"(devel)", "", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				if info.Main.Version != "" {
					v.Version = info.Main.Version
				}
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Commit = s.Value
					}
				}
			}
			if a.asJSON {
				return a.printJSON(v)
			}
			return a.say("sallyport %s %s %s\n", v.Version, v.Go, v.System)
		},
	})
}

// childName is the hidden command that becomes a guarded child.
const childName = "__child"

// childExec is the argument list that re-executes this program as the parent of nothing: it becomes the child.
func childExec() []string {
	self, err := os.Executable()
	if err != nil {
		return nil // servers that are commands are then refused, with a reason
	}
	return []string{self, childName}
}

// childCommand replaces this process by the command given, after giving up what the policy before it withholds.
func (a *app) childCommand() *cobra.Command {
	return &cobra.Command{
		Use: childName, Hidden: true, DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			confined, command, err := sandbox.Parse(args)
			if err != nil {
				return usage(c, "%v", err)
			}
			path, err := exec.LookPath(command[0])
			if err != nil {
				return &failure{message: command[0] + " does not start: " + cause(err).Error(), fix: "install it, or give its full path", cause: errNotFound}
			}
			return sandbox.Run(confined, path, command, a.env)
		},
	}
}

func cause(err error) error {
	var lookup *exec.Error
	if errors.As(err, &lookup) {
		return lookup.Err
	}
	return err
}
