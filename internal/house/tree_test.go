package house_test

import (
	"bytes"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is the longest a Go file that is not a test may be.
const maxLines = 400

// file is one text file of the tree.
type file struct {
	path string // slash-separated, from the top
	text []byte
}

// tree reads every file of the repository but git's own (in a linked worktree, .git is a file) and what .gitignore keeps
// out. It does not ask git, so that it also works in an unpacked archive.
func tree(t *testing.T) []file {
	t.Helper()
	var files []file
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains([]string{".git", ".cache", "bin", "out", "node_modules"}, path) {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || path == ".git" || strings.HasSuffix(path, ".test") || strings.HasSuffix(path, ".prof") {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		if !bytes.Contains(text, []byte{0}) {
			files = append(files, file{path: path, text: text})
		}
		return nil
	})
	if err != nil {
		t.Fatalf("reading the tree: %v", err)
	}
	if len(files) < 20 {
		t.Fatalf("found only %d files below %s", len(files), root)
	}
	return files
}

func isProductGo(path string) bool {
	return strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")
}

func TestFileSizes(t *testing.T) {
	for _, f := range tree(t) {
		if n := bytes.Count(f.text, []byte("\n")); isProductGo(f.path) && n > maxLines {
			t.Errorf("%s has %d lines, more than %d: it is probably two ideas", f.path, n, maxLines)
		}
	}
}

// forbidden are patterns that no line of the kind of file may contain. The patterns are written so that they do not
// match themselves.
var forbidden = []struct {
	name  string
	line  *regexp.Regexp
	where func(path string) bool
}{
	{"an init function", regexp.MustCompile(`^func in` + `it\(\)`), isProductGo},
	{"a stub", regexp.MustCompile(`(?i)not imp` + `lemented|\bunimp` + `lemented|panic\("TO` + `DO`), isProductGo},
	{"a TO" + "DO without an issue number", regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b(?:[^(]|$|\([^#])`), isGo},
	{"a path of the machine it was written on", regexp.MustCompile(`/(wo` + `rk|fa` + `rm)/[a-z]|/home/[a-z]+/go/|\.\./sha` + `red`), isAny},
	{"a registry host", regexp.MustCompile(`registry\.npm` + `js\.org|proxy\.gol` + `ang\.org|sum\.gol` + `ang\.org|"resol` + `ved": "http`), isAny},
	{"a merge conflict", regexp.MustCompile(`^(<<<<` + `<<<|>>>>` + `>>>) `), isAny},
}

func isGo(path string) bool { return strings.HasSuffix(path, ".go") }
func isAny(string) bool     { return true }

func TestForbiddenWords(t *testing.T) {
	hosts := registryHosts(t)
	for _, f := range tree(t) {
		for n, line := range strings.Split(string(f.text), "\n") {
			for _, word := range forbidden {
				if word.where(f.path) && word.line.MatchString(line) {
					t.Errorf("%s:%d: %s: %.120s", f.path, n+1, word.name, line)
				}
			}
			for _, host := range hosts {
				if strings.Contains(line, host) {
					t.Errorf("%s:%d: the registry host of this machine", f.path, n+1)
				}
			}
		}
	}
}

// registryHosts are the package registries this machine is set up to use.
func registryHosts(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOPROXY", "GOSUMDB").Output()
	if err != nil {
		t.Fatalf("go env: %v", err)
	}
	settings := strings.FieldsFunc(string(out)+","+os.Getenv("npm_config_registry"), func(r rune) bool {
		return strings.ContainsRune(" ,|\n", r)
	})
	var hosts []string
	for _, s := range settings {
		if u, err := url.Parse(s); err == nil && strings.Contains(u.Hostname(), ".") {
			hosts = append(hosts, u.Host)
		}
	}
	return hosts
}

// TestForbiddenWordsRefuses shows that each pattern finds what it is for, and leaves its neighbours alone.
func TestForbiddenWordsRefuses(t *testing.T) {
	bad := []string{
		"func in" + "it() {", "return errors.New(\"not imp" + "lemented\")", "// TO" + "DO: later", "cd /wo" + "rk/main",
		`"resol` + `ved": "https://example.org/x.tgz"`, "<<<<" + "<<< HEAD",
	}
	for i, line := range bad {
		if !forbidden[i].line.MatchString(line) {
			t.Errorf("%s: not found in %q", forbidden[i].name, line)
		}
	}
	for _, line := range []string{"// TO" + "DO(#12): later", "func initialize() {", "a frame/workshop", "mktemp -d XX" + "XXXXXX"} {
		for _, word := range forbidden {
			if word.line.MatchString(line) {
				t.Errorf("%s: found in %q", word.name, line)
			}
		}
	}
}

// TestSkipsAreLoud checks that a test which skips for want of an outside program fails instead where everything is
// expected to be there: near each skip stands the variable that says so, or the system it is about.
func TestSkipsAreLoud(t *testing.T) {
	skip := regexp.MustCompile(`\b[tbf]\.Sk` + `ip(f|Now)?\(`)
	excuse := regexp.MustCompile(`SALLYPORT_TEST_FULL|full\w*\(|GOOS|testing\.Short`)
	for _, f := range tree(t) {
		if !strings.HasSuffix(f.path, ".go") {
			continue
		}
		lines := strings.Split(string(f.text), "\n")
		for n, line := range lines {
			near := strings.Join(lines[max(0, n-6):n+1], "\n")
			if skip.MatchString(line) && !excuse.MatchString(near) {
				t.Errorf("%s:%d: skips without asking SALLYPORT_TEST_FULL", f.path, n+1)
			}
		}
	}
}
