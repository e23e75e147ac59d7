package audit_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

func refusal(kind audit.Kind, ip string) *audit.Event {
	return &audit.Event{Time: time.Now().UTC(), Kind: kind, Outcome: audit.Denied, IP: netip.MustParseAddr(ip), Reason: "no", Server: "files"}
}

// sum counts records and occurrences of a kind.
func (m *memory) sum(kind audit.Kind) (records, occurrences int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.events {
		if e := &m.events[i]; e.Kind == kind {
			records++
			occurrences += e.Occurrences()
		}
	}
	return records, occurrences
}

func TestRefusalsAreFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, seen := &memory{}, 0
		r := start(t, audit.RecorderConfig{Log: log, Observe: func(e *audit.Event) {
			seen++
			if e.Count != 0 || e.Kind == audit.AuthFailed && (e.Seq == 0) != (seen > 20 && seen <= 1000) {
				t.Errorf("observed %+v as number %d", e, seen)
			}
		}})
		began := time.Now().UTC()
		for range 1000 {
			r.Note(refusal(audit.AuthFailed, "192.0.2.1"))
			time.Sleep(time.Millisecond)
		}
		if records, n := log.sum(audit.AuthFailed); records != 20 || n != 20 {
			t.Errorf("%d records of %d at first", records, n)
		}
		time.Sleep(10*time.Second - time.Since(began)) // what came first is 10 s old
		synctest.Wait()
		if records, n := log.sum(audit.AuthFailed); records != 21 || n != 1000 {
			t.Errorf("%d records of %d after 10 s", records, n)
		}
		last := log.events[20]
		if last.Count != 980 || last.First.Sub(began) != 20*time.Millisecond || last.Time.Sub(began) != 999*time.Millisecond ||
			last.Reason != "no" || last.Server != "files" || last.IP.String() != "192.0.2.1" {
			t.Errorf("folded: %+v", last)
		}
		time.Sleep(time.Minute) // single records again
		r.Note(refusal(audit.AuthFailed, "192.0.2.1"))
		time.Sleep(20 * time.Millisecond) // notes gather for a moment
		synctest.Wait()
		if records, n := log.sum(audit.AuthFailed); records != 22 || n != 1001 || seen != 1001 {
			t.Errorf("%d records of %d a minute later, %d seen", records, n, seen)
		}
		closeNow(t, r)
	})
}

// What differs among folded refusals is not told of all; a /64 is one address, kinds and addresses are apart.
func TestFoldsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{}
		r := start(t, audit.RecorderConfig{Log: log})
		for i := range 30 {
			e := refusal(audit.AuthFailed, "2001:db8::1")
			if i%2 == 1 {
				e = refusal(audit.AuthFailed, "2001:db8::ffff:2")
				e.Reason, e.Claimed = "other", "alice"
			}
			r.Note(e)
			r.Note(refusal(audit.AuthFailed, "2001:db8:0:1::1"))
			r.Note(refusal(audit.AuthRequired, "::ffff:192.0.2.1"))
		}
		closeNow(t, r) // writes what is held
		if len(log.events) != 63 {
			t.Fatalf("%d records", len(log.events))
		}
		found := map[string]audit.Event{}
		for _, e := range log.events[60:] {
			found[e.IP.String()] = e
		}
		a, b, c := found["2001:db8::"], found["2001:db8:0:1::"], found["192.0.2.1"]
		if a.Count != 10 || a.Reason != "several causes" || a.Claimed != "" || len(a.Details) != 1 || a.Details[0].Value != "2001:db8::/64" {
			t.Errorf("%+v", a)
		}
		if b.Count != 10 || b.Reason != "no" || c.Count != 10 || c.Kind != audit.AuthRequired {
			t.Errorf("%+v, %+v", b, c)
		}
	})
}

// Must not: what was decided about somebody who is known, or by an administrator, is never folded.
func TestNothingElseIsFolded(t *testing.T) {
	log := &memory{}
	r := start(t, audit.RecorderConfig{Log: log})
	for range 50 {
		known := refusal(audit.RateLimitExceeded, "192.0.2.1")
		known.Principal = audit.Identity{Issuer: "a", Subject: "b"}
		r.Note(known)
		for _, kind := range []audit.Kind{audit.PermissionDenied, audit.ConfigRejected, audit.SessionRefused, audit.UpstreamFailed} {
			r.Note(refusal(kind, "192.0.2.1"))
		}
		done := refusal(audit.InputRejected, "192.0.2.1")
		done.Ref = 7
		r.Note(done)
		failed := refusal(audit.AuthFailed, "192.0.2.1")
		failed.Outcome = audit.Failed
		r.Note(failed)
		must(t, r.Record(context.Background(), refusal(audit.AuthFailed, "192.0.2.1")))
	}
	closeNow(t, r)
	if len(log.events) != 8*50 {
		t.Errorf("%d records", len(log.events))
	}
}

// SECURITY: who chooses many addresses fills neither memory nor the log, and hides nothing from detection.
func TestFoldsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, seen := &memory{}, 0
		r := start(t, audit.RecorderConfig{Log: log, Queue: 1 << 20, Observe: func(*audit.Event) { seen++ }})
		const sent = 30_000
		for i := range sent {
			var ip [16]byte
			ip[0] = 0x20
			binary.BigEndian.PutUint32(ip[4:], uint32(i))
			e := refusal(audit.AuthFailed, "::1")
			e.IP = netip.AddrFrom16(ip)
			r.Note(e)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if records, n := log.sum(audit.AuthFailed); records != 1025 || n != sent || seen != sent {
			t.Errorf("%d records of %d, %d seen", records, n, seen)
		}
		if last := log.events[1024]; last.IP.IsValid() || last.Count != sent-1024 || last.Details[0].Value != "others" {
			t.Errorf("%+v", last)
		}
		time.Sleep(time.Minute) // the table is free again
		r.Note(refusal(audit.AuthFailed, "192.0.2.1"))
		closeNow(t, r)
		if last := log.events[len(log.events)-1]; last.IP.String() != "192.0.2.1" {
			t.Errorf("%+v", last)
		}
	})
}

// A log that hangs or fails delays folded refusals and loses none.
func TestFoldsOutliveAFailingLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{fail: true}
		r := start(t, audit.RecorderConfig{Log: log, Queue: 8})
		for range 100 {
			r.Note(refusal(audit.AuthFailed, "192.0.2.1"))
			r.Note(refusal(audit.AuthFailed, "192.0.2.2"))
			time.Sleep(time.Second)
		}
		log.set(func() { log.fail = false })
		time.Sleep(20 * time.Second)
		closeNow(t, r)
		if _, n := log.sum(audit.AuthFailed); n != 200 || r.Lost() != 0 {
			t.Errorf("%d in the log, %d lost", n, r.Lost())
		}
	})
}

// rationed is a log that says how much room it has.
type rationed struct {
	memory
	left atomic.Int32
}

func (r *rationed) Room() audit.Room { return audit.Room(r.left.Load()) }

func TestLittleRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &rationed{}
		r := start(t, audit.RecorderConfig{Log: log, Durable: true})
		ctx := context.Background()
		log.left.Store(int32(audit.RoomTight))
		r.Note(refusal(audit.AuthFailed, "192.0.2.1")) // held
		must(t, r.Record(ctx, event(audit.CallAllowed, 1)))
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if _, n := log.sum(audit.AuthFailed); n != 1 || log.events[1].Count != 1 {
			t.Errorf("tight: %+v", log.events)
		}
		log.left.Store(int32(audit.RoomFull))
		for _, kind := range []audit.Kind{audit.CallAllowed, audit.PermissionDenied, audit.TokenExpired} {
			if err := r.Record(ctx, event(kind, 2)); err == nil {
				t.Errorf("%s was recorded in a full log", kind)
			}
		}
		for _, kind := range []audit.Kind{audit.KeyRevoked, audit.RecordsDeleted, audit.ConfigChanged} {
			must(t, r.Record(ctx, event(kind, 2)))
		}
		r.Note(event(audit.CallCompleted, 2))
		r.Note(event(audit.AuthSuccess, 2)) // lost, and told when there is room
		r.Note(refusal(audit.AuthFailed, "192.0.2.1"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(log.events); n != 6 {
			t.Errorf("full: %v", log.kinds())
		}
		log.left.Store(int32(audit.RoomPlenty))
		time.Sleep(9 * time.Second)
		closeNow(t, r)
		if _, n := log.sum(audit.AuthFailed); n != 2 || log.count(audit.AuditLost) != 1 || len(log.events) != 8 {
			t.Errorf("room again: %v", log.kinds())
		}
	})
}

// The sum holds whatever the interleaving.
func TestFoldsFromManyGoroutines(t *testing.T) {
	log := &memory{}
	var seen atomic.Int64
	r := start(t, audit.RecorderConfig{Log: log, Queue: 64, Observe: func(e *audit.Event) { seen.Add(int64(e.Occurrences())) }})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				r.Note(refusal(audit.AuthRequired, "192.0.2.1"))
			}
		})
	}
	wg.Wait()
	closeNow(t, r)
	if _, n := log.sum(audit.AuthRequired); n != 16000 || seen.Load() != 16000 || r.Lost() != 0 {
		t.Errorf("%d in the log, %d seen, %d lost", n, seen.Load(), r.Lost())
	}
}
