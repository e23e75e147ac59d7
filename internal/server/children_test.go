package server

import (
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/sandbox"
)

// TestConfinementIsSaid: what is printed is what the system does, and anything less than all of it is a warning.
func TestConfinementIsSaid(t *testing.T) {
	none := sandbox.Confinement{Missing: []string{"read hidden files"}}
	old := sandbox.Confinement{ABI: 3, Missing: []string{"send signals", "connect to sockets"}}
	whole := sandbox.Confinement{ABI: 6}
	for _, c := range []struct {
		user, sandbox string
		can           sandbox.Confinement
		root          bool
		want          admin.Level
		says          string
	}{
		{"", "", whole, false, Warn, "set sandbox: landlock"},
		{"", "landlock", none, false, Warn, "it can read the keys and the log"},
		{"", "landlock", none, true, Warn, "it can read the keys and the log"},
		{"", "landlock", old, false, Warn, "send signals, connect to sockets"},
		{"", "landlock", whole, true, Warn, "set user"},
		{"", "landlock", whole, false, OK, "cannot open keys"},
		{"mcp", "", none, true, OK, "as user mcp"},
		{"mcp", "landlock", whole, true, OK, "Landlock (ABI 6)"},
	} {
		got := confinement(&ServerSection{Name: "files", User: c.user, Sandbox: c.sandbox}, c.can, c.root)
		if got.Level != c.want || !strings.Contains(got.Detail, c.says) {
			t.Errorf("user %q, %+v, root %v: %+v", c.user, c.can, c.root, got)
		}
	}
}

// TestWhatIsHidden: every file of ours outside the data directory.
func TestWhatIsHidden(t *testing.T) {
	long := "/" + strings.Repeat("d", 120)
	f := &File{DataDir: long, TLS: TLSSection{Key: "/tls.key", Cert: "/tls.crt"}, sources: []string{"/s.yaml", "/run/secret"}}
	got := f.hidden()
	for _, want := range []string{"/s.yaml", "/run/secret", "/tls.key"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not hidden: %q", want, got)
		}
	}
	if last := got[len(got)-1]; !strings.Contains(last, "sallyport-") {
		t.Errorf("the socket of a long path lies elsewhere and is not hidden: %q", got)
	}
}

func TestUsersAreChecked(t *testing.T) {
	f := &File{Servers: []ServerSection{{Name: "a", User: "no such user"}}}
	if err := findUsers(f); err == nil || !strings.Contains(err.Error(), `server "a"`) {
		t.Errorf("got %v", err)
	}
	if err := findUsers(&File{Servers: []ServerSection{{Name: "a"}}}); err != nil {
		t.Error(err)
	}
}
