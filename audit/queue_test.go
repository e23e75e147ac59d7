package audit_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{hang: make(chan struct{})}
		r := start(t, audit.RecorderConfig{Log: log, Durable: true, Queue: 2})
		var wg sync.WaitGroup
		for i := range 3 { // one in the log's hands, two queued
			wg.Go(func() { must(t, r.Record(context.Background(), event(audit.CallAllowed, i))) })
			synctest.Wait()
		}
		began := time.Now()
		e := event(audit.CallAllowed, 4)
		if err := r.Record(t.Context(), e); !errors.Is(err, audit.ErrNotRecorded) || time.Since(began) > 0 || e.Seq != 0 {
			t.Errorf("full queue: %v after %v, number %d", err, time.Since(began), e.Seq)
		}
		close(log.hang)
		wg.Wait()
		closeNow(t, r)
	})
}

func TestHangingLogKeepsNobodyPastTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{hang: make(chan struct{})}
		r := start(t, audit.RecorderConfig{Log: log, Durable: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.Record(ctx, event(audit.CallAllowed, 1))
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, audit.ErrNotRecorded) {
			t.Errorf("hanging log: %v", err)
		}
		r.Note(event(audit.AuthFailed, 1)) // never waits
		if err := r.Close(ctx); !errors.Is(err, audit.ErrNotRecorded) {
			t.Errorf("closing over a hanging log: %v", err)
		}
		close(log.hang)
		synctest.Wait()
	})
}

func TestAsyncWaitsForRoomThenCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{hang: make(chan struct{})}
		r := start(t, audit.RecorderConfig{Log: log, Queue: 4, Wait: 100 * time.Millisecond})
		must(t, r.Record(t.Context(), event(audit.CallAllowed, 0)))
		time.Sleep(20 * time.Millisecond) // what nobody waits for gathers first
		synctest.Wait()                   // in the log's hands
		for i := range 4 {
			must(t, r.Record(t.Context(), event(audit.CallAllowed, i)))
		}
		began := time.Now()
		must(t, r.Record(t.Context(), event(audit.CallAllowed, 5)))
		if took := time.Since(began); took != 100*time.Millisecond || r.Lost() != 1 {
			t.Errorf("waited %v, lost %d", took, r.Lost())
		}
		var wg sync.WaitGroup
		wg.Go(func() { must(t, r.Record(t.Context(), event(audit.CallAllowed, 6))) })
		time.Sleep(50 * time.Millisecond)
		close(log.hang) // room in time
		wg.Wait()
		closeNow(t, r)
		if n := log.count(audit.CallAllowed); n != 6 || log.count(audit.AuditLost) != 1 || r.Lost() != 1 {
			t.Errorf("log holds %v, lost %d", log.kinds(), r.Lost())
		}
	})
}

func TestCloseDrainsAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{delay: time.Second}
		r := start(t, audit.RecorderConfig{Log: log})
		for i := range 100 {
			must(t, r.Record(t.Context(), event(audit.CallAllowed, i)))
		}
		closeNow(t, r)
		if n := log.count(audit.CallAllowed); n != 100 {
			t.Errorf("%d events in the log", n)
		}

		log = &memory{fail: true}
		r = start(t, audit.RecorderConfig{Log: log, Durable: true})
		r.Note(event(audit.AuthFailed, 1))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := r.Close(ctx); !errors.Is(err, audit.ErrNotRecorded) || r.Lost() != 2 { // the note and store_degraded
			t.Errorf("closing over a failing log: %v, lost %d", err, r.Lost())
		}
	})
}

// SECURITY: who came while a batch was failing is refused too, and told so; his notes are kept up to the bound.
func TestFailureAnswersThoseQueuedBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := make(chan struct{}), make(chan struct{})
		log := &memory{hang: first}
		r := start(t, audit.RecorderConfig{Log: log, Durable: true, Queue: 10})
		r.Note(event(audit.ServerStarted, 0))
		time.Sleep(20 * time.Millisecond) // notes gather first
		synctest.Wait()                   // in the log's hands
		var wg sync.WaitGroup
		fill := func(round int) { // two who wait and eight notes: the whole queue
			for i := range 2 {
				wg.Go(func() {
					if err := r.Record(context.Background(), event(audit.CallAllowed, i)); !errors.Is(err, audit.ErrNotRecorded) {
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
			synctest.Wait()
			for i := range 8 {
				r.Note(event(audit.AuthFailed, i))
			}
		}
		fill(0)
		log.set(func() { log.hang = second })
		close(first)
		synctest.Wait() // those of round 0 are in the log's hands
		fill(1)
		log.set(func() { log.fail = true })
		close(second)
		wg.Wait()
		log.set(func() { log.hang, log.fail = nil, false })
		time.Sleep(5 * time.Second)
		closeNow(t, r)
		if kept := log.count(audit.AuthFailed); kept != 10 || r.Lost() != 6 || log.count(audit.CallAllowed) != 0 {
			t.Errorf("%d kept, %d lost: %v", kept, r.Lost(), log.kinds())
		}
		for _, e := range log.events {
			if d := e.Details; e.Kind == audit.StoreRecovered && d[0].Value != "4" {
				t.Errorf("refused: %v", d)
			}
		}
	})
}
