//go:build unix

package accept_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the demonstration's output into README.md")

// demoBlock finds the demonstration in README.md: the fenced block that begins with its command line.
var demoBlock = regexp.MustCompile("(?ms)^```[a-z]*\n(\\$ [^\n]*demo --once\n)(.*?)^```$")

// TestAcceptDemo runs the demonstration and compares it with what README.md shows.
func TestAcceptDemo(t *testing.T) {
	program := sallyport(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "demo", "--once")
	cmd.Env = environment(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("demo --once: %v\n%s", err, out)
	}
	for what, want := range map[string]string{
		"an allowed call":           `(?i)allowed`,
		"the missing permission":    `[a-z]+:[a-z_*]+`,
		"when to come back":         `Retry-After: \d+`,
		"a JSON pointer":            `(?m)["' ]/[a-z_]+`,
		"a bad credential":          `auth_failed`,
		"the denied audit line":     `permission_denied`,
		"the limited audit line":    `rate_limit_exceeded`,
		"the invalid audit line":    `input_rejected`,
		"the alert":                 `excessive_failed_auth`,
		"the verification's result": `(?i)verif`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the demonstration does not show %s (%s)", what, want)
		}
	}
	path := filepath.Join(root, "README.md")
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := demoBlock.FindSubmatchIndex(readme)
	if m == nil {
		t.Fatal("README.md has no fenced block that begins with \"$ … demo --once\"")
	}
	if *update {
		text := string(readme[:m[4]]) + string(out) + string(readme[m[5]:])
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(shape(string(readme[m[4]:m[5]])), shape(string(out))); diff != "" {
		t.Errorf("README.md shows another output than the program prints (-README +program); go test ./internal/accept -run TestAcceptDemo -update writes it:\n%s", diff)
	}
}

// varying is what differs from one run to the next.
var varying = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\x1b\[[0-9;]*m`), ""},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?`), "TIME"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d(\.\d+)?\b`), "TIME"},
	{regexp.MustCompile(`\bsp_[A-Za-z0-9_…-]+`), "KEY"},
	{regexp.MustCompile(`\b[0-9a-f]{8,}\b|\b[0-9a-f]{6,}…`), "HASH"},
	{regexp.MustCompile(`\b[A-Za-z0-9+/_-]{40,}={0,2}`), "TEXT"},
	{regexp.MustCompile(`(/[A-Za-z0-9._-]+)*/(tmp|T)/[^\s"']+`), "FOLDER"},
	{regexp.MustCompile(`\b\d+(\.\d+)?( ?(ns|µs|us|ms|s|m|h)\b)`), "DURATION"},
	{regexp.MustCompile(`(127\.0\.0\.1|localhost|\[::1\]):\d+`), "ADDRESS"},
	{regexp.MustCompile(`\b\d+\b`), "N"},
	{regexp.MustCompile(` {2,}`), " "},
}

// shape replaces in a text what differs from one run to the next.
func shape(text string) string {
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.with)
	}
	return strings.TrimSpace(text)
}

func TestShape(t *testing.T) {
	a := "12:01:02 allowed in 3.4 ms at 127.0.0.1:8443, key sp_Ab12_secretsecret, seq 17, root 0123456789abcdef in /tmp/x123/audit"
	b := "23:59:59.123 allowed in 12 ms at 127.0.0.1:51234, key sp_Zz99_othersother, seq 4, root fedcba9876543210 in /tmp/y9/audit"
	if shape(a) != shape(b) {
		t.Errorf("the same shape is seen as two:\n%s\n%s", shape(a), shape(b))
	}
	for _, other := range []string{strings.Replace(a, "allowed", "denied", 1), strings.Replace(a, ", seq 17", "", 1)} {
		if shape(a) == shape(other) {
			t.Errorf("two shapes are seen as the same: %s", other)
		}
	}
}
