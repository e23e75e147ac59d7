package sandbox_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/sandbox"
)

// TestArgumentsTravel: what is written is what is read, and the command is left alone, whatever it looks like.
func TestArgumentsTravel(t *testing.T) {
	for _, p := range []sandbox.Policy{
		{},
		{User: "nobody"},
		{Hidden: []string{"/a", "/--", "/--user"}, User: "1:2"},
	} {
		for _, command := range [][]string{{"x"}, {"--hide", "--", "--user", "root"}, {"x", "--"}} {
			got, rest, err := sandbox.Parse(append(p.Arguments(), command...))
			if err != nil || cmp.Diff(p, got) != "" || !slices.Equal(rest, command) {
				t.Errorf("%+v before %q: got %+v, %q, %v", p, command, got, rest, err)
			}
		}
	}
}

// TestParseRefuses: a child never starts with less than was asked for.
func TestParseRefuses(t *testing.T) {
	for _, args := range [][]string{
		nil,
		{"--"},
		{"x"},
		{"x", "y"},
		{"--hide"},
		{"--hide", "/a"},
		{"--hide", "relative", "--", "x"},
		{"--hide", "", "--", "x"},
		{"--user", "", "--", "x"},
		{"--user", "a", "--user", "b", "--", "x"},
		{"--open", "1", "--", "x"},
		{"-h"},
	} {
		if p, command, err := sandbox.Parse(args); err == nil {
			t.Errorf("%q: got %+v and %q", args, p, command)
		}
	}
}

// TestHide: the path as written and the one behind its links, also of what does not exist yet.
func TestHide(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	got, err := sandbox.Hide(filepath.Join(dir, "link", "none", "yet"), filepath.Join(dir, "real"), "")
	want := []string{filepath.Join(dir, "link", "none", "yet"), filepath.Join(dir, "real"), filepath.Join(dir, "real", "none", "yet")}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestParseUser(t *testing.T) {
	for text, want := range map[string]sandbox.User{
		"4000000":         {UID: 4000000, GID: 4000000},
		"4000000:4000001": {UID: 4000000, GID: 4000001},
	} {
		if got, err := sandbox.ParseUser(text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "0", "0:0", "root", "1:0", "0:1", "root:1", ":", "1:", ":1", "-1", "1:-1", "1:2:3", "4294967295", "99999999999999999999", "no such user", " 1",
	} {
		if got, err := sandbox.ParseUser(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}
