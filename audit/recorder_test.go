package audit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sallyport-mcp/sallyport/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("disk on fire")

// memory is a Log whose disk can fail or hang.
type memory struct {
	mu      sync.Mutex
	fail    bool
	hang    chan struct{} // Append waits until it is closed
	delay   time.Duration // of each Append
	events  []audit.Event
	batches []int
}

func (m *memory) Append(events []*audit.Event, lines [][]byte) error {
	m.mu.Lock()
	hang, delay := m.hang, m.delay
	m.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if delay > 0 {
		time.Sleep(delay)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail {
		return errDisk
	}
	for i, e := range events {
		if e.Seq != uint64(len(m.events))+1 {
			panic(fmt.Sprintf("seq %d at position %d", e.Seq, len(m.events)+1))
		}
		got, err := audit.Decode(lines[i])
		if err != nil || got.Kind != e.Kind || !got.Time.Equal(e.Time) {
			panic(fmt.Sprintf("line %s for %+v: %v", lines[i], e, err))
		}
		got.Seq = e.Seq
		m.events = append(m.events, got)
	}
	m.batches = append(m.batches, len(events))
	return nil
}

func (m *memory) NextSeq() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.events)) + 1
}

func (m *memory) Close() error { return nil }

func (m *memory) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *memory) kinds() []audit.Kind {
	m.mu.Lock()
	defer m.mu.Unlock()
	var kinds []audit.Kind
	for _, e := range m.events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func (m *memory) count(kind audit.Kind) int {
	n := 0
	for _, k := range m.kinds() {
		if k == kind {
			n++
		}
	}
	return n
}

func start(t testing.TB, cfg audit.RecorderConfig) *audit.Recorder {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	r, err := audit.NewRecorder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func closeNow(t testing.TB, r *audit.Recorder) {
	t.Helper()
	if err := r.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func event(kind audit.Kind, n int) *audit.Event {
	return &audit.Event{Kind: kind, Reason: strconv.Itoa(n)}
}

func TestRecordNumbersInQueueOrder(t *testing.T) {
	log := &memory{}
	var mu sync.Mutex
	observed := map[uint64]int{}
	r := start(t, audit.RecorderConfig{Log: log, Durable: true, Observe: func(e *audit.Event) {
		mu.Lock()
		defer mu.Unlock()
		observed[e.Seq]++
	}})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 50 {
				e := event(audit.CallAllowed, i*50+j)
				if err := r.Record(t.Context(), e); err != nil {
					t.Error(err)
				}
				log.set(func() {
					if int(e.Seq) > len(log.events) || log.events[e.Seq-1].Reason != e.Reason {
						t.Errorf("record %d is not in the log under its number", e.Seq)
					}
				})
				r.Note(event(audit.CallCompleted, j))
			}
		})
	}
	wg.Wait()
	closeNow(t, r)
	if len(log.events) != 2000 || len(observed) != 2000 {
		t.Fatalf("%d events in the log, %d observed", len(log.events), len(observed))
	}
	for seq, n := range observed {
		if n != 1 {
			t.Errorf("record %d observed %d times", seq, n)
		}
	}
	if err := r.Record(t.Context(), event(audit.CallAllowed, 1)); !errors.Is(err, audit.ErrNotRecorded) {
		t.Errorf("after Close: %v", err)
	}
}

func TestWaitersShareACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{delay: time.Millisecond}
		r := start(t, audit.RecorderConfig{Log: log, Durable: true})
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				if err := r.Record(t.Context(), event(audit.CallAllowed, i)); err != nil {
					t.Error(err)
				}
			})
		}
		began := time.Now()
		wg.Wait()
		if took := time.Since(began); took > 2*time.Millisecond || len(log.batches) > 2 {
			t.Errorf("64 records took %v in batches of %v", took, log.batches)
		}
		closeNow(t, r)
	})
}

// SECURITY: no call without a record.
func TestFailingLogRefusesAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{}
		var mu sync.Mutex
		var observed []audit.Kind
		r := start(t, audit.RecorderConfig{Log: log, Durable: true, Observe: func(e *audit.Event) {
			mu.Lock()
			observed = append(observed, e.Kind)
			mu.Unlock()
		}})
		must(t, r.Record(t.Context(), event(audit.ServerStarted, 0)))
		log.set(func() { log.fail = true })
		for i := range 3 {
			e := event(audit.CallAllowed, i)
			if err := r.Record(t.Context(), e); !errors.Is(err, audit.ErrNotRecorded) || !errors.Is(err, errDisk) {
				t.Fatalf("Record with a failing log: %v", err)
			}
			if e.Seq != 0 {
				t.Errorf("a refused event has number %d", e.Seq)
			}
			r.Note(event(audit.AuthFailed, i))
		}
		time.Sleep(time.Minute) // every retry fails
		if got := log.kinds(); len(got) != 1 {
			t.Fatalf("in the log while it fails: %v", got)
		}
		if !r.Failing() {
			t.Error("a failing log is not said to fail")
		}
		log.set(func() { log.fail = false })
		e := event(audit.CallAllowed, 9)
		began := time.Now()
		must(t, r.Record(t.Context(), e))
		if took := time.Since(began); took > 0 {
			t.Errorf("a working log was tried %v after the call", took)
		}
		time.Sleep(20 * time.Millisecond) // notes gather first
		synctest.Wait()
		if r.Failing() {
			t.Error("a working log is said to fail")
		}
		want := []audit.Kind{
			audit.ServerStarted, audit.StoreDegraded, audit.AuthFailed, audit.AuthFailed, audit.AuthFailed,
			audit.CallAllowed, audit.StoreRecovered,
		}
		if got := log.kinds(); !slices.Equal(got, want) {
			t.Errorf("in the log: %v\nwant %v", got, want)
		}
		if e.Seq != 6 {
			t.Errorf("number %d", e.Seq)
		}
		if d := log.events[6].Details; len(d) != 1 || d[0] != (audit.Detail{Name: "refused", Value: "3"}) {
			t.Errorf("store_recovered says %v", d)
		}
		if len(observed) != 10 || r.Lost() != 0 { // 1 + 3 refused + 3 notes + degraded + 1 + recovered
			t.Errorf("observed %d times %v, lost %d", len(observed), observed, r.Lost())
		}
		closeNow(t, r)
	})
}

func TestFailingLogRecoversByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{fail: true}
		r := start(t, audit.RecorderConfig{Log: log, Durable: true})
		r.Note(event(audit.AuthFailed, 1))
		time.Sleep(time.Second)
		log.set(func() { log.fail = false })
		time.Sleep(3 * time.Second)
		if got := log.kinds(); !slices.Equal(got, []audit.Kind{audit.StoreDegraded, audit.AuthFailed, audit.StoreRecovered}) {
			t.Errorf("in the log: %v", got)
		}
		closeNow(t, r)
	})
}

func TestNotesBeyondTheBoundAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{fail: true}
		observed := 0
		var mu sync.Mutex
		r := start(t, audit.RecorderConfig{Log: log, Durable: true, Queue: 10, Observe: func(e *audit.Event) {
			mu.Lock()
			observed++
			mu.Unlock()
		}})
		for i := range 100 {
			r.Note(event(audit.AuthFailed, i))
			if i == 0 {
				time.Sleep(20 * time.Millisecond) // notes gather first; the log has failed by then
			}
			synctest.Wait()
		}
		log.set(func() { log.fail = false })
		time.Sleep(5 * time.Second)
		kept, lost := log.count(audit.AuthFailed), 0
		for _, e := range log.events {
			if e.Kind == audit.AuditLost {
				lost += e.Occurrences()
			}
		}
		if kept+lost != 100 || lost == 0 || int(r.Lost()) != lost || kept < 9 {
			t.Errorf("%d kept, %d reported lost, %d counted", kept, lost, r.Lost())
		}
		if observed != 100+2+log.count(audit.AuditLost) {
			t.Errorf("observed %d", observed)
		}
		closeNow(t, r)
	})
}

func TestUnknownKindIsRefused(t *testing.T) {
	log := &memory{}
	r := start(t, audit.RecorderConfig{Log: log, Durable: true})
	if err := r.Record(t.Context(), &audit.Event{Kind: "made_up"}); !errors.Is(err, audit.ErrNotRecorded) {
		t.Errorf("made-up kind: %v", err)
	}
	r.Note(&audit.Event{Kind: "made_up"})
	closeNow(t, r)
	if r.Lost() != 1 || log.count("made_up") != 0 {
		t.Errorf("lost %d, log %v", r.Lost(), log.kinds())
	}
}

// Observe may note further events: it is called without a lock.
func TestObserveMayNote(t *testing.T) {
	log := &memory{}
	var r *audit.Recorder
	r = start(t, audit.RecorderConfig{Log: log, Durable: true, Observe: func(e *audit.Event) {
		if e.Kind == audit.AuthFailed {
			r.Note(event(audit.AlertRaised, 1))
		}
	}})
	must(t, r.Record(t.Context(), event(audit.AuthFailed, 1)))
	closeNow(t, r)
	if got := log.kinds(); !slices.Equal(got, []audit.Kind{audit.AuthFailed, audit.AlertRaised}) {
		t.Errorf("log: %v", got)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err) // not Fatal: called in goroutines too
	}
}

// What does a record cost the caller, the disk apart?
func BenchmarkRecordMemory(b *testing.B) {
	r := start(b, audit.RecorderConfig{Log: nothing{new(uint64)}, Durable: true})
	defer closeNow(b, r)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		e := full()
		for pb.Next() {
			if err := r.Record(context.Background(), &e); err != nil {
				b.Error(err)
			}
		}
	})
}

type nothing struct{ n *uint64 }

func (n nothing) Append(events []*audit.Event, _ [][]byte) error {
	*n.n += uint64(len(events))
	return nil
}
func (n nothing) NextSeq() uint64 { return *n.n + 1 }
func (n nothing) Close() error    { return nil }
