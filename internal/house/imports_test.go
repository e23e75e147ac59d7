package house_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sallyport-mcp/sallyport"

// root is the top of the repository, seen from this package.
const root = "../.."

// stores are the packages that declare what a store must do.
var stores = []string{"policy", "audit", "internal/apikey", "internal/token", "internal/detect", "internal/ratelimit", "internal/secret"}

// mayImport says which of our own packages each package may import directly; "" is the module's root. Changing a row
// is an architectural decision: argue for it in the commit. Tests are exempt. Every package needs a row.
var mayImport = map[string][]string{
	// Leaves: they import nothing of ours.
	"policy":              {},
	"audit":               {},
	"internal/secret":     {},
	"internal/ratelimit":  {},
	"internal/strictyaml": {},
	"internal/fetch":      {},
	"internal/sandbox":    {},
	// A peer carries the credential it came with.
	"internal/peer": {"internal/secret"},

	// Parts: each knows the leaves and at most one or two neighbours.
	"internal/wire": {"policy", "internal/secret"},
	// Why a credential was refused is said in the words of peer, by whoever found out.
	"internal/token":    {"internal/peer", "internal/secret", "internal/fetch"},
	"internal/apikey":   {"policy", "internal/secret"},
	"internal/user":     {"policy", "internal/secret"},
	"internal/authn":    {"policy", "internal/peer", "internal/token", "internal/apikey", "internal/secret"},
	"internal/oauth":    {"policy", "internal/peer", "internal/token", "internal/user", "audit", "internal/fetch", "internal/ratelimit", "internal/secret"},
	"internal/validate": {"policy"},
	"internal/auditlog": {"audit", "internal/secret"},
	"internal/detect":   {"audit"},
	"internal/report":   {"audit", "internal/detect"},
	"internal/export":   {"audit", "internal/detect", "internal/apikey", "internal/fetch", "internal/secret"},

	// The spine.
	"internal/guard":    {"policy", "audit", "internal/peer", "internal/ratelimit", "internal/validate"},
	"internal/upstream": {"policy", "internal/wire", "internal/secret", "internal/fetch"},
	// The gateway sees every tools/list pass, and that is where the catalogue of arguments learns.
	"internal/gateway": {"policy", "internal/guard", "internal/peer", "internal/wire", "internal/upstream", "internal/validate", "audit"},

	// Stores and the suites they must pass.
	"internal/memstore":     stores,
	"internal/storetest":    stores,
	"store/sqlite":          stores,
	"store/redis":           stores,
	"internal/upstreamtest": {"policy", "internal/upstream", "internal/wire"}, // A request names its principal.

	// Faces.
	"internal/admin": {
		"policy", "audit", "internal/detect", "internal/report", "internal/apikey", "internal/user", "internal/token",
		"internal/oauth", "internal/guard", "internal/validate", "internal/secret", // The token of its socket is one.
	},
	"internal/securitymcp": {"policy", "audit", "internal/detect", "internal/report", "internal/admin"},
	"internal/console":     {"internal/admin", "internal/report"},
	// The demo is a user of the library: it opens a guard as a Go program would, and shows what the log then holds.
	"internal/demo": {"", "internal/admin", "internal/auditlog", "internal/secret", "store/sqlite", "policy", "audit"},
	"internal/cli":  {"internal/server", "internal/admin", "internal/report", "policy", "audit", "internal/auditlog", "internal/demo", "internal/sandbox"},
	"cmd/sallyport": {"internal/cli"},
	// What is measured is the program as its command line runs it.
	"bench":         {"internal/cli"},
	"sallyporttest": {"", "policy", "audit"},

	// Test-only packages: their doc.go imports nothing.
	"internal/house":  {},
	"internal/accept": {},
}

// mayNotImport holds the two packages that put everything together and so have a shorter list of what they may not.
var mayNotImport = map[string][]string{
	"":                {"store/sqlite", "store/redis", "sallyporttest", "internal/storetest", "internal/upstreamtest", "internal/export", "internal/console", "internal/server", "internal/demo", "internal/cli", "internal/strictyaml"},
	"internal/server": {"internal/demo", "internal/cli", "sallyporttest", "internal/storetest", "internal/upstreamtest"},
}

type goPackage struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
	GoFiles    []string
}

// packages lists every package of the module.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Doc,Imports,GoFiles", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderrOf(err))
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) < 5 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}

// ours returns the path of one of our packages within the module, and whether it is one.
func ours(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func TestImportTable(t *testing.T) {
	for _, p := range packages(t) {
		for _, complaint := range judge(p) {
			t.Error(complaint)
		}
	}
}

// judge returns what is wrong with the imports of p.
func judge(p goPackage) []string {
	name, _ := ours(p.ImportPath)
	allowed, listed := mayImport[name]
	forbidden, open := mayNotImport[name]
	if !listed && !open {
		return []string{name + " has no row in the import table"}
	}
	var bad []string
	for _, imported := range p.Imports {
		path, ok := ours(imported)
		if !ok {
			continue
		}
		if listed && !slices.Contains(allowed, path) || open && slices.Contains(forbidden, path) {
			bad = append(bad, name+" imports "+path+", which its row in the import table does not allow")
		}
	}
	return bad
}

// TestImportTableRefuses shows that the table can say no.
func TestImportTableRefuses(t *testing.T) {
	for _, p := range []goPackage{
		{ImportPath: module + "/policy", Imports: []string{module + "/audit"}},
		{ImportPath: module + "/internal/guard", Imports: []string{module + "/internal/authn"}},
		{ImportPath: module, Imports: []string{module + "/store/sqlite"}},
		{ImportPath: module + "/internal/util"},
	} {
		if len(judge(p)) != 1 {
			t.Errorf("%s importing %v: got %d complaints, want 1", p.ImportPath, p.Imports, len(judge(p)))
		}
	}
	if bad := judge(goPackage{ImportPath: module + "/internal/peer", Imports: []string{"net/netip", module + "/internal/secret"}}); bad != nil {
		t.Errorf("a listed import is refused: %v", bad)
	}
}

// TestPackageHasOneComment checks the words that say what a package is for, and that no package has a name that says
// nothing.
func TestPackageHasOneComment(t *testing.T) {
	empty := []string{"util", "utils", "common", "helper", "helpers", "types", "models", "core", "manager", "base", "misc"}
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		if slices.Contains(empty, p.Name) || slices.Contains(empty, filepath.Base(p.ImportPath)) {
			t.Errorf("%s: the name says nothing about what is in it", p.ImportPath)
		}
	}
}

// TestLibraryStaysLight lists everything a program that only imports the module's root is linked with.
func TestLibraryStaysLight(t *testing.T) {
	heavy := []string{
		"modernc.org/", "github.com/redis/", "github.com/prometheus/", "github.com/goccy/go-yaml", "github.com/spf13/",
		"gopkg.in/yaml", "database/sql", "github.com/fsnotify/", module + "/store/", module + "/internal/server",
	}
	cmd := exec.Command("go", "list", "-e", "-deps", module)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps: %v\n%s", err, stderrOf(err))
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"/policy") {
		t.Fatalf("the import graph of the root does not contain policy: %d packages", len(deps))
	}
	for _, dep := range deps {
		for _, prefix := range heavy {
			if strings.HasPrefix(dep, prefix) {
				t.Errorf("a program that imports the library is linked with %s", dep)
			}
		}
	}
}
