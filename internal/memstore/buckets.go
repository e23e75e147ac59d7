package memstore

import (
	"context"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
)

const (
	defaultBuckets = 1 << 18 // about 40 MB when full
	maxShards      = 64      // one bit each of the mask in which Take collects what it locks
	perShard       = 1 << 10 // below this many keys a shard is not worth dividing
	inline         = 8       // draws of one Take that need no allocation
)

var _ ratelimit.Buckets = (*Buckets)(nil)

// Buckets are token buckets in memory. The two global ones are single words that are swapped atomically; all others lie
// in shards with a mutex each, which one Take locks in ascending order.
//
// The table is bounded. A key that finds it full takes the place of a bucket that is full again, which loses nothing;
// where a sample finds none, of the one that will be full soonest. Make one with NewBuckets.
type Buckets struct {
	start  time.Time // of the steady clock; set by the first Take or Refund
	once   sync.Once
	seed   maphash.Seed // secret, so that nobody can aim at one shard
	global [2]atomic.Int64
	max    int // keys of one shard
	shards []shard
}

type shard struct {
	mu     sync.Mutex
	states map[ratelimit.Key]*ratelimit.State // guarded by mu, also what is pointed to
	_      [40]byte                           // keeps two mutexes off one cache line
}

// BucketsConfig says how large a table may grow.
type BucketsConfig struct {
	// Max is how many keys are remembered beside the global ones, rounded up to a multiple of the number of shards. 0 or
	// less: 262,144.
	Max int
}

// NewBuckets makes an empty table.
func NewBuckets(c BucketsConfig) *Buckets {
	max := c.Max
	if max <= 0 {
		max = defaultBuckets
	}
	n := 1
	for n < maxShards && n*perShard < max {
		n *= 2
	}
	b := &Buckets{seed: maphash.MakeSeed(), max: (max + n - 1) / n, shards: make([]shard, n)}
	for i := range b.shards {
		b.shards[i].states = make(map[ratelimit.Key]*ratelimit.State)
	}
	return b
}

// drawing is one draw that is neither global nor without limit, while Take works on it.
type drawing struct {
	shard int              // -1 for a global bucket, which is drawn from already
	found *ratelimit.State // in the shard; nil where the key is not remembered
	next  ratelimit.State
}

// Take implements ratelimit.Buckets. It never fails and does not look at the context: nothing here waits. A concurrent
// Take may see global tokens as gone that a refused one is about to give back; they are never given twice.
func (b *Buckets) Take(_ context.Context, now time.Time, draws []ratelimit.Draw) (ratelimit.Verdict, error) {
	now = b.steady(now)
	var space [inline]drawing
	work := space[:0]
	var locked uint64
	for i := range draws {
		d := &draws[i]
		if cell := b.globalOf(d.Key); cell != nil {
			if wait, ok := takeGlobal(cell, now, d); !ok {
				b.refundGlobal(now, draws[:i])
				return ratelimit.Verdict{Refused: i, RetryAfter: wait}, nil
			}
			work = append(work, drawing{shard: -1})
			continue
		}
		n := b.shardOf(d.Key)
		locked |= 1 << n
		work = append(work, drawing{shard: n})
	}
	b.lock(locked)
	refused, wait := b.judge(now, draws, work)
	if refused < 0 {
		b.write(draws, work)
	}
	b.unlock(locked)
	if refused >= 0 {
		b.refundGlobal(now, draws)
		return ratelimit.Verdict{Refused: refused, RetryAfter: wait}, nil
	}
	return ratelimit.Verdict{OK: true}, nil
}

// judge computes the state after every draw and returns the index of the first that is refused, or -1. Its shards are
// locked. A key drawn twice pays twice.
func (b *Buckets) judge(now time.Time, draws []ratelimit.Draw, work []drawing) (refused int, wait time.Duration) {
	for i := range draws {
		if work[i].shard < 0 {
			continue
		}
		d, w := &draws[i], &work[i]
		w.found = b.shards[w.shard].states[d.Key]
		state, again := earlier(draws, work, i)
		if !again && w.found != nil {
			state = *w.found
		}
		next, ok, wait := state.Take(now, d.Limit, d.Cost)
		if !ok {
			return i, wait
		}
		w.next = next
	}
	return -1, 0
}

// earlier returns the state that an earlier draw of the same Take left for the key of draw i.
func earlier(draws []ratelimit.Draw, work []drawing, i int) (ratelimit.State, bool) {
	for j := i - 1; j >= 0; j-- {
		if work[j].shard == work[i].shard && draws[j].Key == draws[i].Key {
			return work[j].next, true
		}
	}
	return ratelimit.State{}, false
}

// write stores what judge computed. Full buckets are not stored: a missing one is full.
func (b *Buckets) write(draws []ratelimit.Draw, work []drawing) {
	for i := range draws {
		switch w := &work[i]; {
		case w.shard < 0:
		case w.found != nil:
			*w.found = w.next
		case w.next != (ratelimit.State{}):
			b.shards[w.shard].put(draws[i].Key, w.next, b.max)
		}
	}
}

// put stores a state; s.mu is held.
func (s *shard) put(k ratelimit.Key, state ratelimit.State, max int) {
	if known := s.states[k]; known != nil { // drawn twice in one Take
		*known = state
		return
	}
	if len(s.states) >= max {
		s.evict()
	}
	s.states[k] = &state
}

// evict removes, of a sample that map order chooses, the bucket that is full soonest. One that is full already is the
// soonest of all.
func (s *shard) evict() {
	const sample = 16
	var victim ratelimit.Key
	var soonest int64
	seen := 0
	for k, state := range s.states {
		if seen == 0 || state.TAT < soonest {
			victim, soonest = k, state.TAT
		}
		if seen++; seen == sample {
			break
		}
	}
	delete(s.states, victim)
}

// Refund implements ratelimit.Buckets. A bucket that was forgotten meanwhile is full and needs nothing.
func (b *Buckets) Refund(_ context.Context, now time.Time, draws []ratelimit.Draw) error {
	now = b.steady(now)
	b.refundGlobal(now, draws)
	for i := range draws {
		d := &draws[i]
		if b.globalOf(d.Key) != nil {
			continue
		}
		s := &b.shards[b.shardOf(d.Key)]
		s.mu.Lock()
		if state := s.states[d.Key]; state != nil {
			*state = state.Refund(now, d.Limit, d.Cost)
		}
		s.mu.Unlock()
	}
	return nil
}

// Len returns how many buckets are remembered, beside the global ones.
func (b *Buckets) Len() int {
	n := 0
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += len(s.states)
		s.mu.Unlock()
	}
	return n
}

// steady keeps a corrected wall clock out, where times carry a monotonic reading.
func (b *Buckets) steady(now time.Time) time.Time {
	b.once.Do(func() { b.start = now })
	return ratelimit.Steady(b.start, now)
}

// globalOf returns the word of a global bucket, or nil for all others.
func (b *Buckets) globalOf(k ratelimit.Key) *atomic.Int64 {
	if k.ID != "" || k.Sub != "" {
		return nil
	}
	switch k.Layer {
	case ratelimit.Global:
		return &b.global[0]
	case ratelimit.GlobalUnauthenticated:
		return &b.global[1]
	}
	return nil
}

func takeGlobal(cell *atomic.Int64, now time.Time, d *ratelimit.Draw) (wait time.Duration, ok bool) {
	for {
		old := cell.Load()
		next, ok, wait := ratelimit.State{TAT: old}.Take(now, d.Limit, d.Cost)
		if !ok {
			return wait, false
		}
		if cell.CompareAndSwap(old, next.TAT) {
			return 0, true
		}
	}
}

// refundGlobal gives back the draws of global buckets among draws.
func (b *Buckets) refundGlobal(now time.Time, draws []ratelimit.Draw) {
	for i := range draws {
		d := &draws[i]
		cell := b.globalOf(d.Key)
		for cell != nil {
			old := cell.Load()
			if cell.CompareAndSwap(old, ratelimit.State{TAT: old}.Refund(now, d.Limit, d.Cost).TAT) {
				break
			}
		}
	}
}

func (b *Buckets) shardOf(k ratelimit.Key) int {
	return int(maphash.Comparable(b.seed, k) & uint64(len(b.shards)-1))
}

// lock locks the shards whose bits are set, lowest first, so that two Takes never wait for each other.
func (b *Buckets) lock(mask uint64) {
	for ; mask != 0; mask &= mask - 1 {
		b.shards[bits.TrailingZeros64(mask)].mu.Lock()
	}
}

func (b *Buckets) unlock(mask uint64) {
	for ; mask != 0; mask &= mask - 1 {
		b.shards[bits.TrailingZeros64(mask)].mu.Unlock()
	}
}
