package upstream

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// Bounds of a mailbox, so that a child cannot fill memory through a client that does not read.
const (
	maxWaiting      = 256     // messages
	maxWaitingBytes = 4 << 20 // bytes; one message alone may be longer
)

// errSilent is what get returns when nothing came in time.
var errSilent = errors.New("nothing came in time")

// mailbox holds messages between a child and the reader of one answer or stream. put never waits.
type mailbox struct {
	mu      sync.Mutex
	waiting []letter      // guarded by mu
	bytes   int           // guarded by mu: of waiting
	end     error         // guarded by mu: what comes after the last letter; nil while open
	news    chan struct{} // capacity 1: something above has changed
}

// letter is one message of the child, as it leaves.
type letter struct {
	data []byte
	last bool // the answer to the call
}

func newMailbox() *mailbox {
	return &mailbox{news: make(chan struct{}, 1)}
}

// put adds a message and reports whether there was room. The answer to a call always has room, and nothing comes
// after it.
func (b *mailbox) put(l letter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := len(b.waiting) >= maxWaiting || len(b.waiting) > 0 && b.bytes+len(l.data) > maxWaitingBytes
	if b.end != nil || full && !l.last {
		return false
	}
	b.waiting = append(b.waiting, l)
	b.bytes += len(l.data)
	if l.last {
		b.end = io.EOF
	}
	b.ring()
	return true
}

// close ends the mailbox with err after what is in it; the first end counts. Whose access has ended gets nothing more.
func (b *mailbox) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(err, errEnded) {
		b.waiting, b.bytes, b.end = nil, 0, err
	}
	if b.end == nil {
		b.end = err
	}
	b.ring()
}

func (b *mailbox) ring() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}

func (b *mailbox) take() (letter, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return letter{}, false, b.end
	}
	l := b.waiting[0]
	b.waiting[0] = letter{}
	b.waiting = b.waiting[1:]
	b.bytes -= len(l.data)
	return l, true, nil
}

// get waits for the next message, at most for patience (0: for ever) and until ctx or cut ends. It is used by one
// goroutine.
func (b *mailbox) get(ctx context.Context, cut <-chan struct{}, patience time.Duration) (letter, error) {
	var late <-chan time.Time
	if patience > 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		late = t.C
	}
	for {
		select {
		case <-cut:
			b.ring() // whoever reads next must not miss what woke us
			return letter{}, errStreamClosed
		default:
		}
		l, ok, end := b.take()
		if ok {
			return l, nil
		}
		if end != nil {
			return letter{}, end
		}
		select {
		case <-b.news:
		case <-cut:
			return letter{}, errStreamClosed
		case <-ctx.Done():
			return letter{}, callerLeft(ctx)
		case <-late:
			return letter{}, errSilent
		}
	}
}
