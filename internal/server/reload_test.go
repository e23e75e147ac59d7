package server_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

// half is a configuration whose rule and role name the same permission. A request that saw the rule of one and the role
// of another would be refused.
func half(upstream, permission string) string {
	return fmt.Sprintf(`servers: [{name: up, url: %q}]
permissions: [{server: up, tool: greet, require: "up:%s"}]
roles: {caller: {permissions: ["up:%s"]}}
limits: {global: off, address: off, tool: off, principal_tool: off, roles: {caller: off}}
`, upstream, permission, permission)
}

func TestReloadUnderLoad(t *testing.T) {
	up := upstream(t, nil)
	g := start(t, t.TempDir(), half(up, "a"))
	key := g.key(t, "caller")
	stop := make(chan struct{})
	var load sync.WaitGroup
	calls := make([]int, 3)
	for i := range calls {
		load.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, text, err := call(client, g.URL+"/up/mcp", key)
				if err != nil || status != http.StatusOK {
					t.Errorf("%d %s, %v", status, text, err)
					return
				}
				calls[i]++
			}
		})
	}
	const rounds = 20
	for i := range rounds {
		g.write(t, half(up, string("ba"[i%2])))
		g.reload <- struct{}{}
		g.log.await(t, "took up the changed configuration", i+1)
	}
	close(stop)
	load.Wait()
	t.Logf("%v calls during %d changes", calls, rounds)
	if calls[0] == 0 {
		t.Error("no call was made")
	}
}

func TestReloadByFileChange(t *testing.T) {
	up := upstream(t, nil)
	g := start(t, t.TempDir(), half(up, "a"))
	g.write(t, strings.Replace(half(up, "a"), `roles: {caller: {permissions: ["up:a"]}}`, "roles: {caller: {permissions: []}}", 1))
	g.log.await(t, "took up the changed configuration", 1)
	if status, text, err := call(http.DefaultClient, g.URL+"/up/mcp", g.key(t, "caller")); status != http.StatusForbidden {
		t.Errorf("the role still permits: %d %s, %v", status, text, err)
	}
}

// TestReloadRefuses has a row for each kind of change that must not be taken up. The old configuration stays in force.
func TestReloadRefuses(t *testing.T) {
	up := upstream(t, nil)
	good := half(up, "a")
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", "nonsense: 1\n" + good, `unknown key \"nonsense\"`},
		{"not YAML", good + "\n: [", "2:1"},
		{"bad meaning", strings.Replace(good, "name: up", "name: keys", 1), "built-in resource"},
		{"listen", "listen: 127.0.0.1:1\nadmin: {listen: 127.0.0.1:0}\ndata_dir: data\n" + good, "listen cannot change while the program runs"},
		{"data directory", "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\ndata_dir: other\n" + good, "data_dir cannot change while the program runs"},
		{"tls", "tls: {cert: a, key: b}\n" + good, "tls cannot change while the program runs"},
		{"authentication", "auth: {disabled: true}\n" + good, "auth"},
		{"a child that is not there", strings.Replace(good, "servers: [", "servers: [{name: child, command: [no-such-program]}, ", 1), "does not start"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			g := start(t, dir, good)
			key := g.key(t, "caller")
			if c.name == "not YAML" {
				c.want = "sallyport.yaml:"
			}
			g.write(t, c.yaml)
			g.reload <- struct{}{}
			g.log.await(t, "the old one stays", 1)
			if !strings.Contains(g.log.String(), c.want) {
				t.Errorf("the log does not say %s:\n%s", c.want, g.log)
			}
			if status, text, err := call(http.DefaultClient, g.URL+"/up/mcp", key); status != http.StatusOK {
				t.Errorf("the old configuration is not in force: %d %s, %v", status, text, err)
			}
			g.stop()
			if err := <-g.ended; err != nil {
				t.Error(err)
			}
			g.ended <- nil
			if n := countEvents(t, dir, audit.ConfigRejected); n != 1 {
				t.Errorf("%d config_rejected events, want 1", n)
			}
			if n := countEvents(t, dir, audit.ConfigChanged); n != 0 {
				t.Errorf("%d config_changed events, want none", n)
			}
		})
	}
}

func countEvents(t *testing.T, dir string, kind audit.Kind) (n int) {
	t.Helper()
	err := auditlog.Scan(t.Context(), filepath.Join(dir, "data", "audit"), time.Time{}, time.Time{}, func(e *audit.Event) error {
		if e.Kind == kind {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
