package house_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// document returns a file at the top of the repository.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatalf("reading a document every clone has: %v", err)
	}
	return string(text)
}

// TestDocumentsExist lists what a stranger looks for at the top.
func TestDocumentsExist(t *testing.T) {
	for _, name := range []string{
		"README.md", "ARCHITECTURE.md", "SECURITY.md", "SECURITY-INVARIANTS.md", "CHANGELOG.md", "LICENSE", "docs/README.md",
	} {
		if text := document(t, name); len(strings.TrimSpace(text)) < 100 {
			t.Errorf("%s is as good as empty", name)
		}
	}
}

// testNames matches the name of a test, fuzz target or example in a document.
var testNames = regexp.MustCompile(`\b(?:Test|Fuzz|Example|Benchmark)[A-Z]\w*`)

// TestInvariantsHaveTests checks that each test SECURITY-INVARIANTS.md names exists, and that each of its list items
// names one.
func TestInvariantsHaveTests(t *testing.T) {
	existing := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example|Benchmark)[A-Z]\w*)\(`)
	for _, f := range tree(t) {
		if !strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		for _, m := range declared.FindAllSubmatch(f.text, -1) {
			existing[string(m[1])] = true
		}
	}
	named := testNames.FindAllString(document(t, "SECURITY-INVARIANTS.md"), -1)
	if len(named) < 10 {
		t.Errorf("SECURITY-INVARIANTS.md names only %d tests", len(named))
	}
	for _, name := range named {
		if !existing[name] {
			t.Errorf("SECURITY-INVARIANTS.md names %s, which does not exist", name)
		}
	}
}

// TestLinksResolve checks the links between the documents.
func TestLinksResolve(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	for _, f := range tree(t) {
		if !strings.HasSuffix(f.path, ".md") {
			continue
		}
		for _, m := range link.FindAllSubmatch(f.text, -1) {
			target := string(m[1])
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(f.path), target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", f.path, target)
			}
		}
	}
}

// TestReadmeCommands checks that the README shows the demonstration and its output, and the one test command.
func TestReadmeCommands(t *testing.T) {
	readme := document(t, "README.md")
	for _, want := range []string{"demo --once", "scripts/test.sh"} {
		if !strings.Contains(readme, want) {
			t.Errorf("README.md does not show %q", want)
		}
	}
}

// TestDocumentedGoCompiles type-checks every Go program shown in a document. A block without a package clause could not
// be checked, so it is refused.
func TestDocumentedGoCompiles(t *testing.T) {
	fence := regexp.MustCompile("(?ms)^```go\n(.*?)^```")
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, f := range tree(t) {
		if !strings.HasSuffix(f.path, ".md") {
			continue
		}
		for n, m := range fence.FindAllSubmatch(f.text, -1) {
			if !regexp.MustCompile(`(?m)^package \w+$`).Match(m[1]) {
				t.Errorf("%s: Go block %d has no package clause, so nobody can tell whether it compiles", f.path, n+1)
				continue
			}
			source := filepath.Join(t.TempDir(), "shown.go")
			if err := os.WriteFile(source, m[1], 0o600); err != nil {
				t.Fatal(err)
			}
			// The package exists in the overlay only: nothing is written into the tree.
			dir := fmt.Sprintf("internal/house/shown%d", len(dirs))
			dirs = append(dirs, "./"+dir)
			overlay.Replace[filepath.Join(top, dir, "shown.go")] = source
		}
	}
	if len(dirs) == 0 {
		return // No document shows Go yet.
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append([]string{"build", "-overlay", path, "-o", os.DevNull}, dirs...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("Go shown in a document does not compile: %v\n%s", err, out)
	}
}
