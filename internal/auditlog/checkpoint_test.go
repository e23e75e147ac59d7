package auditlog_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

// One checkpoint at first start, one at most a second after an event, one at stop; in the process log at most every
// ten seconds, and what is printed there is enough to verify against.
func TestCheckpointsComeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		out := new(journal)
		cfg := config(dir)
		cfg.Now, cfg.Logger = time.Now, slog.New(slog.NewJSONHandler(out, nil))
		l := open(t, cfg)
		v := &victim{t: t, dir: dir}
		sizes := func() (sizes []uint64) {
			for _, c := range v.stored() {
				sizes = append(sizes, c.Size)
			}
			return sizes
		}
		printed := func() int { return len(audit.FindCheckpoints(out.text())) }
		if got := sizes(); len(got) != 1 || got[0] != 0 || printed() != 1 {
			t.Errorf("at first start: %v, %d printed", got, printed())
		}
		for range 30 { // three seconds
			must(t, add(l, 1))
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if got := sizes(); len(got) < 3 || len(got) > 4 || printed() != 1 {
			t.Errorf("after three seconds: %v, %d printed", got, printed())
		}
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if got := sizes(); got[len(got)-1] != 30 || printed() != 2 {
			t.Errorf("after eleven seconds: %v, %d printed", got, printed())
		}
		time.Sleep(time.Hour)
		if printed() != 2 {
			t.Errorf("an idle log printed %d", printed())
		}
		must(t, add(l, 1))
		must(t, l.Close())
		if got := sizes(); got[len(got)-1] != 31 || printed() != 3 {
			t.Errorf("at stop: %v, %d printed", got, printed())
		}
		r := verify(t, dir, out.text())
		if r.Result != "verified against 3 checkpoints from elsewhere" || r.LastAnchor != 31 {
			t.Errorf("%s: %v, anchored to %d", r.Result, r.Fault, r.LastAnchor)
		}
	})
}

// What cannot be verified is an error, never a good word.
func TestVerifyNeedsUsableInput(t *testing.T) {
	v := newVictim(t)
	run := func(cfg auditlog.VerifyConfig) error {
		cfg.Dir = v.dir
		_, err := auditlog.Verify(t.Context(), cfg)
		return err
	}
	if err := run(auditlog.VerifyConfig{Checkpoints: [][]byte{[]byte("level=INFO msg=hello")}}); !errors.Is(err, audit.ErrNoCheckpoint) {
		t.Errorf("text without checkpoint: %v", err)
	}
	if err := run(auditlog.VerifyConfig{PublicKey: "nonsense"}); err == nil {
		t.Error("nonsense for a key")
	}
	text, err := audit.PublicKeyText("sallyport/victim", otherKey())
	must(t, err)
	if err := run(auditlog.VerifyConfig{PublicKey: text, Checkpoints: v.outside}); !errors.Is(err, audit.ErrNoneUsable) {
		t.Errorf("checkpoints of another key: %v", err)
	}
	r, err := auditlog.Verify(t.Context(), auditlog.VerifyConfig{Dir: v.dir, PublicKey: text})
	if err != nil || r.Result != auditlog.ResultDamaged {
		t.Errorf("another key: %s, %v", r.Result, err)
	}
	// A forger who replaces the key with the log must replace what is elsewhere too.
	_, _, roots := rechain(t, v.records())
	v.resign(roots, otherKey())
	must(t, os.WriteFile(filepath.Join(v.dir, "checkpoint.pub"), []byte(text), 0o600))
	if err := run(auditlog.VerifyConfig{Checkpoints: v.outside}); !errors.Is(err, audit.ErrNoneUsable) {
		t.Errorf("replaced key: %v", err)
	}
}

func TestVerifyReportsProgress(t *testing.T) {
	dir := t.TempDir()
	l := open(t, config(dir))
	must(t, add(l, 10_000))
	must(t, l.Close())
	var last uint64
	calls := 0
	r, err := auditlog.Verify(t.Context(), auditlog.VerifyConfig{Dir: dir, Progress: func(n uint64, _ int64) { last, calls = n, calls+1 }})
	must(t, err)
	if last != 10_000 || calls != 3 || r.Records != 10_000 {
		t.Errorf("%d calls, last %d", calls, last)
	}
	info, err := os.Stat(filepath.Join(dir, "00000000000000000001.jsonl"))
	must(t, err)
	if r.Bytes != info.Size() {
		t.Errorf("%d bytes of %d", r.Bytes, info.Size())
	}
}

func otherKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
}
