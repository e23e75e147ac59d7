//go:build unix

package accept_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// guarded is one server behind the gateway: url or command is set.
type guarded struct {
	name    string
	url     string
	command []string
	env     map[string]string // of the command
	user    string            // whom the command runs as
	sandbox string            // how the command is confined
}

// setup is what a test wants from a gateway.
type setup struct {
	servers []guarded
	open    bool     // authentication off, everybody an administrator
	extra   string   // further YAML, at the top level
	env     []string // further environment
}

// gateway is the built program serving a configuration file.
type gateway struct {
	*process
	base   string // http://127.0.0.1:port
	admin  string // the same of the admin listener
	config string // path of the file
	data   string // data directory
}

// yaml is the configuration file of a test. Limits are out of the way unless extra sets them.
func (s setup) yaml(listen, admin, data string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: %q\nadmin: {listen: %q}\ndata_dir: %q\n", listen, admin, data)
	if s.open {
		b.WriteString("auth: {disabled: true, anonymous_role: admin}\n")
	}
	b.WriteString("servers:\n")
	for _, one := range s.servers {
		if one.url != "" {
			fmt.Fprintf(&b, "  - {name: %s, url: %q}\n", one.name, one.url)
			continue
		}
		fmt.Fprintf(&b, "  - name: %s\n    command:\n", one.name)
		for _, word := range one.command {
			fmt.Fprintf(&b, "      - %q\n", word)
		}
		if one.user != "" {
			fmt.Fprintf(&b, "    user: %q\n", one.user)
		}
		if one.sandbox != "" {
			fmt.Fprintf(&b, "    sandbox: %s\n", one.sandbox)
		}
		if one.env != nil {
			b.WriteString("    env:\n")
		}
		for name, value := range one.env {
			fmt.Fprintf(&b, "      %s: %q\n", name, value)
		}
	}
	if !strings.Contains(s.extra, "limits:") {
		b.WriteString("limits: {global: off, address: off, failed_auth: off, principal_tool: off, tool: off, roles: {guest: off, user: off, premium: off, admin: off}}\n")
	}
	b.WriteString(s.extra)
	return b.String()
}

// startGateway writes the configuration, runs "sallyport serve --config" and waits until it is ready.
func startGateway(t *testing.T, s setup) *gateway {
	t.Helper()
	dir := t.TempDir()
	listen, admin := freeAddress(t), freeAddress(t)
	g := &gateway{
		base: "http://" + listen, admin: "http://" + admin,
		config: filepath.Join(dir, "sallyport.yaml"), data: filepath.Join(dir, "data"),
	}
	if err := os.WriteFile(g.config, []byte(s.yaml(listen, admin, g.data)), 0o600); err != nil {
		t.Fatal(err)
	}
	g.run(t, s.env)
	return g
}

// run starts the program, again after a stop or a kill, and waits until it is ready.
func (g *gateway) run(t *testing.T, env []string) {
	t.Helper()
	g.process = start(t, environment(t, env...), sallyport(t), "serve", "--config", g.config)
	waitFor(t, g.process, 30*time.Second, "the gateway is ready", func() bool {
		resp, err := http.Get(g.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close() // Only the status counts.
		return resp.StatusCode == http.StatusOK
	})
}

// endpoint is the URL of a server behind the gateway.
func (g *gateway) endpoint(name string) string { return g.base + "/" + name + "/mcp" }

// command runs the command line on the same configuration and returns all it wrote. It must succeed.
func (g *gateway) command(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, append(args, "--config", g.config)...)
}

// newKey makes an API key with the role and returns it.
func (g *gateway) newKey(t *testing.T, role string) string {
	t.Helper()
	return createKey(t, role, "--config", g.config)
}

// createKey makes an API key with further arguments: what it may do, and where the gateway's data is.
func createKey(t *testing.T, role string, more ...string) string {
	t.Helper()
	out := command(t, append([]string{"key", "create", "--role", role, "--name", "acceptance-" + role}, more...)...)
	key := shownKey.FindString(out)
	if key == "" {
		t.Fatalf("key create printed no key:\n%s", out)
	}
	return key
}

// command runs the command line to its end and returns all it wrote. It must succeed.
func command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), sallyport(t), args...)
	cmd.Env = environment(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sallyport %q: %v\n%s", args, err, out)
	}
	return string(out)
}
