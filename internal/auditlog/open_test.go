package auditlog_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

func TestTornTailIsCutAndReported(t *testing.T) {
	for name, tail := range map[string]string{"half": `{"seq":4,"prev":"00`, "byte": "{", "long": strings.Repeat("x", 5000), "zeros": "\x00\x00\x00", "whole without newline": ""} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, config(dir))
			must(t, add(l, 3))
			must(t, l.Close())
			path := filepath.Join(dir, fmt.Sprintf("%020d.jsonl", 1))
			if tail == "" {
				lines, _ := os.ReadFile(path)
				first, _, _ := bytes.Cut(lines, []byte("\n"))
				tail = strings.Replace(string(first), `"seq":1`, `"seq":4`, 1)
			}
			appendTo(t, path, tail)
			if r := verify(t, dir); r.Fault != nil || r.Torn == nil || r.Torn.Bytes != int64(len(tail)) || r.Torn.Next != 4 {
				t.Errorf("verify: %+v, torn %+v", r, r.Torn)
			}
			l = open(t, config(dir))
			want := auditlog.Recovery{File: filepath.Base(path), Bytes: int64(len(tail)), Next: 4}
			if got := l.Recovered(); got == nil || *got != want {
				t.Errorf("recovered %+v", got)
			}
			must(t, add(l, 1))
			must(t, l.Close())
			if got := checkLog(t, dir); got != 4 {
				t.Errorf("%d records", got)
			}
		})
	}
}

func appendTo(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	must(t, f.Close())
}

// What came after the last checkpoint must be as it was, or the log does not open.
func TestOpenRefusesDamage(t *testing.T) {
	for name, c := range map[string]struct {
		change func(lines []string) []string
		says   string
	}{
		"flip":       {func(l []string) []string { l[7] = strings.Replace(l[7], "call", "cell", 1); return l }, "record 9"},
		"delete":     {func(l []string) []string { return append(l[:7], l[8:]...) }, "record 8"},
		"insert":     {func(l []string) []string { return append(l[:8], l[7:]...) }, "record 9"},
		"swap":       {func(l []string) []string { l[7], l[8] = l[8], l[7]; return l }, "record 8"},
		"garbage":    {func(l []string) []string { l[9] = "garbage"; return l }, "record 10"},
		"all lost":   {func([]string) []string { return nil }, "record 1"},
		"lost":       {func(l []string) []string { return l[:4] }, "record 5"},
		"early":      {func(l []string) []string { l[1] = "x"; return l }, "record 2"},
		"unreadable": {func(l []string) []string { l[9] = strings.Replace(l[9], `"kind"`, `"kin"`, 1); return l }, "record 10"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := config(dir)
			l := open(t, cfg)
			must(t, add(l, 5))
			must(t, l.Close()) // a checkpoint of 5
			saved := readAll(t, filepath.Join(dir, fmt.Sprintf("%020d.checkpoints", 1)))
			l = open(t, cfg)
			must(t, add(l, 5))
			must(t, l.Close())
			// As after a crash, no checkpoint covers the last five.
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d.checkpoints", 1)), saved, 0o600))
			path := filepath.Join(dir, fmt.Sprintf("%020d.jsonl", 1))
			before := strings.Split(strings.TrimSuffix(string(readAll(t, path)), "\n"), "\n")
			after := []byte(strings.TrimPrefix(strings.Join(append(c.change(before), ""), "\n"), "\n"))
			must(t, os.WriteFile(path, after, 0o600))
			tree := readAll(t, filepath.Join(dir, "tree"))
			_, err := auditlog.Open(cfg)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, expected %s", err, c.says)
			}
			if !bytes.Equal(after, readAll(t, path)) || !bytes.Equal(tree, readAll(t, filepath.Join(dir, "tree"))) {
				t.Error("evidence was changed")
			}
		})
	}
}

func readAll(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

func TestTreeIsCompletedFromSegments(t *testing.T) {
	for name, harm := range map[string]func(path string, size int64) error{
		"short":   func(path string, size int64) error { return os.Truncate(path, size/2+7) },
		"gone":    func(path string, _ int64) error { return os.Remove(path) },
		"garbage": func(path string, size int64) error { return os.Truncate(path, size+333) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := config(dir)
			cfg.SegmentSize = 2000
			l := open(t, cfg)
			for range 100 {
				must(t, add(l, 1))
			}
			must(t, l.Close())
			path := filepath.Join(dir, "tree")
			want := readAll(t, path)
			must(t, harm(path, int64(len(want))))
			l = open(t, cfg)
			must(t, l.Close())
			if !bytes.Equal(want, readAll(t, path)) {
				t.Error("the tree differs")
			}
			checkLog(t, dir)
		})
	}
}

// What the last checkpoint covers is not read again.
func TestOpenDoesNotReadHistory(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize = 2000
	l := open(t, cfg)
	for range 100 {
		must(t, add(l, 1))
	}
	must(t, l.Close())
	must(t, os.Remove(filepath.Join(dir, fmt.Sprintf("%020d.jsonl", 1))))
	l = open(t, cfg)
	must(t, l.Close())
}
