package upstreamtest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// httpSession is a legacy session of the fake.
type httpSession struct {
	mu      sync.Mutex
	answers map[string]chan rpc // guarded by mu
	aside   chan rpc            // to the GET stream
}

func newHTTPSession() *httpSession {
	return &httpSession{answers: make(map[string]chan rpc), aside: make(chan rpc, 64)}
}

func (s *httpSession) answer(id string) chan rpc {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers[id] == nil {
		s.answers[id] = make(chan rpc, 1)
	}
	return s.answers[id]
}

// ServeHTTP speaks Streamable HTTP: a plain JSON answer unless something is sent before it.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Mcp-Session-Id")
	session := f.session(id)
	if id != "" && session == nil {
		http.Error(w, "session not found", http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodPost:
		f.post(w, r, session)
	case http.MethodDelete:
		f.mu.Lock()
		delete(f.sessions, id)
		f.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet:
		f.get(w, r, session)
	}
}

func (f *Fake) session(id string) *httpSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sessions[id]
}

// begin mints a session.
func (f *Fake) begin() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sessions == nil {
		f.sessions = make(map[string]*httpSession)
	}
	id := rand.Text()
	f.sessions[id] = newHTTPSession()
	return id
}

func (f *Fake) post(w http.ResponseWriter, r *http.Request, session *httpSession) {
	body, err := io.ReadAll(r.Body)
	var m rpc
	if err != nil || json.Unmarshal(body, &m) != nil {
		http.Error(w, "bad body", http.StatusBadRequest)
		return
	}
	if m.Method == "" && session != nil {
		var id string
		_ = json.Unmarshal(m.ID, &id)
		session.answer(id) <- m
	}
	if m.Method == "" || m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if session == nil {
		session = newHTTPSession() // a modern call, or initialize
	}
	if m.Method == "initialize" && f.Legacy {
		w.Header().Set("Mcp-Session-Id", f.begin())
	}
	streaming := false
	answer := f.serve(r.Context(), m, conversation{
		send: func(n rpc) {
			streaming = true
			writeEvent(w, n)
		},
		aside:  func(n rpc) { session.aside <- n },
		answer: session.answer,
	})
	switch {
	case answer.Version == "":
	case streaming:
		writeEvent(w, answer)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // a client that has left is not the fake's concern
	}
}

func (f *Fake) get(w http.ResponseWriter, r *http.Request, session *httpSession) {
	if session == nil {
		http.Error(w, "no session", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case n := <-session.aside:
			writeEvent(w, n)
		case <-r.Context().Done():
			return
		}
	}
}

func writeEvent(w http.ResponseWriter, m rpc) {
	w.Header().Set("Content-Type", "text/event-stream")
	data, _ := json.Marshal(m)
	_, _ = fmt.Fprintf(w, "event: message\ndata: %s\n\n", data)
	_ = http.NewResponseController(w).Flush()
}
