package auditlog_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

// victim is a closed log of 60 records in several segments with a checkpoint after every tenth, of which those kept
// elsewhere cover 20, 40 and 60.
type victim struct {
	t       *testing.T
	dir     string
	outside [][]byte
}

func newVictim(t *testing.T) *victim {
	v := &victim{t: t, dir: t.TempDir()}
	cfg := config(v.dir)
	cfg.SegmentSize, cfg.Writer = 2500, "victim"
	for i := 10; i <= 60; i += 10 {
		l := open(t, cfg)
		for range 10 {
			must(t, add(l, 1))
		}
		must(t, l.Close())
		if i%20 == 0 {
			v.outside = append(v.outside, []byte(v.last().Line()))
		}
	}
	if segments, _ := filepath.Glob(filepath.Join(v.dir, "*.jsonl")); len(segments) < 4 {
		t.Fatalf("%d segments", len(segments))
	}
	return v
}

// copy returns a victim of its own for a test that changes it.
func (v *victim) copy(t *testing.T) *victim {
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(v.dir)))
	return &victim{t: t, dir: dir, outside: v.outside}
}

func (v *victim) stored() []audit.Checkpoint {
	var all []audit.Checkpoint
	files, _ := filepath.Glob(filepath.Join(v.dir, "*.checkpoints"))
	for _, f := range files {
		all = append(all, audit.FindCheckpoints(readAll(v.t, f))...)
	}
	return all
}

func (v *victim) last() *audit.Checkpoint {
	all := v.stored()
	return &all[len(all)-1]
}

// records returns all lines.
func (v *victim) records() []string {
	var all []string
	files, _ := filepath.Glob(filepath.Join(v.dir, "*.jsonl"))
	for _, f := range files {
		all = append(all, strings.SplitAfter(strings.TrimSuffix(string(readAll(v.t, f)), "\n"), "\n")...)
		all[len(all)-1] += "\n"
	}
	return all
}

// replace puts other lines in the place of the records, all in one segment.
func (v *victim) replace(lines []string) {
	files, _ := filepath.Glob(filepath.Join(v.dir, "*.jsonl"))
	for _, f := range files {
		must(v.t, os.Remove(f))
	}
	must(v.t, os.WriteFile(filepath.Join(v.dir, fmt.Sprintf("%020d.jsonl", 1)), []byte(strings.Join(lines, "")), 0o600))
}

// rechain numbers the lines anew and computes every previous hash, and returns the tree of it.
func rechain(t *testing.T, lines []string) (out []string, tree []byte, roots []audit.Hash) {
	t.Helper()
	var (
		chain audit.Chain
		edge  audit.Tree
	)
	roots = append(roots, edge.Root())
	for _, line := range lines {
		_, event, found := strings.Cut(line, `","time"`)
		if !found {
			t.Fatalf("cannot read %q", line)
		}
		made := audit.AppendLine(nil, chain.Size+1, chain.Last, []byte(`{"time"`+strings.TrimSuffix(event, "\n")))
		leaf, err := chain.Next(made)
		must(t, err)
		for _, h := range edge.Add(leaf) {
			tree = append(tree, h[:]...)
		}
		roots = append(roots, edge.Root())
		out = append(out, string(made)+"\n")
	}
	return out, tree, roots
}

// resign replaces every stored checkpoint that still fits by one of the new tree, with the given key.
func (v *victim) resign(roots []audit.Hash, key ed25519.PrivateKey) {
	signer, err := audit.NewSigner("sallyport/victim", key)
	must(v.t, err)
	var text bytes.Buffer
	for _, c := range v.stored() {
		if c.Size < uint64(len(roots)) {
			text.WriteString(v.sign(signer, &c, roots[c.Size]).Line() + "\n")
		}
	}
	if n := uint64(len(roots) - 1); n%10 != 0 {
		c := audit.Checkpoint{Size: n, Time: start}
		text.WriteString(v.sign(signer, &c, roots[n]).Line() + "\n")
	}
	files, _ := filepath.Glob(filepath.Join(v.dir, "*.checkpoints"))
	for _, f := range files {
		must(v.t, os.Remove(f))
	}
	must(v.t, os.WriteFile(filepath.Join(v.dir, fmt.Sprintf("%020d.checkpoints", 1)), text.Bytes(), 0o600))
}

func (v *victim) sign(signer note.Signer, c *audit.Checkpoint, root audit.Hash) *audit.Checkpoint {
	signed, err := audit.SignCheckpoint(c.Size, root, c.Time, signer)
	must(v.t, err)
	return &signed
}

// deed is one change to the records and the first sequence number it spoils.
type deed struct {
	name string
	do   func(lines []string) []string
	seq  uint64
}

func deeds() []deed {
	edit := func(l []string, i int) []string {
		l[i] = strings.Replace(l[i], "call_allowed", "auth_success", 1)
		return l
	}
	return []deed{
		{"flip 33", func(l []string) []string { return edit(l, 32) }, 33},
		{"flip 1", func(l []string) []string { return edit(l, 0) }, 1},
		{"flip 60", func(l []string) []string { return edit(l, 59) }, 60},
		{"flip hash", func(l []string) []string { l[32] = flipPrev(l[32]); return l }, 33},
		{"delete 33", func(l []string) []string { return append(l[:32], l[33:]...) }, 33},
		{"delete 1", func(l []string) []string { return l[1:] }, 1},
		{"insert at 34", func(l []string) []string { return append(l[:33:33], l[32:]...) }, 34},
		{"swap 33 34", func(l []string) []string { l[32], l[33] = l[33], l[32]; return l }, 33},
		{"truncate to 55", func(l []string) []string { return l[:55] }, 56},
		{"truncate to 0", func(l []string) []string { return nil }, 1},
	}
}

func flipPrev(line string) string {
	i := strings.Index(line, `"prev":"`) + len(`"prev":"`)
	c := byte('0')
	if line[i] == '0' {
		c = '1'
	}
	return line[:i] + string(c) + line[i+1:]
}

// SECURITY: each change to the records alone is found at its sequence number, with or without an outside checkpoint.
func TestChangedRecordsAreNamed(t *testing.T) {
	whole := newVictim(t)
	for _, d := range deeds() {
		t.Run(d.name, func(t *testing.T) {
			v := whole.copy(t)
			v.replace(d.do(v.records()))
			for _, given := range [][][]byte{nil, v.outside} {
				r := verify(t, v.dir, given...)
				if r.Result != auditlog.ResultDamaged || r.Fault.Seq != d.seq {
					t.Errorf("%s: %v", r.Result, r.Fault)
				}
			}
		})
	}
}

// The same with the kept hashes of the changed records changed too: the chain of the records names the place.
func TestChangedRecordsAndLeavesAreNamed(t *testing.T) {
	v := newVictim(t)
	lines := v.records()
	_, tree, _ := rechain(t, lines)
	if !bytes.Equal(tree, readAll(t, filepath.Join(v.dir, "tree"))) {
		t.Fatal("the tree of the test is not that of the log")
	}
	lines[32] = strings.Replace(lines[32], "call_allowed", "auth_success", 1)
	v.replace(lines)
	leaf := audit.LeafHash([]byte(strings.TrimSuffix(lines[32], "\n")))
	copy(tree[storedAt(32):], leaf[:])
	must(t, os.WriteFile(filepath.Join(v.dir, "tree"), tree, 0o600))
	if r := verify(t, v.dir); r.Result != auditlog.ResultDamaged || r.Fault.Seq != 33 {
		t.Errorf("%s: %v", r.Result, r.Fault)
	}
	v = newVictim(t)
	_, tree, _ = rechain(t, v.records())
	copy(tree[storedAt(33)+32:], leaf[:]) // the inner hash that record 34 completes
	must(t, os.WriteFile(filepath.Join(v.dir, "tree"), tree, 0o600))
	if r := verify(t, v.dir); r.Result != auditlog.ResultDamaged || r.Fault.Seq != 34 {
		t.Errorf("changed hash: %s: %v", r.Result, r.Fault)
	}
}

func storedAt(n int) int {
	at := 0
	for i := n; i > 0; i >>= 1 {
		at += i
	}
	return at * 32
}

// Who computes the chain and the tree anew but has no key is betrayed by the stored checkpoints, who has the key by
// those from elsewhere; without those nothing more than "consistent" is ever said.
func TestRecomputedLogsAreLocated(t *testing.T) {
	whole := newVictim(t)
	for _, d := range deeds() {
		if d.name == "flip hash" {
			continue // computing the chain anew undoes it
		}
		t.Run(d.name, func(t *testing.T) {
			v := whole.copy(t)
			lines, tree, roots := rechain(t, d.do(v.records()))
			v.replace(lines)
			must(t, os.WriteFile(filepath.Join(v.dir, "tree"), tree, 0o600))
			located(t, verify(t, v.dir), d.seq, 10)
			located(t, verify(t, v.dir, v.outside...), d.seq, 20)
			v.resign(roots, key()) // the stolen key
			if r := verify(t, v.dir); r.Result != auditlog.ResultConsistent {
				t.Errorf("without anchor: %s: %v", r.Result, r.Fault)
			}
			located(t, verify(t, v.dir, v.outside...), d.seq, 20)
			logText := []byte("level=INFO msg=start\nmsg=\"audit checkpoint\" checkpoint=\"" + string(v.outside[1]) + "\"\n")
			if d.seq <= 40 {
				located(t, verify(t, v.dir, logText), d.seq, 40)
			}
		})
	}
}

// located checks that the report names seq or an interval of at most span records with seq in it.
func located(t *testing.T, r auditlog.VerifyReport, seq, span uint64) {
	t.Helper()
	if r.Result != auditlog.ResultDamaged {
		t.Fatalf("not found: %s", r.Result)
	}
	f := r.Fault
	exact := f.Seq == seq
	within := f.Seq == 0 && f.After < seq && seq <= f.Until && f.Until-f.After <= span
	if !exact && !within {
		t.Errorf("record %d not located: %+v", seq, f)
	}
}

// Rolled back and then gone on with the true key, as restoring an old copy does.
func TestRollbackThatGoesOnIsLocated(t *testing.T) {
	v := newVictim(t)
	lines, tree, roots := rechain(t, v.records()[:33])
	v.replace(lines)
	must(t, os.WriteFile(filepath.Join(v.dir, "tree"), tree, 0o600))
	v.resign(roots, key())
	cfg := config(v.dir)
	l := open(t, cfg)
	must(t, add(l, 50))
	must(t, l.Close())
	if r := verify(t, v.dir); r.Result != auditlog.ResultConsistent {
		t.Errorf("without anchor: %s: %v", r.Result, r.Fault)
	}
	// add makes the same records again, so make the log differ in one.
	lines = v.records()
	lines[36] = strings.Replace(lines[36], "call_allowed", "auth_success", 1)
	lines, tree, roots = rechain(t, lines)
	v.replace(lines)
	must(t, os.WriteFile(filepath.Join(v.dir, "tree"), tree, 0o600))
	v.resign(roots, key())
	located(t, verify(t, v.dir, v.outside...), 37, 20)
}

func TestCheckpointFilesAreChecked(t *testing.T) {
	whole := newVictim(t)
	for name, change := range map[string]func(text string) string{
		"signature": func(s string) string { return strings.Replace(s, " 30 ", " 31 ", 1) },
		"garbage":   func(s string) string { return strings.Replace(s, "sallyport/", "sallyprt/", 1) },
		"order": func(s string) string {
			l := strings.SplitAfter(s, "\n")
			l[0], l[1] = l[1], l[0]
			return strings.Join(l, "")
		},
		"none": func(string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			v := whole.copy(t)
			var all strings.Builder
			for _, c := range v.stored() {
				all.WriteString(c.Line() + "\n")
			}
			files, _ := filepath.Glob(filepath.Join(v.dir, "*.checkpoints"))
			for _, f := range files {
				must(t, os.Remove(f))
			}
			must(t, os.WriteFile(files[0], []byte(change(all.String())), 0o600))
			if r := verify(t, v.dir); r.Result != auditlog.ResultDamaged {
				t.Error(r.Result)
			}
		})
	}
}
