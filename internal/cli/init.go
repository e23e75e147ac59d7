package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/server"
)

// template is the file that init writes. A test reads it back.
const template = `# Configuration of Sallyport. Reference: docs/configuration.md; for editors: sallyport config schema

listen: 127.0.0.1:8443          # anything but loopback needs tls
data_dir: ./data                # keys, store and audit log
# public_url: https://mcp.example.com
# tls: {cert: cert.pem, key: key.pem}

# The guarded servers. Each is reached at its path, by default /<name>/mcp.
servers: []
#  - {name: files, command: [npx, -y, "@modelcontextprotocol/server-filesystem", /srv]}
#  - {name: weather, url: "http://127.0.0.1:3001/mcp"}

# What a tool needs; without a rule it needs <server>:<tool>.
permissions: []
#  - {server: files, tool: "write_*", require: "files:write"}

# Nobody may do anything but admin, until a role says so.
roles: {}
#  user: {permissions: ["weather:*", "files:read_*"]}

# limits: {roles: {user: {capacity: 200, refill: 5}}}
audit: {mode: durable, retention: 90d}
`

func (a *app) initCommand() *cobra.Command {
	path := defaultConfig
	c := &cobra.Command{
		Use: "init", Short: "Write sallyport.yaml, make its data directory and the first administrator's key", Args: none,
		RunE: func(c *cobra.Command, _ []string) error { return a.initialize(c.Context(), path) },
	}
	c.Flags().StringVar(&path, "config", path, "file to write; its data directory is beside it")
	return a.readable(c)
}

// initialize makes everything or nothing.
func (a *app) initialize(ctx context.Context, path string) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return &failure{message: path + " exists already", fix: "remove it, or name another file with --config", cause: errRefused}
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return &failure{message: "there is no directory " + filepath.Dir(path), fix: "make it first, or name another file with --config"}
	}
	file, err := server.ParseFile([]byte(template), path, a.getenv)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(file.DataDir); err == nil {
		return &failure{message: file.DataDir + " exists already", fix: "it may hold the keys and the log of a gateway; move it away, or choose another place with --config", cause: errRefused}
	}
	data, err := server.OpenDataDir(ctx, file, server.Use{Purpose: "init", Log: a.quiet()})
	if err != nil {
		return err
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	key, err := admin.Within(data.Operations(), admin.Local(os.Getuid())).
		CreateKey(ctx, admin.KeySpec{Name: "first administrator", Roles: []string{"admin"}})
	if err == nil {
		err = create(path, []byte(template))
	}
	if err != nil {
		return errors.Join(err, data.Discard(end))
	}
	if err := data.Close(end); err != nil {
		return err
	}
	if a.asJSON {
		return a.printJSON(map[string]string{"config": path, "data_dir": file.DataDir, "key": key.Text})
	}
	return a.say("Wrote %s and made %s.\n\nThe administrator's key, shown this once (until %s):\n\n  %s\n\nNext: add a server to %s, then: sallyport check && sallyport serve\n",
		path, file.DataDir, key.Record.Expires.UTC().Format("2006-01-02"), key.Text, path)
}

// create writes a new file as a whole; one that exists stays.
func create(path string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".sallyport-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // a second name of the file, or of nothing
	_, err = tmp.Write(text)
	if synced := tmp.Sync(); err == nil {
		err = synced
	}
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Link(tmp.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		return &failure{message: path + " exists already", fix: "remove it, or name another file with --config", cause: errRefused}
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
