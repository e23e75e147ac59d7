package auditlog_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

// packed waits until a log has compressed all closed segments and returns how many there are.
func packed(t testing.TB, dir string) int {
	t.Helper()
	for range 500 {
		plain, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
		temp, _ := filepath.Glob(filepath.Join(dir, "*.tmp"))
		if len(plain) == 1 && len(temp) == 0 {
			files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl.gz"))
			return len(files)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("closed segments stay plain")
	return 0
}

// packedLog is a log of 50 records of which all but the last few are compressed.
func packedLog(t testing.TB) (dir string, l *auditlog.Log) {
	dir = t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize, cfg.KeepPlain = 2000, false
	l = open(t, cfg)
	for range 50 {
		must(t, add(l, 1))
	}
	if n := packed(t, dir); n < 4 {
		t.Fatalf("%d compressed segments", n)
	}
	return dir, l
}

func TestClosedSegmentsAreCompressed(t *testing.T) {
	dir, l := packedLog(t)
	if got := checkLog(t, dir); got != 50 {
		t.Errorf("%d records", got)
	}
	var on int64
	for _, pattern := range []string{"*.jsonl", "*.jsonl.gz"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, f := range files {
			info, err := os.Stat(f)
			must(t, err)
			on += info.Size()
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v", f, info.Mode())
			}
		}
	}
	if l.Used() != on {
		t.Errorf("counted %d bytes, there are %d", l.Used(), on)
	}
	sec := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
	if got := scan(t, dir, sec(5), sec(8)); len(got) != 3 || got[0] != 5 {
		t.Errorf("scan gives %v", got)
	}
	through, err := l.Expired(start.Add(48 * time.Hour))
	if err != nil || through == 0 {
		t.Fatalf("expired through %d, %v", through, err)
	}
	if young, err := l.Expired(start.Add(time.Minute)); err != nil || young != 0 {
		t.Errorf("young records expire through %d, %v", young, err)
	}
	must(t, declare(l, through))
	must(t, l.DeleteThrough(through))
	must(t, l.Close())
	if r := verify(t, dir); r.Fault != nil || r.FirstBody != through+1 {
		t.Errorf("%v, first body %d", r.Fault, r.FirstBody)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.gz")); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
}

// The tree is made again from compressed segments, and followers read through both forms.
func TestCompressedLogOpensWithoutItsTree(t *testing.T) {
	dir, l := packedLog(t)
	must(t, l.Close())
	must(t, os.Truncate(filepath.Join(dir, "tree"), 0))
	l = open(t, config(dir))
	must(t, add(l, 3))
	next, done := uint64(7), os.ErrDeadlineExceeded
	if err := auditlog.Tail(t.Context(), dir, next, func(e *audit.Event) error {
		if e.Seq != next {
			t.Errorf("tail gives %d, expected %d", e.Seq, next)
		}
		if next++; next > 53 {
			return done
		}
		return nil
	}); err != done {
		t.Error(err)
	}
	must(t, l.Close())
	if got := checkLog(t, dir); got != 53 {
		t.Errorf("%d records", got)
	}
	// A log whose newest segment is compressed too, as in a copy, goes on in another.
	segment := pack(t, dir, 1<<62)
	l = open(t, config(dir))
	must(t, add(l, 1))
	must(t, l.Close())
	if last, err := auditlog.LastSeq(dir); checkLog(t, dir) != 54 || last != 54 || err != nil {
		t.Errorf("after %s: last %d, %v", segment, last, err)
	}
}

// pack compresses the last plain segment by hand, with some time in its header.
func pack(t testing.TB, dir string, at int64) string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	name := files[len(files)-1]
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if at < 1<<32 {
		z.ModTime = time.Unix(at, 0)
	}
	_, err := z.Write(readAll(t, name))
	must(t, err)
	must(t, z.Close())
	must(t, os.WriteFile(name+".gz", buf.Bytes(), 0o600))
	must(t, os.Remove(name))
	return name
}

// Wherever a crash comes between compressing and deleting, one good form is read, and the next start tidies up.
func TestCrashWhileCompressing(t *testing.T) {
	for name, crash := range map[string]func(t *testing.T, plain string, gz []byte){
		"half written": func(t *testing.T, plain string, gz []byte) {
			must(t, os.WriteFile(plain+".gz.1.tmp", gz[:len(gz)/2], 0o600))
		},
		"not yet renamed":  func(t *testing.T, plain string, gz []byte) { must(t, os.WriteFile(plain+".gz.1.tmp", gz, 0o600)) },
		"not yet removed":  func(t *testing.T, plain string, gz []byte) { must(t, os.WriteFile(plain+".gz", gz, 0o600)) },
		"one of two there": func(t *testing.T, plain string, gz []byte) { must(t, os.WriteFile(plain+".gz", gz[:10], 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, l := packedLog(t)
			must(t, l.Close())
			files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl.gz"))
			gz := readAll(t, files[1])
			z, err := gzip.NewReader(bytes.NewReader(gz))
			must(t, err)
			text, err := io.ReadAll(z)
			must(t, err)
			plain := strings.TrimSuffix(files[1], ".gz")
			must(t, os.Remove(files[1]))
			must(t, os.WriteFile(plain, text, 0o600))
			crash(t, plain, gz)
			if got := checkLog(t, dir); got != 50 {
				t.Errorf("%d records", got)
			}
			cfg := config(dir)
			cfg.KeepPlain = false
			l = open(t, cfg)
			must(t, add(l, 1))
			packed(t, dir)
			must(t, l.Close())
			if got := checkLog(t, dir); got != 51 {
				t.Errorf("%d records", got)
			}
		})
	}
}

// Must not: a compressed segment that is not as it was written passes.
func TestDamagedCompressedSegmentIsNamed(t *testing.T) {
	for name, damage := range map[string]func(gz []byte) []byte{
		"flip":      func(gz []byte) []byte { gz[len(gz)/2] ^= 4; return gz },
		"cut":       func(gz []byte) []byte { return gz[:len(gz)-9] },
		"emptied":   func([]byte) []byte { return nil },
		"garbage":   func(gz []byte) []byte { return append(gz, "garbage"...) },
		"header":    func(gz []byte) []byte { gz[4] ^= 1; return gz }, // a time that would hide it from a scan
		"doubled":   func(gz []byte) []byte { return append(gz, gz...) },
		"other one": func([]byte) []byte { var b bytes.Buffer; gzip.NewWriter(&b).Close(); return b.Bytes() },
	} {
		t.Run(name, func(t *testing.T) {
			dir, l := packedLog(t)
			must(t, l.Close())
			files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl.gz"))
			must(t, os.WriteFile(files[1], damage(readAll(t, files[1])), 0o600))
			r := verify(t, dir)
			if r.Result != auditlog.ResultDamaged || r.Fault == nil || r.Fault.Seq == 0 || r.Fault.Seq > 25 {
				t.Errorf("%s: %v", r.Result, r.Fault)
			}
		})
	}
}

// Readers beside a writer that compresses see every record once.
func TestReadersBesideThePacker(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize, cfg.KeepPlain = 3000, false
	l := open(t, cfg)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for i, seq := range scan(t, dir, time.Time{}, time.Time{}) {
				if seq != uint64(i)+1 {
					t.Errorf("scan: %d at %d", seq, i)
					return
				}
			}
			if r := verify(t, dir); r.Fault != nil {
				t.Errorf("verify: %v", r.Fault)
			}
		}
	}()
	next := uint64(1)
	ended := make(chan error, 1)
	go func() {
		ended <- auditlog.Tail(t.Context(), dir, 0, func(e *audit.Event) error {
			if e.Seq != next {
				t.Errorf("tail: %d, expected %d", e.Seq, next)
			}
			if next++; next > 400 {
				return io.EOF
			}
			return nil
		})
	}()
	for range 400 {
		must(t, add(l, 1))
	}
	if err := <-ended; err != io.EOF {
		t.Error(err)
	}
	close(stop)
	<-done
	must(t, l.Close())
}
