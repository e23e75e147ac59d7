package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

const (
	sessionLife = 7 * 24 * time.Hour
	handleLife  = 24 * time.Hour // of cursors, states and tasks
	maxPending  = 256            // requests of a server, or calls of a client, that wait in one session
	maxSessions = 100_000        // sessions with something remembered; beyond it the oldest is forgotten
)

// session is the legacy session of one request.
type session struct {
	upstream string // the upstream's own id
	hash     string // of the sealed id, for records
	state    *sessionState
}

// sessionState is what is remembered of a session while it lives. Its key is the hash of the sealed id.
type sessionState struct {
	mu      sync.Mutex
	expires time.Time
	ended   bool                // deleted by its client: remembered until it would have expired
	asked   map[string]struct{} // ids of the server's requests that the client may answer
	calls   map[string]string   // id -> method of calls whose answer may come on another stream
}

// sessions is the table of live and ended sessions. The zero value is ready to use.
type sessions struct {
	mu     sync.Mutex
	states map[string]*sessionState
	order  []string // keys as they were added, the oldest first
}

func hashHandle(handle string) string {
	sum := sha256.Sum256([]byte(handle))
	return hex.EncodeToString(sum[:8])
}

// find fills in the state of a session whose handle was opened. It is false for one that was ended. A session sealed
// before a restart is found like any other: the seal is the proof, the state starts empty.
func (t *sessions) find(handle string, expires time.Time, s *session) bool {
	s.hash = hashHandle(handle)
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.states[s.hash]
	if state == nil {
		state = t.add(s.hash, expires.Add(time.Hour)) // the seal rounds its expiry up to the hour
	}
	s.state = state
	state.mu.Lock()
	defer state.mu.Unlock()
	return !state.ended
}

// add makes room and adds a state. Called with mu held. An ended session that is forgotten for want of room is left to
// the upstream, which was told of its end.
func (t *sessions) add(hash string, expires time.Time) *sessionState {
	if t.states == nil {
		t.states = map[string]*sessionState{}
	}
	if len(t.order) >= maxSessions {
		t.drop()
	}
	state := &sessionState{expires: expires, asked: map[string]struct{}{}, calls: map[string]string{}}
	t.states[hash] = state
	t.order = append(t.order, hash)
	return state
}

// drop forgets the oldest session. Called with mu held.
func (t *sessions) drop() {
	delete(t.states, t.order[0])
	t.order = t.order[1:]
}

// end marks a session as ended.
func (t *sessions) end(s *session) {
	if s.state == nil {
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.ended = true
}

// expire forgets what is past its time. All live equally long, so that the oldest go first.
func (t *sessions) expire(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.order) > 0 && now.After(t.states[t.order[0]].expires) {
		t.drop()
	}
}

// ask remembers a request of the server, so that exactly one answer to it passes. It is false when too many wait.
func (s *session) ask(id jsontext.Value) bool {
	if s.state == nil {
		return false
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if len(s.state.asked) >= maxPending {
		return false
	}
	s.state.asked[string(id)] = struct{}{}
	return true
}

// isAsked reports whether a request of the server waits for an answer.
func (s *session) isAsked(id jsontext.Value) bool {
	if s.state == nil {
		return false
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	_, ok := s.state.asked[string(id)]
	return ok
}

// answered takes the client's response to a request of the server: it reports whether the client's response answers a request of the server, once.
func (s *session) answered(id jsontext.Value) bool {
	if s.state == nil {
		return false
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	_, ok := s.state.asked[string(id)]
	delete(s.state.asked, string(id))
	return ok
}

// expect remembers a call, whose answer may come on a resumed stream; done forgets it.
func (s *session) expect(id jsontext.Value, method string) {
	if s.state == nil || id == nil {
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if len(s.state.calls) < maxPending {
		s.state.calls[string(id)] = method
	}
}

// method returns and forgets the method of an outstanding call; empty when there is none of that id.
func (s *session) method(id jsontext.Value) string {
	if s.state == nil {
		return ""
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	method := s.state.calls[string(id)]
	delete(s.state.calls, string(id))
	return method
}

// startSession seals the id that the upstream minted for a new session, and remembers it.
func (x *exchange) startSession(id string) {
	expires := x.gateway.now().Add(sessionLife)
	x.handle = x.gateway.sealer.Seal(x.bound(wire.Session), id, expires)
	x.session.upstream = id
	x.gateway.sessions.find(x.handle, expires, &x.session)
	x.w.Header().Set("Mcp-Session-Id", x.handle)
}

// openHandles replaces the sealed handles in a request by the upstream's own. Somebody else's, or one for something
// else, is as good as none.
func (x *exchange) openHandles() error {
	m := x.message
	if m == nil || m.Kind != wire.Request {
		return nil
	}
	for _, h := range []struct {
		kind wire.HandleKind
		name string
		text *string
		set  func(string)
	}{
		{wire.Cursor, "cursor", m.Cursor, m.SetCursor},
		{wire.RequestState, "requestState", m.RequestState, m.SetRequestState},
		{wire.Task, "taskId", m.Task, m.SetTask},
	} {
		if h.text == nil {
			continue
		}
		value, _, err := x.gateway.sealer.Open(x.bound(h.kind), *h.text, x.gateway.now())
		if err != nil {
			status := http.StatusBadRequest
			if x.era == wire.Legacy {
				status = http.StatusOK
			}
			return refused(status, wire.CodeInvalidParams, "invalid "+h.name)
		}
		h.set(value)
	}
	return nil
}

// seal returns the function that seals what the upstream hands out, for this caller.
func (x *exchange) seal(kind wire.HandleKind) func(string) string {
	return func(value string) string {
		return x.gateway.sealer.Seal(x.bound(kind), value, x.gateway.now().Add(handleLife))
	}
}
