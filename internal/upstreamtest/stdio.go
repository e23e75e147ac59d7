package upstreamtest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"sync"
)

// ServeStdio speaks newline-delimited JSON-RPC until in ends.
func (f *Fake) ServeStdio(in io.Reader, out io.Writer) {
	s := &stdio{fake: f, out: out, cancel: make(map[string]context.CancelFunc), session: newHTTPSession()}
	f.raw = func(text string) { s.writeRaw([]byte(text)) }
	f.exit = func() { os.Exit(3) }
	lines := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var m rpc
		if json.Unmarshal(line, &m) == nil {
			s.take(m)
		}
	}
}

type stdio struct {
	fake    *Fake
	session *httpSession

	mu     sync.Mutex // also orders writes
	out    io.Writer
	cancel map[string]context.CancelFunc
}

func (s *stdio) take(m rpc) {
	switch {
	case m.Method == "":
		var id string
		_ = json.Unmarshal(m.ID, &id)
		s.session.answer(id) <- m
	case m.Method == "notifications/cancelled":
		var p struct {
			RequestID json.RawMessage `json:"requestId"`
		}
		_ = json.Unmarshal(m.Params, &p)
		s.mu.Lock()
		defer s.mu.Unlock()
		if cancel := s.cancel[string(p.RequestID)]; cancel != nil {
			cancel()
		}
	case m.ID != nil:
		ctx, cancel := context.WithCancel(context.Background())
		s.mu.Lock()
		s.cancel[string(m.ID)] = cancel
		s.mu.Unlock()
		go s.answer(ctx, m)
	}
}

func (s *stdio) answer(ctx context.Context, m rpc) {
	a := s.fake.serve(ctx, m, conversation{send: s.write, aside: s.write, answer: s.session.answer})
	if a.Version != "" {
		s.write(a)
	}
}

func (s *stdio) write(m rpc) {
	data, _ := json.Marshal(m)
	s.writeRaw(append(data, '\n'))
}

func (s *stdio) writeRaw(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.out.Write(data) // the gateway has left: so will this process
}
