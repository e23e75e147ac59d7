package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// RecorderConfig says how events reach a Log.
type RecorderConfig struct {
	// Log keeps the records. Required.
	Log Log
	// Durable makes Record wait until the record is on disk and refuse when it cannot be. False: async mode, Record
	// waits only for room in the queue, and what finds none is counted and reported as lost.
	Durable bool
	// Queue is how many events may wait for the log. 0: 8192.
	Queue int
	// Wait is how long Record waits for room in async mode. 0: 100 ms.
	Wait time.Duration
	// Observe is called exactly once with each event given to Record or Note (and those the Recorder makes itself),
	// in the goroutine of the caller, holding no lock, before the record is durable; with Seq 0 if the event found no
	// room. It may call Note, never Record. Nil: nobody observes.
	Observe func(*Event)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger is the process log. Nil: slog.Default().
	Logger *slog.Logger
}

// Recorder gives events their sequence number and hands them to the Log in that order, many at a time: while one batch
// is being written the next one gathers, so that all who wait share one write and one fsync. Its methods may be called
// from many goroutines.
//
// When the log fails, everybody who waits in durable mode gets ErrNotRecorded; notes stay queued with new numbers, up
// to the queue's bound, and are tried again with a growing pause and with the next Record. Once the log works again it
// holds a store_degraded and a store_recovered record.
//
// Refusals before authentication that come in floods are folded: Observe sees each, the log holds their sum.
type Recorder struct {
	cfg     RecorderConfig
	wake    chan struct{} // capacity 1: there is something to do
	urgent  chan struct{} // capacity 1: a durable Record waits, so a failing log is tried again at once
	done    chan struct{} // closed when the commit loop has ended
	stop    chan struct{} // closed by Close when its context ends: give up what cannot be written
	lost    atomic.Uint64 // all events lost since the start
	failing atomic.Bool   // the last write failed and none has worked since
	giveUp  sync.Once

	mu     sync.Mutex
	batch  *batch   // what gathers; guarded by mu
	spare  *batch   // an empty one to gather in next; guarded by mu
	next   uint64   // the sequence number of the next event; guarded by mu
	missed losses   // not yet reported; guarded by mu
	folds  folds    // guarded by mu
	closed bool     // guarded by mu
	ration Rationer // the log, if its size is bounded; else nil
}

// losses are lost events that no audit_lost record reports yet.
type losses struct {
	count       int
	first, last time.Time
}

// NewRecorder starts a Recorder; Close ends it.
func NewRecorder(cfg RecorderConfig) (*Recorder, error) {
	if cfg.Log == nil {
		return nil, errors.New("starting recorder: no log")
	}
	if cfg.Queue < 0 || cfg.Wait < 0 {
		return nil, errors.New("starting recorder: negative queue or wait")
	}
	if cfg.Queue == 0 {
		cfg.Queue = 8192
	}
	if cfg.Wait == 0 {
		cfg.Wait = 100 * time.Millisecond
	}
	if cfg.Observe == nil {
		cfg.Observe = func(*Event) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	r := &Recorder{
		cfg:    cfg,
		wake:   make(chan struct{}, 1),
		urgent: make(chan struct{}, 1),
		done:   make(chan struct{}),
		stop:   make(chan struct{}),
		batch:  newBatch(),
		next:   cfg.Log.NextSeq(),
	}
	r.ration, _ = cfg.Log.(Rationer)
	go r.commitLoop()
	return r, nil
}

// Record gives the event its number and, if it has none, its time, and hands it to the log. In durable mode it returns
// nil when the record is on disk; an error wraps ErrNotRecorded: what the event allows must not happen. If ctx ends
// first the error wraps ctx's error as well, and the record may still be written. In async mode it returns at
// once, or after at most RecorderConfig.Wait when the queue is full; then the event is lost and counted.
//
// Seq is final when a durable Record returns nil; otherwise a failing log may renumber what it has not kept. The slice
// Details must not be changed afterwards.
func (r *Recorder) Record(ctx context.Context, e *Event) error {
	if !e.Kind.Known() {
		return fmt.Errorf("recording event of unknown kind %q: %w", e.Kind, ErrNotRecorded)
	}
	if r.room() == RoomFull && !useReserve(e) {
		e.Seq = 0
		r.cfg.Observe(e)
		return fmt.Errorf("recording %s: the log has reached its largest size: %w", e.Kind, ErrNotRecorded)
	}
	b, err := r.enqueue(ctx, e, r.cfg.Durable)
	r.cfg.Observe(e)
	if err != nil || !r.cfg.Durable {
		return err
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		return fmt.Errorf("recording %s: %w: %w", e.Kind, ErrNotRecorded, ctx.Err())
	}
	if b.err != nil {
		e.Seq = 0
		return fmt.Errorf("recording %s: %w", e.Kind, b.err)
	}
	return nil
}

// Note hands an event to the log without waiting: for facts that no decision depends on, such as refusals before
// authentication and outcomes. If the queue is full the event is lost, and the loss is counted and recorded. Refusals
// before authentication are folded when they come in floods: their Seq is then 0, and a record with their sum is written
// within 10 s, or when there is room again, or by Close.
func (r *Recorder) Note(e *Event) {
	if !e.Kind.Known() {
		r.cfg.Logger.Error("audit: event of unknown kind dropped", "kind", string(e.Kind))
		r.countLost(1)
		return
	}
	if e.Time.IsZero() {
		e.Time = r.cfg.Now().UTC()
	}
	if foldable(e) {
		r.noteRefusal(e)
	} else {
		r.note(e)
	}
	r.cfg.Observe(e)
}

func (r *Recorder) note(e *Event) {
	line := encode(e, r.cfg.Now)
	r.mu.Lock()
	ok := !r.closed && len(r.batch.entries) < r.cfg.Queue && (r.room() != RoomFull || useReserve(e))
	if ok {
		r.add(e, *line, false)
	} else {
		e.Seq = 0
		r.miss(1)
	}
	r.mu.Unlock()
	encodings.Put(line)
	r.signal()
}

// room asks a log of bounded size how much it takes.
func (r *Recorder) room() Room {
	if r.ration == nil {
		return RoomPlenty
	}
	return r.ration.Room()
}

// Queued returns how many events gather for the next write.
func (r *Recorder) Queued() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.batch.entries)
}

// Failing reports whether the log cannot be written at present.
func (r *Recorder) Failing() bool { return r.failing.Load() }

// Lost returns how many events could not be kept since the start.
func (r *Recorder) Lost() uint64 { return r.lost.Load() }

// Close refuses further events, writes what is queued and ends the commit loop. If the log fails it tries until ctx
// ends; what is not written then is lost and the error says how many. If the log hangs, Close returns an error a second
// after ctx and leaves the commit loop behind. The Log stays open. Further calls wait likewise.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		r.queueFolds(math.MaxInt)
		if r.folds.timer != nil {
			r.folds.timer.Stop()
		}
	}
	r.mu.Unlock()
	r.signal()
	select {
	case <-r.done:
	case <-ctx.Done():
		r.giveUp.Do(func() { close(r.stop) })
		grace := time.NewTimer(time.Second)
		defer grace.Stop()
		select {
		case <-r.done:
		case <-grace.C:
			return fmt.Errorf("closing recorder: the log does not answer: %w", ErrNotRecorded)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.missed.count; n > 0 {
		return fmt.Errorf("closing recorder: %d events without a record: %w", n, ErrNotRecorded)
	}
	return nil
}

// enqueue returns the batch the event is in.
func (r *Recorder) enqueue(ctx context.Context, e *Event, durable bool) (*batch, error) {
	line := encode(e, r.cfg.Now)
	defer encodings.Put(line)
	var timeout <-chan time.Time
	for {
		r.mu.Lock()
		switch {
		case r.closed:
			r.mu.Unlock()
			e.Seq = 0
			return nil, fmt.Errorf("recording %s: the recorder is closed: %w", e.Kind, ErrNotRecorded)
		case len(r.batch.entries) < r.cfg.Queue:
			b := r.add(e, *line, durable)
			r.mu.Unlock()
			if durable {
				wakeUp(r.urgent)
			}
			r.signal()
			return b, nil
		case durable:
			r.mu.Unlock()
			r.signal()
			e.Seq = 0
			return nil, fmt.Errorf("recording %s: the queue is full: %w", e.Kind, ErrNotRecorded)
		}
		taken := r.batch.taken
		r.mu.Unlock()
		if timeout == nil {
			timer := time.NewTimer(r.cfg.Wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-taken:
			continue
		case <-timeout:
		case <-ctx.Done():
		}
		r.mu.Lock()
		r.miss(1)
		r.mu.Unlock()
		e.Seq = 0
		return nil, nil
	}
}

// add puts the event into the gathering batch. mu is held.
func (r *Recorder) add(e *Event, line []byte, waits bool) *batch {
	e.Seq = r.next
	r.next++
	r.batch.add(e, line, waits)
	return r.batch
}

// miss counts lost events. mu is held.
func (r *Recorder) miss(n int) {
	now := r.cfg.Now()
	if r.missed.count == 0 {
		r.missed.first = now
	}
	r.missed.count += n
	r.missed.last = now
	r.lost.Add(uint64(n))
}

// drop counts a queued event that could not be kept, with all it stands for. The losses that an audit_lost record was to
// report are reported by a later one. mu is held.
func (r *Recorder) drop(e *Event) {
	if e.Kind != AuditLost {
		r.miss(e.Occurrences())
		return
	}
	if r.missed.count == 0 || e.First.Before(r.missed.first) {
		r.missed.first = e.First
	}
	if e.Time.After(r.missed.last) {
		r.missed.last = e.Time
	}
	r.missed.count += e.Count
}

func (r *Recorder) countLost(n int) {
	r.mu.Lock()
	r.miss(n)
	r.mu.Unlock()
	r.signal()
}

func (r *Recorder) signal() { wakeUp(r.wake) }

func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
