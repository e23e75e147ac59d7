package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/server"
)

// defaultConfig is the file that is used when none is named and it exists.
const defaultConfig = "sallyport.yaml"

// located adds the flags that say which gateway a command is about.
func (a *app) located(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&a.configPath, "config", "", "configuration of the gateway (default: sallyport.yaml, if there is one here)")
	c.Flags().StringVar(&a.dataDir, "data-dir", "", "data directory of the gateway, instead of a configuration")
	return c
}

// readable adds --json to a command that prints something for people.
func (a *app) readable(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&a.asJSON, "json", false, "print JSON")
	return c
}

// place finds the gateway a command is about: its data directory and, if there is one, its configuration.
func (a *app) place() (*server.File, error) {
	if a.dataDir != "" {
		return server.Checked(server.File{DataDir: a.dataDir})
	}
	if a.configPath == "" {
		if _, err := os.Stat(defaultConfig); err == nil {
			a.configPath = defaultConfig
		}
	}
	if a.configPath != "" {
		return server.ReadFile(a.configPath, a.getenv)
	}
	return a.onlyDataDir()
}

// onlyDataDir returns the data directory that "wrap" and "serve --upstream" made, if there is exactly one.
func (a *app) onlyDataDir() (*server.File, error) {
	home, err := a.dataHome()
	if err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(home, "*", "lock"))
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, &failure{message: "there is no sallyport.yaml here", fix: "name the gateway with --config FILE or --data-dir DIR", cause: errNotFound}
	case 1:
		return server.Checked(server.File{DataDir: filepath.Dir(found[0])})
	}
	dirs := make([]string, len(found))
	for i, f := range found {
		dirs[i] = filepath.Dir(f)
	}
	return nil, &failure{message: "there are several data directories", fix: "name one with --data-dir: " + strings.Join(dirs, ", "), cause: errUsage}
}

// dataHome is where data directories of gateways without a configuration lie (XDG base directory specification).
func (a *app) dataHome() (string, error) {
	if dir, ok := a.getenv("XDG_DATA_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "sallyport"), nil
	}
	home, ok := a.getenv("HOME")
	if !ok || home == "" {
		return "", &failure{message: "HOME is not set", fix: "name a data directory with --data-dir DIR"}
	}
	return filepath.Join(home, ".local", "share", "sallyport"), nil
}

// closeTime is how long closing a data directory may take.
const closeTime = 5 * time.Second

// with calls f with a client of the running gateway or, when none runs, of the data directory itself, which is locked
// meanwhile.
func (a *app) with(ctx context.Context, f func(*admin.Client) error) (err error) {
	file, err := a.place()
	if err != nil {
		return err
	}
	client, err := admin.Dial(ctx, file.DataDir)
	if err == nil {
		return f(client)
	}
	if !errors.Is(err, admin.ErrNoGateway) {
		return err
	}
	if _, err := os.Stat(file.DataDir); errors.Is(err, fs.ErrNotExist) {
		return &failure{message: "there is no data directory " + file.DataDir, fix: "start the gateway once, or make a configuration with: sallyport init", cause: errNotFound}
	}
	data, err := server.OpenDataDir(ctx, file, server.Use{Purpose: "a command while no gateway runs", ChildExec: childExec(), Log: a.quiet()})
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		err = errors.Join(err, data.Close(end))
	}()
	return f(admin.Within(data.Operations(), admin.Local(os.Getuid())))
}

// auditDir is where the log of the gateway lies. It is read directly: a check that asked the gateway would prove less.
func (a *app) auditDir() (string, error) {
	file, err := a.place()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(file.DataDir, "audit")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", &failure{message: "there is no audit log in " + file.DataDir, fix: "start the gateway once", cause: errNotFound}
	}
	return dir, nil
}
