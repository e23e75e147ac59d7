package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/internal/server"
	"github.com/sallyport-mcp/sallyport/policy"
)

// quick is the flags of a gateway without a configuration file.
type quick struct {
	name, listen, admin, dataDir string
	open                         bool
	pass                         []string
}

func (q *quick) flags(c *cobra.Command) {
	c.Flags().StringVar(&q.name, "name", "", "name of the server; its URL path is /NAME/mcp")
	c.Flags().StringVar(&q.listen, "listen", "", "address to listen on (default 127.0.0.1:8443)")
	c.Flags().StringVar(&q.admin, "admin-listen", "off", "loopback address for /healthz, /readyz and /metrics")
	c.Flags().StringVar(&q.dataDir, "data-dir", "", "data directory (default: sallyport/NAME in the user's data directory)")
	c.Flags().BoolVar(&q.open, "no-auth", false, "let every program on this machine in; loopback only")
}

func (a *app) wrapCommand() *cobra.Command {
	var q quick
	c := &cobra.Command{
		Use: "wrap [flags] -- COMMAND [ARGUMENT...]", Short: "Guard a server that speaks MCP over stdio; no configuration needed",
		Example: "  sallyport wrap -- npx -y @modelcontextprotocol/server-filesystem .",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(c, "%s needs a command after --", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			s := server.ServerSection{Name: q.name, Command: args}
			if s.Name == "" {
				s.Name = nameOf(args)
			}
			var err error
			if s.Dir, err = os.Getwd(); err != nil {
				return fmt.Errorf("finding the working directory: %w", err)
			}
			if s.Env, err = a.passed(c, q.pass); err != nil {
				return err
			}
			return a.quickly(c.Context(), &q, s)
		},
	}
	q.flags(c)
	c.Flags().StringSliceVar(&q.pass, "env", nil, "name of a variable of our environment that the server gets too; may be repeated")
	return c
}

// passed collects the variables that the child gets. Only names are taken: values do not belong on a command line.
func (a *app) passed(c *cobra.Command, names []string) (map[string]string, error) {
	env := map[string]string{}
	for _, name := range names {
		value, ok := a.getenv(name)
		if !ok {
			return nil, usage(c, "--env: the variable %q is not set; give its name alone", name)
		}
		env[name] = value
	}
	return env, nil
}

func (a *app) serveCommand() *cobra.Command {
	var q quick
	var upstream string
	c := &cobra.Command{
		Use: "serve [--config FILE | --upstream URL]", Short: "Guard the servers of a configuration, or one at a URL", Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if upstream == "" {
				for _, name := range []string{"name", "listen", "admin-listen", "data-dir", "no-auth"} {
					if c.Flags().Changed(name) {
						return usage(c, "--%s belongs to --upstream; a configuration says it itself", name)
					}
				}
				return a.serveFile(c.Context())
			}
			if a.configPath != "" {
				return usage(c, "--config and --upstream exclude each other")
			}
			s := server.ServerSection{Name: q.name, URL: upstream}
			if s.Name == "" {
				s.Name = nameOfURL(upstream)
			}
			return a.quickly(c.Context(), &q, s)
		},
	}
	c.Flags().StringVar(&a.configPath, "config", "", "configuration file (default: sallyport.yaml)")
	c.Flags().StringVar(&upstream, "upstream", "", "MCP endpoint of the server to guard, such as http://127.0.0.1:3001/mcp")
	q.flags(c)
	return c
}

func (a *app) serveFile(ctx context.Context) error {
	path := a.configPath
	if path == "" {
		path = defaultConfig
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	return server.Run(ctx, server.Options{
		Path: path, Getenv: a.getenv, ChildExec: childExec(), Log: a.log(), Reload: hangups(ctx),
		Ready: func(_ context.Context, r server.Running) error { return a.say("Sallyport listens on %s\n", r.URL) },
	})
}

// userRole is the role of the first key, and of everyone without authentication.
const userRole = "user"

// quickly runs a gateway in front of one server, without a configuration file.
func (a *app) quickly(ctx context.Context, q *quick, s server.ServerSection) error {
	f := server.File{
		Listen: q.listen, Admin: server.AdminSection{Listen: q.admin}, DataDir: q.dataDir,
		Servers: []server.ServerSection{s},
		Auth:    server.AuthSection{Disabled: q.open},
	}
	if q.open {
		f.Auth.AnonymousRole = userRole
		f.Roles = map[string]server.RoleSection{userRole: {Permissions: []string{s.Name + ":*"}}}
	}
	if f.DataDir == "" {
		home, err := a.dataHome()
		if err != nil {
			return err
		}
		f.DataDir = filepath.Join(home, s.Name)
	}
	checked, err := server.Checked(f)
	if err != nil {
		return err
	}
	return server.Run(ctx, server.Options{
		File: checked, Getenv: a.getenv, ChildExec: childExec(), Log: a.log(),
		Ready: func(ctx context.Context, r server.Running) error { return a.welcome(ctx, r) },
	})
}

var (
	runners = regexp.MustCompile(`^(npx|pnpx|bunx|uvx|pipx|node|deno|bun|python[0-9.]*|uv|go|docker|podman)(\.exe|\.cmd)?$`)
	affixes = regexp.MustCompile(`^(mcp-server-|server-|mcp-)|(-mcp-server|-mcp|-server)$`)
	unfit   = regexp.MustCompile(`[^a-z0-9_-]+`)
)

// nameOf finds a name for a command: that of the program or, behind a runner such as npx, that of the package.
func nameOf(command []string) string {
	if !runners.MatchString(filepath.Base(command[0])) {
		return fitting(filepath.Base(command[0]))
	}
	for _, arg := range command[1:] {
		base := filepath.Base(arg)
		if !strings.HasPrefix(arg, "-") && (strings.Contains(base, "mcp") || strings.Contains(base, "server")) {
			return fitting(base)
		}
	}
	return "mcp"
}

func nameOfURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "mcp"
	}
	host, _, _ := strings.Cut(u.Hostname(), ".")
	if host == "localhost" || strings.Trim(host, "0123456789") == "" {
		return "mcp"
	}
	return fitting(host)
}

// fitting makes a server name of a text.
func fitting(text string) string {
	text, _, _ = strings.Cut(strings.ToLower(text), "@") // the version of a package
	text = strings.TrimSuffix(text, filepath.Ext(text))
	text = unfit.ReplaceAllString(affixes.ReplaceAllString(text, ""), "-")
	if policy.ValidServer(text) != nil {
		return "mcp"
	}
	return text
}
