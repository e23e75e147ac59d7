package audit_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/sallyport-mcp/sallyport/audit"
)

// makeLines returns n lines of a good log and the tree hashes they complete.
func makeLines(n int) [][]byte {
	var chain audit.Chain
	lines := make([][]byte, n)
	for i := range lines {
		e := audit.Event{Time: at, Kind: audit.CallAllowed, Reason: fmt.Sprint(i)}
		lines[i] = audit.AppendLine(nil, uint64(i)+1, chain.Last, e.AppendJSON(nil))
		if _, err := chain.Next(lines[i]); err != nil {
			panic(err)
		}
	}
	return lines
}

func TestAppendLine(t *testing.T) {
	e := audit.Event{Time: at, Kind: audit.AuthFailed}
	line := string(audit.AppendLine(nil, 1, audit.Hash{}, e.AppendJSON(nil)))
	want := `{"seq":1,"prev":"` + strings.Repeat("0", 64) + `","time":"2026-07-28T10:00:00.000000123Z","kind":"auth_failed"}`
	if line != want {
		t.Errorf("got %s", line)
	}
	if got, err := audit.LineTime([]byte(line)); err != nil || !got.Equal(at) {
		t.Errorf("time %v, %v", got, err)
	}
}

func TestChainRefuses(t *testing.T) {
	lines := makeLines(3)
	var c audit.Chain
	must(t, second(c.Next(lines[0])))
	for name, bad := range map[string]struct {
		line string
		err  error
	}{
		"again":   {string(lines[0]), audit.ErrSequence},
		"skipped": {string(lines[2]), audit.ErrSequence},
		"prev":    {strings.Replace(string(lines[1]), `"prev":"`, `"prev":"0`, 1), nil},
		"other":   {string(audit.AppendLine(nil, 2, audit.Hash{1}, []byte(`{}`))), audit.ErrPrevious},
		"empty":   {"", nil},
	} {
		if _, err := c.Next([]byte(bad.line)); err == nil || bad.err != nil && !errors.Is(err, bad.err) || !strings.Contains(err.Error(), "record 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, second(c.Next(lines[1])))
}

func second[T any](_ T, err error) error { return err }

// The right edge gives the same hashes as tlog does from its store.
func TestTreeEqualsTlog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 70).Draw(t, "n")
		var (
			tree  audit.Tree
			store []audit.Hash
		)
		read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
			var out []tlog.Hash
			for _, i := range indexes {
				out = append(out, store[i])
			}
			return out, nil
		})
		for i := range n {
			leaf := audit.LeafHash(fmt.Append(nil, i))
			want, err := tlog.StoredHashesForRecordHash(int64(i), leaf, read)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, tree.Add(leaf)); d != "" {
				t.Fatal(d)
			}
			store = append(store, want...)
		}
		want, err := tlog.TreeHash(int64(n), read)
		if err != nil || tree.Root() != want || tree.Clone().Root() != want || tree.Size() != uint64(n) {
			t.Fatalf("root of %d leaves differs: %v", n, err)
		}
	})
}

func testKey(fill byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = fill
	return ed25519.NewKeyFromSeed(seed)
}

func signerAndKey(t testing.TB, origin string, fill byte) (note.Signer, note.Verifier) {
	t.Helper()
	signer, err := audit.NewSigner(origin, testKey(fill))
	must(t, err)
	text, err := audit.PublicKeyText(origin, testKey(fill))
	must(t, err)
	key, err := audit.ParsePublicKey(" " + text + "\n")
	must(t, err)
	return signer, key
}

func TestCheckpointForms(t *testing.T) {
	signer, key := signerAndKey(t, "sallyport/ab12", 1)
	c, err := audit.SignCheckpoint(7, audit.Hash{1, 2, 3}, at, signer)
	must(t, err)
	must(t, c.Verify(key))
	if _, err := note.Open(c.Note(), note.VerifierList(key)); err != nil {
		t.Errorf("the note is not one: %v\n%s", err, c.Note())
	}
	for _, text := range []string{c.Line(), string(c.Note()), " " + c.Line() + "\r\n"} {
		got, err := audit.ParseCheckpoint([]byte(text))
		if err != nil || got != c {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	log := `time=2026-07-28 level=INFO msg="audit checkpoint" checkpoint="` + c.Line() + `"` + "\n" +
		`{"log":"{\"msg\":\"audit checkpoint\",\"checkpoint\":\"` + c.Line() + `\"}\n"}` + "\nother\n" + string(c.Note())
	found := audit.FindCheckpoints([]byte(log))
	if len(found) != 3 || found[0] != c || found[1] != c || found[2] != c {
		t.Errorf("found %+v", found)
	}
}

func TestCheckpointRefuses(t *testing.T) {
	signer, key := signerAndKey(t, "sallyport/ab12", 1)
	c, err := audit.SignCheckpoint(7, audit.Hash{1}, at, signer)
	must(t, err)
	for name, change := range map[string]func(*audit.Checkpoint){
		"size": func(c *audit.Checkpoint) { c.Size++ }, "root": func(c *audit.Checkpoint) { c.Root[31] ^= 1 },
		"time": func(c *audit.Checkpoint) { c.Time = c.Time.Add(1) }, "origin": func(c *audit.Checkpoint) { c.Origin += "3" },
		"signature": func(c *audit.Checkpoint) { c.Signature = c.Signature[:50] + "A" + c.Signature[51:] },
		"none":      func(c *audit.Checkpoint) { c.Signature = "" },
	} {
		bad := c
		change(&bad)
		if bad != c && !errors.Is(bad.Verify(key), audit.ErrSignature) {
			t.Errorf("%s changed: %v", name, bad.Verify(key))
		}
	}
	_, other := signerAndKey(t, "sallyport/ab12", 2)
	if !errors.Is(c.Verify(other), audit.ErrSignature) {
		t.Error("another key of the same name verifies")
	}
	for _, text := range []string{
		"", c.Line()[1:], strings.Replace(c.Line(), " 7 ", " 07 ", 1), strings.Replace(c.Line(), " 7 ", " -7 ", 1), c.Line() + " x",
		strings.Replace(c.Line(), " 7 ", " 99999999999999999999 ", 1), strings.ToUpper(c.Line()), c.Line() + "\n" + c.Line(),
	} {
		if got, err := audit.ParseCheckpoint([]byte(text)); !errors.Is(err, audit.ErrNoCheckpoint) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, origin := range []string{"", "sallyport/", "sallyport/A", "sallyport/a b", "sallyport/a+b", "other/ab"} {
		if _, err := audit.NewSigner(origin, testKey(1)); err == nil {
			t.Errorf("origin %q accepted", origin)
		}
	}
	if _, err := audit.NewSigner("sallyport/a", nil); err == nil {
		t.Error("no key accepted")
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	signer, _ := signerAndKey(f, "sallyport/ab12", 1)
	c, err := audit.SignCheckpoint(7, audit.Hash{1}, at, signer)
	must(f, err)
	f.Add([]byte(c.Line()))
	f.Add(c.Note())
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := audit.ParseCheckpoint(text)
		if err != nil {
			return
		}
		for _, again := range [][]byte{[]byte(c.Line()), c.Note()} {
			if got, err := audit.ParseCheckpoint(again); err != nil || got != c {
				t.Fatalf("%q: %+v, %v", again, got, err)
			}
		}
	})
}
