package auditlog_test

import (
	"testing"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

// changed reports whether the level changed since it was last asked.
func changed(l *auditlog.Log) bool {
	select {
	case <-l.Levels():
		return true
	default:
		return false
	}
}

func TestLargestSize(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		dir := t.TempDir()
		cfg := config(dir)
		cfg.MaxSize, cfg.SegmentSize, cfg.Refuse = 20_000, 2000, refuse
		l := open(t, cfg)
		seen := map[auditlog.Level]bool{}
		for l.Level() < auditlog.LevelFull {
			before := l.Level()
			must(t, add(l, 1))
			seen[l.Level()] = true
			if changed(l) != (l.Level() != before) {
				t.Fatalf("level %d after %d, told wrongly", l.Level(), before)
			}
			want := audit.RoomPlenty
			if l.Level() == auditlog.LevelTight || l.Level() == auditlog.LevelFull && !refuse {
				want = audit.RoomTight
			} else if l.Level() == auditlog.LevelFull {
				want = audit.RoomFull
			}
			if used := l.Used(); l.Room() != want || (used >= 16_000) != (l.Level() >= auditlog.LevelHigh) || (used >= 18_000) != (l.Level() >= auditlog.LevelTight) {
				t.Fatalf("%d bytes: level %d, room %d", used, l.Level(), l.Room())
			}
		}
		if len(seen) != 4 || l.Used() < 20_000 {
			t.Errorf("levels %v at %d bytes", seen, l.Used())
		}
		for add(l, 1) == nil { // the reserve
		}
		if used := l.Used(); used > 22_000 || used < 21_500 {
			t.Errorf("%d bytes when nothing is taken", used)
		}
		must(t, l.Close()) // what is there counts at the next start
		l = open(t, cfg)
		if l.Level() != auditlog.LevelFull {
			t.Errorf("level %d after a start", l.Level())
		}
		through, err := l.Oldest(18_000)
		if err != nil || through == 0 {
			t.Fatalf("oldest through %d, %v", through, err)
		}
		must(t, declare(l, through)) // taken though nothing else is
		must(t, l.DeleteThrough(through))
		if used := l.Used(); used > 18_300 || used < 15_000 || !changed(l) {
			t.Errorf("%d bytes after deleting", used)
		}
		must(t, add(l, 1))
		if through, err := l.Oldest(30_000); err != nil || through != 0 {
			t.Errorf("oldest of enough: %d, %v", through, err)
		}
		must(t, l.Close())
		checkLog(t, dir)
	}
}

func TestFreeSpaceIsKnown(t *testing.T) {
	if free, err := auditlog.Free(t.TempDir()); err != nil || free <= 0 {
		t.Errorf("%d bytes free, %v", free, err)
	}
	if _, err := auditlog.Free(t.TempDir() + "/none"); err == nil {
		t.Error("of a directory that is not there")
	}
}

// BenchmarkPack is what compressing records costs, beside the bytes it saves.
func BenchmarkPack(b *testing.B) {
	dir := b.TempDir()
	cfg := config(dir)
	cfg.SegmentSize, cfg.KeepPlain = 4<<20, false
	l := open(b, cfg)
	for b.Loop() {
		for range 20 {
			must(b, add(l, 1000))
		}
	}
	packed(b, dir)
	b.ReportMetric(float64(l.NextSeq()-1)/float64(b.N), "records/op")
	b.ReportMetric(float64(l.Used())/float64(l.NextSeq()-1), "bytes/record")
	must(b, l.Close())
}
