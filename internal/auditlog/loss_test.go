package auditlog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

// Records that no checkpoint covers yet are missed by their kept hashes.
func TestLossAfterTheLastCheckpointIsNamed(t *testing.T) {
	v := newVictim(t)
	files, _ := filepath.Glob(filepath.Join(v.dir, "*.checkpoints"))
	last := files[len(files)-1]
	text := bytes.TrimSuffix(readAll(t, last), []byte("\n"))
	must(t, os.WriteFile(last, text[:bytes.LastIndexByte(text, '\n')+1], 0o600)) // of 60
	v.replace(v.records()[:57])
	if r := verify(t, v.dir); r.Result != auditlog.ResultDamaged || r.Fault.Seq != 58 {
		t.Errorf("%s: %v", r.Result, r.Fault)
	}
	// So is a last record that only lost its newline, which is no torn tail: it had been there whole.
	v = newVictim(t)
	lines := v.records()
	lines[59] = strings.TrimSuffix(lines[59], "\n")
	v.replace(lines)
	if r := verify(t, v.dir); r.Result != auditlog.ResultDamaged || r.Fault.Seq != 60 || r.Torn == nil {
		t.Errorf("%s: %v", r.Result, r.Fault)
	}
}

// A line that hashes well and is no record is named, whoever signed it.
func TestUnreadableRecordIsNamed(t *testing.T) {
	v := newVictim(t)
	lines := v.records()
	lines[32] = strings.Replace(lines[32], `"kind"`, `"Kind"`, 1)
	lines, tree, roots := rechain(t, lines)
	v.replace(lines)
	must(t, os.WriteFile(filepath.Join(v.dir, "tree"), tree, 0o600))
	v.resign(roots, key())
	if r := verify(t, v.dir); r.Result != auditlog.ResultDamaged || r.Fault.Seq != 33 {
		t.Errorf("%s: %v", r.Result, r.Fault)
	}
}

// Must not: a deletion that a record declares, but less of it than happened.
func TestDeletionBeyondItsRecordIsDamage(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize = 2000
	l := open(t, cfg)
	for range 50 {
		must(t, add(l, 1))
	}
	first := segments(t, dir)
	must(t, declare(l, first[1]-1))
	must(t, l.Close())
	must(t, os.Remove(segment(dir, first[0])))
	if r := verify(t, dir); r.Fault != nil {
		t.Errorf("declared: %v", r.Fault)
	}
	must(t, os.Remove(segment(dir, first[1])))
	if r := verify(t, dir); r.Result != auditlog.ResultDamaged || r.Fault.Seq != first[1] {
		t.Errorf("%s: %v", r.Result, r.Fault)
	}
}

// TestOpenRefusesALogWithoutCheckpoints: whoever takes them away does not get a log signed anew, whatever its records say.
func TestOpenRefusesALogWithoutCheckpoints(t *testing.T) {
	cfg := config(t.TempDir())
	l := open(t, cfg)
	must(t, add(l, 3))
	must(t, l.Close())
	stored, err := filepath.Glob(filepath.Join(cfg.Dir, "*.checkpoints"))
	if err != nil || len(stored) == 0 {
		t.Fatalf("no checkpoints to take away: %v", err)
	}
	for _, path := range stored {
		must(t, os.Remove(path))
	}
	if _, err := auditlog.Open(cfg); err == nil || !strings.Contains(err.Error(), "no checkpoint") {
		t.Errorf("Open = %v, want a refusal", err)
	}
	must(t, os.Remove(filepath.Join(cfg.Dir, "tree")))
	if _, err := auditlog.Open(cfg); err == nil {
		t.Error("the log was opened without checkpoints and without hashes")
	}
}
