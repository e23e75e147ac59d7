package audit

import (
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// batch is what one Log.Append writes. While it gathers it is guarded by Recorder.mu; once taken it belongs to the
// commit loop alone, except that waiters read err after done is closed.
type batch struct {
	entries []entry
	text    []byte        // the lines of the entries, one after the other
	taken   chan struct{} // closed when it no longer gathers: there is room again
	done    chan struct{} // closed when it is on disk, or err is set
	err     error
	waited  bool // an entry waits
}

type entry struct {
	event Event // a copy: the caller's may change once it has been observed
	end   int   // in text
	waits bool  // a durable Record waits for it
}

func newBatch() *batch {
	return &batch{taken: make(chan struct{}), done: make(chan struct{})}
}

func (b *batch) add(e *Event, line []byte, waits bool) {
	b.text = append(b.text, line...)
	b.entries = append(b.entries, entry{*e, len(b.text), waits})
	b.waited = b.waited || waits
}

// append hands the batch to the log.
func (b *batch) append(log Log, events []*Event, lines [][]byte) ([]*Event, [][]byte, error) {
	events, lines = events[:0], lines[:0]
	start := 0
	for i := range b.entries {
		en := &b.entries[i]
		events = append(events, &en.event)
		lines = append(lines, b.text[start:en.end:en.end])
		start = en.end
	}
	return events, lines, log.Append(events, lines)
}

// encodings holds buffers for one encoded event each.
var encodings = sync.Pool{New: func() any { return new([]byte) }}

// encode gives the event a time if it has none and writes it into a buffer from encodings.
func encode(e *Event, now func() time.Time) *[]byte {
	if e.Time.IsZero() {
		e.Time = now().UTC()
	}
	buf := encodings.Get().(*[]byte)
	*buf = e.AppendJSON((*buf)[:0])
	return buf
}

// The pause after a failed append doubles from the first to the second.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// commitLoop is owned by NewRecorder and ends when the Recorder is closed and empty, or told to give up.
func (r *Recorder) commitLoop() {
	defer close(r.done)
	var (
		events []*Event
		lines  [][]byte
		failed failure
	)
	for {
		r.gather()
		b, closed := r.take()
		if b == nil {
			if closed {
				return
			}
			<-r.wake
			continue
		}
		var err error
		if events, lines, err = b.append(r.cfg.Log, events, lines); err == nil {
			close(b.done)
			r.recycle(b)
			r.recovered(&failed)
			continue
		}
		r.failed(&failed, b, err)
		if !r.pause(&failed) {
			r.abandon()
			return
		}
	}
}

// idle is how long events that nobody waits for may gather. It bounds how much of them a crash can take.
const idle = 10 * time.Millisecond

// gather lets a commit be shared. While nobody waits for the disk, notes gather until somebody does or a moment has
// passed: a sync of their own would stand in the way of the next record that is waited for. And those whom the last
// commit released may come back with their next event, instead of the first of them having a commit alone: with many
// callers it halves the number of syncs.
func (r *Recorder) gather() {
	if !r.awaited() {
		timer := time.NewTimer(idle)
		defer timer.Stop()
		select {
		case <-r.urgent:
		case <-timer.C:
		}
	}
	const rounds = 8
	before := -1
	for range rounds {
		r.mu.Lock()
		n := len(r.batch.entries)
		r.mu.Unlock()
		if n == before || n == 0 {
			return
		}
		before = n
		runtime.Gosched()
	}
}

// awaited reports whether the commit should begin at once: somebody waits for it, or for room, or for the end, or there
// is nothing to commit.
func (r *Recorder) awaited() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.batch.entries)
	return n == 0 || r.closed || r.batch.waited || n >= r.cfg.Queue/2
}

// take ends the gathering of a batch and returns it, nil if it is empty, and whether the Recorder is closed.
func (r *Recorder) take() (b *batch, closed bool) {
	r.mu.Lock()
	var report *Event
	if r.missed.count > 0 && (r.closed || r.room() != RoomFull) {
		m := r.missed
		report = &Event{Kind: AuditLost, Outcome: Info, Time: m.last.UTC(), First: m.first.UTC(), Count: m.count, Rule: "audit"}
		r.missed = losses{}
		line := encode(report, r.cfg.Now)
		r.add(report, *line, false)
		encodings.Put(line)
	}
	closed = r.closed
	if len(r.batch.entries) > 0 {
		b = r.batch
		r.batch = r.spareBatch()
		close(b.taken)
		select {
		case <-r.urgent: // whoever waits in the next batch is seen there
		default:
		}
	}
	r.mu.Unlock()
	if report != nil {
		r.cfg.Logger.Error("audit: events lost", "count", report.Count)
		r.cfg.Observe(report)
	}
	return b, closed
}

// spareBatch returns an empty batch that reuses the memory of an earlier one. mu is held.
func (r *Recorder) spareBatch() *batch {
	b := newBatch()
	if r.spare != nil {
		b.entries, b.text, r.spare = r.spare.entries, r.spare.text, nil
	}
	return b
}

// recycle keeps the memory of a committed batch. Waiters still read b itself, so only its slices go on.
func (r *Recorder) recycle(b *batch) {
	const keep = 4 << 20
	if cap(b.text) > keep {
		return
	}
	clear(b.entries)
	old := &batch{entries: b.entries[:0], text: b.text[:0]}
	r.mu.Lock()
	r.spare = old
	r.mu.Unlock()
}

// failure is what the commit loop remembers while the log fails; zero while it works.
type failure struct {
	since   time.Time
	pause   time.Duration
	refused int // events whose Record was answered with ErrNotRecorded
}

// failed answers everybody who waits, in b or in what gathered since, and queues the notes of both again.
func (r *Recorder) failed(f *failure, b *batch, cause error) {
	err := fmt.Errorf("%w: %w", ErrNotRecorded, cause)
	first := f.since.IsZero()
	degraded := Event{Kind: StoreDegraded, Outcome: Failed, Time: r.cfg.Now().UTC(), Rule: "audit", Reason: cause.Error()}
	next := r.cfg.Log.NextSeq()
	select {
	case <-r.urgent: // who asked so far is answered below
	default:
	}

	r.mu.Lock()
	old := r.batch
	r.next = next
	r.batch = newBatch()
	if first {
		r.add(&degraded, degraded.AppendJSON(nil), false)
	}
	f.refused += r.requeue(b) + r.requeue(old)
	r.mu.Unlock()

	b.err, old.err = err, err
	close(b.done)
	close(old.taken)
	close(old.done)
	if first {
		f.since = degraded.Time
		r.failing.Store(true)
		r.cfg.Logger.Error("audit: the log cannot be written", "error", cause)
		r.cfg.Observe(&degraded)
	}
}

// requeue puts the notes of a batch into the one that gathers and returns how many waiters it had. mu is held.
func (r *Recorder) requeue(b *batch) (refused int) {
	start := 0
	for i := range b.entries {
		en := &b.entries[i]
		line := b.text[start:en.end]
		start = en.end
		switch {
		case en.waits:
			refused++
		case len(r.batch.entries) > r.cfg.Queue: // one more than the bound: store_degraded is not counted
			r.drop(&en.event)
		default:
			r.add(&en.event, line, false)
		}
	}
	return refused
}

// recovered records the end of a failure.
func (r *Recorder) recovered(f *failure) {
	if f.since.IsZero() {
		return
	}
	e := Event{
		Kind: StoreRecovered, Outcome: Info, Time: r.cfg.Now().UTC(), First: f.since, Rule: "audit",
		Reason:  "the log can be written again",
		Details: []Detail{{"refused", strconv.Itoa(f.refused)}},
	}
	refused := f.refused
	*f = failure{}
	r.failing.Store(false)
	line := e.AppendJSON(nil)
	r.mu.Lock()
	r.add(&e, line, false)
	r.mu.Unlock()
	r.signal()
	r.cfg.Logger.Info("audit: the log can be written again", "since", e.First, "refused", refused)
	r.cfg.Observe(&e)
}

// pause waits until it is time to try again: a while, or the next durable Record. It returns false when Close has given up.
func (r *Recorder) pause(f *failure) bool {
	f.pause = min(max(firstPause, 2*f.pause), lastPause)
	timer := time.NewTimer(f.pause)
	defer timer.Stop()
	select {
	case <-r.stop:
		return false
	default:
	}
	select {
	case <-r.urgent:
	case <-timer.C:
	case <-r.stop:
		return false
	}
	return true
}

// abandon counts what is still queued as lost and answers who came since the last failure.
func (r *Recorder) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.batch.entries {
		r.drop(&r.batch.entries[i].event)
	}
	r.batch.err = fmt.Errorf("the recorder is closed: %w", ErrNotRecorded)
	close(r.batch.taken)
	close(r.batch.done)
}
