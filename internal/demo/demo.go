package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-mcp/sallyport"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/policy"
	"github.com/sallyport-mcp/sallyport/store/sqlite"
)

// Options say how the demo runs.
type Options struct {
	Once   bool      // end after the tour instead of serving until ctx ends
	Stdout io.Writer // where the tour is told. Required.
	Log    io.Writer // process log. Nil: discarded.
}

// people are the holders of the demo's keys, one for each default role.
func people() []struct{ name, role string } {
	return []struct{ name, role string }{{"visitor", "guest"}, {"alice", "user"}, {"paula", "premium"}, {"root", "admin"}}
}

// Run starts the example server, the gateway in front of it and the tour, all in this process, on loopback, with random
// secrets and a data directory that is removed at the end.
func Run(ctx context.Context, o Options) (err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	dir, err := os.MkdirTemp("", "sallyport-demo-")
	if err != nil {
		return fmt.Errorf("making the demo's data directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	upstream, stopUpstream, err := listen(NewServer())
	if err != nil {
		return err
	}
	defer stopUpstream()
	store, err := sqlite.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	guard, err := sallyport.Open(ctx, config(dir, upstream, store, o.Log))
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, guard.Close(end))
	}()
	base, stopGateway, err := listen(guard.Handler())
	if err != nil {
		return err
	}
	defer stopGateway()
	return present(ctx, o, guard, filepath.Join(dir, "audit"), base)
}

// present takes the tour, shows the evidence, and serves until ctx ends.
func present(ctx context.Context, o Options, guard *sallyport.Guard, auditDir, base string) error {
	keys, err := makeKeys(ctx, guard.Operations())
	if err != nil {
		return err
	}
	t := &tour{out: o.Stdout, base: base, keys: keys}
	_, _ = fmt.Fprintf(o.Stdout, "An MCP server that knows nothing of security, and Sallyport in front of it at %s/demo/mcp\n\n", base)
	if err := t.walk(ctx); err != nil {
		return err
	}
	if err := evidence(ctx, o.Stdout, guard.Operations(), auditDir); err != nil {
		return err
	}
	if o.Once {
		return nil
	}
	_, _ = fmt.Fprintf(o.Stdout, "\nServing until interrupted. Try it with the key of root:\n  %s\n", keys["root"].Reveal())
	<-ctx.Done()
	return nil
}

// config is the demo's configuration: the four default roles, each with a little more than the one before.
func config(dir, upstream string, store sallyport.Store, log io.Writer) sallyport.Config {
	return sallyport.Config{
		DataDir: dir,
		Store:   store,
		Servers: []sallyport.Server{{Name: "demo", Path: "/demo/mcp", URL: upstream}},
		Permissions: []policy.Rule{
			{Server: "demo", Tool: "get_weather", Require: "weather:read"},
			{Server: "demo", Tool: "read_file", Require: "files:read"},
			{Server: "demo", Tool: "write_file", Require: "files:write"},
			{Server: "demo", Tool: "list_users", Require: "users:view"},
		},
		Roles: []policy.Role{
			{Name: "guest", Permissions: []string{"weather:read"}},
			{Name: "user", Permissions: []string{"files:read"}, Inherits: []string{"guest"}},
			{Name: "premium", Permissions: []string{"files:write"}, Inherits: []string{"user"}},
			{Name: "admin", Permissions: []string{"*"}},
		},
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
}

func makeKeys(ctx context.Context, ops *admin.Operations) (map[string]secret.Text, error) {
	keys := map[string]secret.Text{}
	for _, p := range people() {
		made, err := ops.CreateKey(ctx, admin.Local(os.Getuid()), admin.KeySpec{Name: p.name, Roles: []string{p.role}})
		if err != nil {
			return nil, err
		}
		keys[p.name] = secret.New(made.Text)
	}
	return keys, nil
}

// listen serves h on a free loopback port until stop is called.
func listen(h http.Handler) (base string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listening on loopback: %w", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // ends with http.ErrServerClosed
	}()
	return "http://" + l.Addr().String(), func() {
		_ = s.Close() // nobody is left to wait for
		<-done
	}, nil
}
