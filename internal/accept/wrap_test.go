//go:build unix

package accept_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// acts is what is done with one server: a tool that a narrow key may call and one that it may not.
type acts struct {
	pattern string   // permission of the narrow key, with SERVER for the server's name
	allowed string   // tool the narrow key may call
	args    []string // its arguments, "name=value"
	want    string   // in its result
	denied  string   // tool that exists and that the narrow key may not call
}

// wrapped is a running "sallyport wrap".
type wrapped struct {
	url, key, data string
}

var (
	shownURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+/[a-z0-9_/-]*mcp\b`)
	shownKey = regexp.MustCompile(`\bsp_[A-Za-z0-9_-]{20,}`)
)

// startWrap runs "sallyport wrap -- command" and reads the URL and the first key from what it prints.
func startWrap(t *testing.T, n node, command []string) wrapped {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	args := append([]string{"wrap", "--listen", freeAddress(t), "--data-dir", data, "--"}, command...)
	p := start(t, environment(t, n.path()), sallyport(t), args...)
	w := wrapped{data: data}
	waitFor(t, p, 30*time.Second, "wrap has printed its URL and key, and listens", func() bool {
		w.url, w.key = shownURL.FindString(p.out.String()), shownKey.FindString(p.out.String())
		u, err := url.Parse(w.url)
		return err == nil && w.url != "" && w.key != "" && accepts(u.Host)
	})
	return w
}

// TestAcceptInspector does the same four acts with the Inspector in front of real servers: list, call, a call that is
// denied, and a name that does not exist.
func TestAcceptInspector(t *testing.T) {
	n := findNode(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "seen.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name    string
		command []string
		acts    acts
	}{
		{
			"filesystem", n.npx("@modelcontextprotocol/server-filesystem", dir),
			acts{"SERVER:list_*", "list_directory", []string{"path=" + dir}, "seen.txt", "read_text_file"},
		},
		{
			"everything", n.npx("@modelcontextprotocol/server-everything"),
			acts{"SERVER:echo", "echo", []string{"message=hello"}, "hello", "get-env"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := startWrap(t, n, row.command)
			server := strings.Split(w.url, "/")[3]
			pattern := strings.ReplaceAll(row.acts.pattern, "SERVER", server)
			narrow := createKey(t, "admin", "--permission", pattern, "--data-dir", w.data)
			for _, protocolEra := range []string{"auto", "legacy"} {
				fourActs(t, n, w.url, protocolEra, w.key, narrow, row.acts)
			}
			sameWords(t, newClient(w.url, narrow, legacy).mustConnect(t), row.acts.denied)
			refusesModern(t, newClient(w.url, w.key, modern))
		})
	}
	t.Run("modern", func(t *testing.T) {
		g := startGateway(t, setup{servers: []guarded{{name: "all", url: startEverything(t, modern)}}})
		narrow := createKey(t, "admin", "--permission", "all:test_simple_*", "--config", g.config)
		what := acts{"", "test_simple_text", nil, "simple text", "test_image_content"}
		fourActs(t, n, g.endpoint("all"), "modern", g.newKey(t, "admin"), narrow, what)
		sameWords(t, newClient(g.endpoint("all"), narrow, modern).mustConnect(t), what.denied)
	})
}

// fourActs lists, calls, is denied and asks for what does not exist.
func fourActs(t *testing.T, n node, url, protocolEra, key, narrow string, a acts) {
	t.Helper()
	all, some := n.list(t, url, protocolEra, key), n.list(t, url, protocolEra, narrow)
	if !slices.Contains(all, a.allowed) || !slices.Contains(all, a.denied) {
		t.Errorf("%s: a key that may do everything sees %q", protocolEra, all)
	}
	if !slices.Contains(some, a.allowed) || slices.Contains(some, a.denied) {
		t.Errorf("%s: a narrow key sees %q", protocolEra, some)
	}
	if o := n.callTool(t, url, protocolEra, narrow, a.allowed, a.args...); o.Code != inspectorOK || !strings.Contains(o.Out, a.want) {
		t.Errorf("%s: calling %s: %+v", protocolEra, a.allowed, o)
	}
	denied := n.callTool(t, url, protocolEra, narrow, a.denied)
	invented := n.callTool(t, url, protocolEra, narrow, "invented")
	if denied.Code != inspectorNoTool || denied.Code != invented.Code ||
		strings.ReplaceAll(denied.Err, a.denied, "T") != strings.ReplaceAll(invented.Err, "invented", "T") {
		t.Errorf("%s: a denied and an invented tool look different:\n%+v\n%+v", protocolEra, denied, invented)
	}
}

// sameWords asks the gateway itself, which the Inspector does not: it refuses what is not in the list without asking.
func sameWords(t *testing.T, c *client, existing string) {
	t.Helper()
	var words []string
	for _, tool := range []string{existing, "invented"} {
		r, err := c.call(t.Context(), tool, nil)
		if err != nil || r.Status != http.StatusForbidden || r.Error == nil {
			t.Errorf("calling %s: want 403 with a JSON-RPC error, got %v, %s", tool, err, r)
			return
		}
		if !strings.Contains(string(r.Body), ":"+tool) {
			t.Errorf("the refusal of %s does not name the missing permission: %s", tool, r)
		}
		said := r.Error.Message + string(r.Error.Data) + r.Header.Get("WWW-Authenticate")
		words = append(words, strings.ReplaceAll(said, tool, "T"))
	}
	if words[0] != words[1] {
		t.Errorf("an existing and an invented tool are refused in different words:\n%s\n%s", words[0], words[1])
	}
}

// refusesModern checks what a client of the modern era is told by a server that does not speak it.
func refusesModern(t *testing.T, c *client) {
	t.Helper()
	r, err := c.do(t.Context(), "tools/list", nil)
	if err != nil || r.Status != http.StatusBadRequest || r.Error == nil || r.Error.Code != -32022 {
		t.Errorf("a modern request to a legacy server: want 400 and -32022, got %v, %s", err, r)
		return
	}
	var data struct{ Supported []string }
	if err := json.Unmarshal(r.Error.Data, &data); err != nil || len(data.Supported) == 0 {
		t.Errorf("the refusal does not say which revisions are supported: %s", r)
	}
}
