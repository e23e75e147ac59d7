package audit

import (
	"net/netip"
	"time"
)

// Strangers can send refusals faster than a disk should take them. So what is refused before authentication is folded:
// of an address and kind the first of a minute are records of their own, the rest are counted in one.
const (
	foldSingles = 20               // single records of an address and kind in a minute
	foldMinute  = time.Minute      // the minute of foldSingles
	foldEvery   = 8 * time.Second  // folded records are written this often: on disk well within 10 s
	maxFolds    = 1024             // addresses and kinds told apart; strangers choose how many there are
	foldBytes   = 8 << 20          // single records of all addresses together in a minute
	sweepEvery  = time.Second      // shortest time between two looks for folds that are over
	foldOthers  = "others"         // addresses beyond maxFolds
	foldReason  = "several causes" // when the folded refusals differ in it
)

// foldable reports whether e is a refusal before authentication. Everything else is always a record of its own.
func foldable(e *Event) bool {
	if e.Outcome != Denied || e.Principal != (Identity{}) || e.Ref != 0 || e.Repeat || e.Count > 1 {
		return false
	}
	switch e.Kind {
	case AuthFailed, AuthRequired, TokenExpired, RateLimitExceeded, AddressRefused, InputRejected, StoreDegraded:
		return true
	}
	return false
}

// folds counts refusals. It is guarded by Recorder.mu.
type folds struct {
	by    map[foldKey]*fold
	begun time.Time // of the minute that bytes belongs to
	bytes int       // of single records in it
	swept time.Time
	timer *time.Timer // of the next write; nil while nothing is held
}

// foldKey is an IPv4 address or IPv6 /64, and a kind; without an address, all beyond maxFolds.
type foldKey struct {
	net  netip.Addr
	kind Kind
}

type fold struct {
	begun   time.Time // of its minute
	singles int       // in it
	held    Event     // what is counted and not yet written; Count 0: nothing
}

// foldNet returns the IPv4 address, or the first address of the IPv6 /64, that a refusal is folded with.
func foldNet(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if !ip.Is6() {
		return ip
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// of returns the fold of a refusal, that of all others when there are too many.
func (f *folds) of(e *Event) (k foldKey, _ *fold) {
	if f.by == nil {
		f.by = map[foldKey]*fold{}
	}
	k = foldKey{foldNet(e.IP), e.Kind}
	if it := f.by[k]; it != nil {
		return k, it
	}
	if len(f.by) >= maxFolds && over(f.swept, e.Time, sweepEvery) {
		f.sweep(e.Time)
	}
	if len(f.by) >= maxFolds {
		k.net = netip.Addr{}
		if it := f.by[k]; it != nil {
			return k, it
		}
	}
	it := &fold{begun: e.Time}
	f.by[k] = it
	return k, it
}

// single reports whether e is to be a record of its own, and counts it as one.
func (f *folds) single(e *Event) bool {
	k, it := f.of(e)
	if over(it.begun, e.Time, foldMinute) {
		it.begun, it.singles = e.Time, 0
	}
	if over(f.begun, e.Time, foldMinute) {
		f.begun, f.bytes = e.Time, 0
	}
	if it.singles >= foldSingles || f.bytes >= foldBytes || !k.net.IsValid() {
		return false
	}
	it.singles++
	return true
}

// hold counts e in the record of its address and kind.
func (f *folds) hold(e *Event) {
	k, it := f.of(e)
	h := &it.held
	if h.Count == 0 {
		*h = Event{
			Kind: e.Kind, Outcome: e.Outcome, IP: k.net, First: e.Time, Time: e.Time, Count: 1, Status: e.Status,
			Claimed: e.Claimed, UserAgent: e.UserAgent, Server: e.Server, Rule: e.Rule, Reason: e.Reason,
		}
		return
	}
	h.Count++
	if e.Time.Before(h.First) {
		h.First = e.Time
	}
	if e.Time.After(h.Time) {
		h.Time = e.Time
	}
	keep(&h.Claimed, e.Claimed, "")
	keep(&h.UserAgent, e.UserAgent, "")
	keep(&h.Server, e.Server, "")
	keep(&h.Rule, e.Rule, "")
	keep(&h.Reason, e.Reason, foldReason)
	if h.Status != e.Status {
		h.Status = 0
	}
}

// keep leaves of a text what all folded refusals have in common.
func keep(have *string, more, instead string) {
	if *have != more {
		*have = instead
	}
}

// take returns a fold's record, if it holds one, and empties it.
func (it *fold) take(k foldKey) (Event, bool) {
	e := it.held
	it.held = Event{}
	switch {
	case e.Count == 0:
		return e, false
	case !k.net.IsValid():
		e.Details = []Detail{{"addresses", foldOthers}}
	case k.net.Is6():
		e.Details = []Detail{{"addresses", netip.PrefixFrom(k.net, 64).String()}}
	}
	return e, true
}

// sweep forgets folds whose minute is over and that hold nothing.
func (f *folds) sweep(now time.Time) {
	f.swept = now
	for k, it := range f.by {
		if it.held.Count == 0 && over(it.begun, now, foldMinute) {
			delete(f.by, k)
		}
	}
}

// over reports whether a span is over, or the clock was set back by more than it.
func over(begun, now time.Time, span time.Duration) bool {
	d := now.Sub(begun)
	return d >= span || d <= -span
}

// noteRefusal queues a refusal before authentication, or folds it. Strangers get no more than half of the queue, so that
// there is room for callers.
func (r *Recorder) noteRefusal(e *Event) {
	e.Seq = 0
	r.mu.Lock()
	single := r.roomForStrangers() && r.folds.single(e)
	if !single {
		r.hold(e)
	}
	r.mu.Unlock()
	if !single {
		return
	}
	line := encode(e, r.cfg.Now)
	r.mu.Lock()
	if r.roomForStrangers() {
		r.folds.bytes += len(*line)
		r.add(e, *line, false)
	} else {
		r.hold(e)
	}
	r.mu.Unlock()
	encodings.Put(line)
	r.signal()
}

// roomForStrangers is called with mu held.
func (r *Recorder) roomForStrangers() bool {
	return !r.closed && len(r.batch.entries) < (r.cfg.Queue+1)/2 && r.room() == RoomPlenty
}

// hold folds a refusal. mu is held.
func (r *Recorder) hold(e *Event) {
	if r.closed {
		r.miss(1)
		return
	}
	r.folds.hold(e)
	if r.folds.timer == nil {
		r.folds.timer = time.AfterFunc(foldEvery, r.unfold)
	}
}

// unfold queues what is held, as far as there is room; the rest is counted on.
func (r *Recorder) unfold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.folds.timer = nil
	if left := r.queueFolds(r.cfg.Queue); left {
		r.folds.timer = time.AfterFunc(foldEvery, r.unfold)
	}
	r.folds.sweep(r.cfg.Now().UTC())
	r.signal()
}

// queueFolds puts folded records into the batch up to a bound and reports whether some are left. mu is held.
func (r *Recorder) queueFolds(bound int) (left bool) {
	for k, it := range r.folds.by {
		if it.held.Count == 0 {
			continue
		}
		if len(r.batch.entries) >= bound || r.room() == RoomFull && !r.closed {
			return true
		}
		if e, ok := it.take(k); ok {
			line := encode(&e, r.cfg.Now)
			r.add(&e, *line, false)
			encodings.Put(line)
		}
	}
	return false
}
