//go:build linux || darwin

package admin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/secret"
)

func serve(t *testing.T, h *house, dir string) *admin.Server {
	t.Helper()
	s, err := admin.Serve(dir, h.Operations, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSocket(t *testing.T) {
	h, dir := open(t), t.TempDir()
	if _, err := admin.Dial(t.Context(), dir); !errors.Is(err, admin.ErrNoGateway) {
		t.Fatalf("before it runs: %v", err)
	}
	s := serve(t, h, dir)
	for path, mode := range map[string]os.FileMode{s.Path(): 0o600, filepath.Dir(s.Path()): 0o700, filepath.Join(dir, "admin.token"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode().Perm(), err, mode)
		}
	}
	c, err := admin.Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.CreateKey(t.Context(), admin.KeySpec{Name: "a", Roles: []string{"user"}, Permissions: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := c.Keys(t.Context()); err != nil || len(keys) != 1 || keys[0].ID != key.Record.ID {
		t.Errorf("keys %v, %v", keys, err)
	}
	if got := h.Keys.List()[0].Permissions; got == nil || len(got) != 0 {
		t.Errorf("a key narrowed to nothing became %#v on the way", got)
	}
	if want := admin.Local(os.Getuid()); h.recorder.events[0].Principal != want {
		t.Errorf("recorded for %v, want %v", h.recorder.events[0].Principal, want)
	}
	_, err = c.RevokeKey(t.Context(), "unknown")
	var answer *admin.Error
	if !errors.As(err, &answer) || answer.Code != admin.NotFound || answer.Hint() == "" {
		t.Errorf("an error lost its code or hint on the way: %#v", err)
	}
	r, err := c.Report(t.Context(), "24h")
	if err != nil || len(r.SecurityEvents) != 1 || r.SecurityEvents[0].Claimed.Text != `a\x1b[2J` {
		t.Errorf("report %+v, %v", r, err)
	}
}

func TestSocketOutlivesACrash(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o755); err != nil { // too open: it is closed
		t.Fatal(err)
	}
	l, err := net.Listen("unix", admin.SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close() // the file stays, as after a crash
	if err := os.WriteFile(filepath.Join(dir, "admin.token"), []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Dial(t.Context(), dir); !errors.Is(err, admin.ErrNoGateway) {
		t.Errorf("a socket nobody listens on: %v", err)
	}
	serve(t, open(t), dir)
	if _, err := admin.Dial(t.Context(), dir); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "run")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory has mode %v, %v", info.Mode().Perm(), err)
	}
}

func TestSocketOfALongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := serve(t, open(t), dir)
	if len(s.Path()) > 100 || strings.HasPrefix(s.Path(), dir) {
		t.Errorf("the socket lies at %s", s.Path())
	}
	if _, err := admin.Dial(t.Context(), dir); err != nil {
		t.Error(err)
	}
}

// TestSocketDirectoryIsOurs refuses a link that somebody put where the directory of the socket should be.
func TestSocketDirectoryIsOurs(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "run")); err != nil {
		t.Fatal(err)
	}
	if s, err := admin.Serve(dir, open(t).Operations, slog.New(slog.DiscardHandler)); err == nil {
		_ = s.Close(t.Context()) // it should not be there
		t.Error("served behind a link")
	}
}

// TestSocketRefuses has a row for each caller who must not get in and each request that is not a verb.
func TestSocketRefuses(t *testing.T) {
	const self, good = 1000, "Bearer right-token"
	for _, c := range []struct {
		name, addr, bearer, method, path, body string
		status                                 int
	}{
		{"the user", "1000", good, "POST", "/v1/keys.list", "{}", 200},
		{"root", "0", good, "POST", "/v1/keys.list", "{}", 200},
		{"another user", "1001", good, "POST", "/v1/keys.list", "{}", 403},
		{"nobody known", "-1", good, "POST", "/v1/keys.list", "{}", 403},
		{"an address", "127.0.0.1:80", good, "POST", "/v1/keys.list", "{}", 403},
		{"no address", "", good, "POST", "/v1/keys.list", "{}", 403},
		{"no token", "1000", "", "POST", "/v1/keys.list", "{}", 403},
		{"wrong token", "1000", "Bearer wrong-token", "POST", "/v1/keys.list", "{}", 403},
		{"the beginning of the token", "1000", "Bearer right", "POST", "/v1/keys.list", "{}", 403},
		{"token without scheme", "1000", "right-token", "POST", "/v1/keys.list", "{}", 403},
		{"root without token", "0", "", "POST", "/v1/keys.list", "{}", 403},
		{"GET", "1000", good, "GET", "/v1/keys.list", "", 404},
		{"unknown verb", "1000", good, "POST", "/v1/keys.steal", "{}", 404},
		{"another path", "1000", good, "POST", "/keys.list", "{}", 404},
		{"not JSON", "1000", good, "POST", "/v1/keys.list", "x", 400},
		{"unknown member", "1000", good, "POST", "/v1/keys.create", `{"name":"a","roles":["user"],"admin":true}`, 400},
		{"member twice", "1000", good, "POST", "/v1/keys.create", `{"name":"a","name":"b","roles":["user"]}`, 400},
		{"too long", "1000", good, "POST", "/v1/keys.create", `{"name":"` + strings.Repeat("a", 2<<20) + `"}`, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			handler := admin.Handler(h.Operations, secret.New("right-token"), self, slog.New(slog.DiscardHandler))
			r := httptest.NewRequest(c.method, "http://admin"+c.path, strings.NewReader(c.body))
			r.RemoteAddr = c.addr
			if c.bearer != "" {
				r.Header.Set("Authorization", c.bearer)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if strings.Contains(w.Body.String(), "right-token") {
				t.Error("the answer shows the token")
			}
			if len(h.recorder.events) > 0 || len(h.Keys.List()) > 0 {
				t.Errorf("something was done: %v", h.recorder.kinds())
			}
		})
	}
}

// TestSocketKnowsItsPeer connects for real: the kernel says who is there, whatever the request claims.
func TestSocketKnowsItsPeer(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, open(t), dir)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.Path())
	}}}
	defer client.CloseIdleConnections()
	for name, bearer := range map[string]string{"none": "", "wrong": "Bearer x"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://admin/v1/keys.list", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", bearer)
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close() // read to its end
		if response.StatusCode != http.StatusForbidden || !strings.Contains(string(text), "wrong admin token") {
			t.Errorf("token %s: %s %s", name, response.Status, text)
		}
	}
}
