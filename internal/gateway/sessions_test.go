package gateway

import (
	"strconv"
	"testing"
	"time"
)

// TestSessionsAreBounded: whoever begins and ends sessions without end neither fills memory nor slows the others down.
func TestSessionsAreBounded(t *testing.T) {
	var table sessions
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	started := time.Now()
	for i := range 3 * maxSessions {
		var s session
		if !table.find(strconv.Itoa(i), now.Add(sessionLife), &s) {
			t.Fatal("a new session is ended")
		}
		table.end(&s)
	}
	if len(table.states) != maxSessions || len(table.order) != maxSessions {
		t.Errorf("%d sessions, %d in order, want %d", len(table.states), len(table.order), maxSessions)
	}
	if took := time.Since(started); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	var ended session
	if table.find(strconv.Itoa(3*maxSessions-1), now, &ended) {
		t.Error("an ended session lives")
	}
	table.expire(now.Add(sessionLife + 2*time.Hour))
	if len(table.states) != 0 || len(table.order) != 0 {
		t.Errorf("%d sessions are left", len(table.states))
	}
}

// TestPendingIsBounded: neither a server that asks nor a client that calls without end fills memory.
func TestPendingIsBounded(t *testing.T) {
	var table sessions
	var s session
	table.find("a", time.Now().Add(time.Hour), &s)
	for i := range 10 * maxPending {
		id := []byte(strconv.Itoa(i))
		if s.ask(id) != (i < maxPending) {
			t.Fatalf("request %d", i)
		}
		s.expect(id, "ping")
	}
	if len(s.state.asked) != maxPending || len(s.state.calls) != maxPending {
		t.Errorf("%d asked, %d calls", len(s.state.asked), len(s.state.calls))
	}
	if !s.answered([]byte("0")) || s.answered([]byte("0")) || !s.ask([]byte("x")) {
		t.Error("an answer does not make room, once")
	}
}
