package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// session is one child and those who talk with it: a legacy client, or all modern calls of one principal. Its
// goroutines (reader, writer, stderr, undertaker) end with the child; done is closed after the last.
type session struct {
	owner     *stdio
	era       wire.Era
	principal *policy.Principal
	id        string // legacy: minted here
	started   time.Time

	proc    *process
	ready   chan struct{} // closed when proc is set or the start has failed
	failed  error         // why it did not start; read after ready
	out     chan []byte   // lines for the child; unbuffered, so that a child that does not read holds one line only
	dead    chan struct{} // closed when nothing more will be read from the child
	done    chan struct{} // closed when the child and all goroutines are gone
	spoken  atomic.Bool   // the child has said something
	telling chan struct{} // one place for each message of our own under way
	noise   atomic.Uint64 // stdout lines that were no messages
	crashed atomic.Bool   // it ended although nobody asked it to
	lost    atomic.Uint64 // messages of the child that nobody could be given

	mu     sync.Mutex
	end    error               // guarded by mu: why it ends; nil while alive
	calls  map[int64]*call     // guarded by mu: by our id
	next   int64               // guarded by mu: last id given
	asked  map[string]struct{} // guarded by mu: raw ids of the child's own requests, unanswered
	aside  *mailbox            // guarded by mu: messages of no call, legacy
	reader *sideStream         // guarded by mu: the GET stream, nil when none
	last   time.Time           // guarded by mu: when it was last used
	idle   *time.Timer         // guarded by mu: ends it after IdleStop
}

func newSession(u *stdio, era wire.Era, p *policy.Principal, id string) *session {
	return &session{
		owner: u, era: era, principal: p, id: id, started: u.config.Now(), last: u.config.Now(),
		ready: make(chan struct{}), out: make(chan []byte), dead: make(chan struct{}), done: make(chan struct{}),
		telling: make(chan struct{}, maxTelling),
		calls:   make(map[int64]*call), asked: make(map[string]struct{}), aside: newMailbox(),
	}
}

// start launches the child and its goroutines. It is called once, by who made the session.
func (s *session) start() error {
	defer close(s.ready)
	c := &s.owner.config
	p, err := launch(s.owner.spawner, c.argv(), environment(c.Env), c.Dir)
	if err != nil {
		s.failed = fmt.Errorf("%w: %w", ErrUnavailable, err)
		close(s.dead)
		close(s.done)
		return s.failed
	}
	s.proc = p
	s.mu.Lock()
	s.idle = time.AfterFunc(c.IdleStop, s.expire)
	s.mu.Unlock()
	var readers sync.WaitGroup
	readers.Go(func() { s.read(p) })
	readers.Go(func() { s.logErrors(p) })
	go func() {
		readers.Wait()
		close(p.drained)
	}()
	go s.write(p)
	go s.bury(p)
	return nil
}

// bury ends what is left when the child has gone or has stopped talking.
func (s *session) bury(p *process) {
	<-s.dead
	p.stop(false)
	<-p.drained
	<-p.exited
	s.crashed.Store(s.alive() == nil)
	s.mu.Lock()
	s.idle.Stop()
	s.mu.Unlock()
	level := slog.LevelDebug
	if s.noise.Load() != 0 || s.lost.Load() != 0 {
		level = slog.LevelInfo
	}
	s.owner.config.Logger.Log(context.Background(), level, "child ended", "state", p.state,
		"lines_skipped", s.noise.Load(), "messages_dropped", s.lost.Load())
	s.owner.forget(s) // before its callers hear of it, so that what they do next finds the books in order
	s.fail(fmt.Errorf("%w: the child ended (%s)", ErrUnavailable, p.state))
	close(s.done)
}

// fail ends the session for its callers; the first reason counts. The child is not touched.
func (s *session) fail(why error) {
	s.mu.Lock()
	if s.end == nil {
		s.end = why
	}
	why = s.end
	boxes := []*mailbox{s.aside}
	for _, c := range s.calls {
		boxes = append(boxes, c.box)
	}
	s.mu.Unlock()
	for _, b := range boxes {
		b.close(why)
	}
}

// stop ends the session and its child. It does not wait; done tells when.
func (s *session) stop(why error, atOnce bool) {
	s.fail(why)
	go func() {
		<-s.ready
		if s.proc != nil {
			s.proc.stop(atOnce)
		}
	}()
}

// alive returns nil, or why the session has ended.
func (s *session) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// expire is called by the idle timer. An open stream counts as use: its client is there and waits.
func (s *session) expire() {
	s.mu.Lock()
	quiet := len(s.calls) == 0 && s.reader == nil
	s.mu.Unlock()
	if quiet {
		s.stop(fmt.Errorf("%w: it was idle", ErrSessionGone), false)
	}
}

// touch notes use and starts the idle clock anew. The lock is held.
func (s *session) touch() {
	s.last = s.owner.config.Now()
	if s.idle != nil {
		s.idle.Reset(s.owner.config.IdleStop)
	}
}

// idleSince reports since when nothing is under way; false when something is. An open stream alone does not count.
func (s *session) idleSince() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, len(s.calls) == 0 && s.end == nil
}

// write passes lines to the child until it is dead or its stdin is closed.
func (s *session) write(p *process) {
	for {
		select {
		case line := <-s.out:
			if _, err := p.stdin.Write(line); err != nil {
				p.stop(false) // it does not read any more; those who wait are told when it is gone
				return
			}
		case <-s.dead:
			return
		}
	}
}

// send gives the writer a message. It waits for a child that is slow to read, at most until ctx ends.
func (s *session) send(ctx context.Context, m *wire.Message) error {
	line := m.AppendLine(make([]byte, 0, 257+len(m.Params)+len(m.Result)+len(m.Error)))
	select {
	case s.out <- line:
		return nil
	case <-s.dead:
		return s.gone()
	case <-ctx.Done():
		return callerLeft(ctx)
	}
}

// gone is why the session cannot be used any more.
func (s *session) gone() error {
	if err := s.alive(); err != nil {
		return err
	}
	return fmt.Errorf("%w: the child ended", ErrUnavailable)
}

// read takes the child's lines until its stdout ends or one is too long to be trusted.
func (s *session) read(p *process) {
	defer close(s.dead)
	lines := bufio.NewReaderSize(p.stdout, 64<<10)
	for {
		line, err := readLine(lines, s.owner.config.MaxLine)
		if errors.Is(err, ErrTooLarge) {
			s.fail(fmt.Errorf("%w: a line of more than %d bytes", ErrTooLarge, s.owner.config.MaxLine))
		}
		if err != nil {
			return
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		m, err := wire.ParseServer(line, s.owner.limits)
		if err != nil {
			s.noise.Add(1)
			s.unreadable(err)
			continue
		}
		s.spoken.Store(true)
		s.dispatch(m)
	}
}

// readLine reads one line into memory of its own. A last line without an end is no line: it may be cut.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, ErrTooLarge
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
