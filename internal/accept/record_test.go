//go:build unix

package accept_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// record is one line of the audit log, as far as these tests read it.
type record struct {
	Seq                                uint64
	Kind, Outcome, Server, Method      string
	Tool, Permission, Reason, Rule, IP string
	Ref                                uint64
	Status, Count                      int
	Repeat                             bool
}

// records reads the audit log the way an auditor would who has only the files: every line that is a record.
func (g *gateway) records(t *testing.T) []record {
	t.Helper()
	var all []record
	err := filepath.WalkDir(g.data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range bytes.SplitSeq(text, []byte("\n")) {
			var r record
			if bytes.HasPrefix(line, []byte(`{"seq":`)) && json.Unmarshal(line, &r) == nil {
				all = append(all, r)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("reading the audit log: %v", err)
	}
	return all
}

// tally counts the records of calls of tools by kind; a folded record counts for what it stands for.
func tally(all []record) map[string]int {
	counted := map[string]int{}
	for _, r := range all {
		if r.Method == "tools/call" || r.Kind == "auth_failed" {
			counted[r.Kind] += max(1, r.Count)
		}
	}
	return counted
}

// answers is what the clients of a load saw, by status.
type answers struct {
	mu sync.Mutex
	by map[int]int // guarded by mu
}

func (a *answers) add(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by == nil {
		a.by = map[int]int{}
	}
	a.by[status]++
}

// TestAcceptCountsAgree makes a mixed run and counts it in three places: at the clients, at the server behind, and in
// the log.
func TestAcceptCountsAgree(t *testing.T) {
	upstream := startEcho(t, modern)
	g := startGateway(t, setup{
		servers: []guarded{{name: "echo", url: upstream.url}},
		extra: "roles: {reader: {permissions: [\"echo:echo\"]}}\n" +
			"limits: {global: off, address: off, failed_auth: off, tool: off, principal_tool: {capacity: 40, refill: 1}, roles: {reader: off, admin: off}}\n",
	})
	key := g.newKey(t, "reader")
	each := counts(400)
	var seen answers
	var group sync.WaitGroup
	load := func(key, tool string, args func(i int) map[string]any) {
		group.Go(func() {
			c := newClient(g.endpoint("echo"), key, modern)
			defer c.http.CloseIdleConnections()
			for i := range each {
				r, err := c.call(t.Context(), tool, args(i))
				if err != nil {
					t.Errorf("calling %s: %v", tool, err)
					return
				}
				seen.add(r.Status)
			}
		})
	}
	// The schema is learned from a list, as it is with a real client.
	if r, err := newClient(g.endpoint("echo"), key, modern).do(t.Context(), "tools/list", nil); err != nil || r.Status != http.StatusOK {
		t.Fatalf("listing: %v, %s", err, r)
	}
	text := func(i int) map[string]any { return map[string]any{"text": strconv.Itoa(i)} }
	load(key, "echo", text)                                                              // allowed, later limited
	load(key, "keep", text)                                                              // denied
	load(key, "echo", func(i int) map[string]any { return map[string]any{"text": i} })   // invalid, or limited
	load("sp_none_"+"0123456789012345678901234567890123456789", "echo", text)            // a bad credential
	load("", "echo", func(int) map[string]any { return map[string]any{"text": "none"} }) // no credential
	group.Wait()
	if err := g.stop(t); err != nil {
		t.Errorf("stopping: %v", err)
	}

	logged := tally(g.records(t))
	ran := upstream.count("echo") + upstream.count("keep")
	if upstream.count("keep") != 0 {
		t.Errorf("a denied tool ran %d times", upstream.count("keep"))
	}
	if logged["call_allowed"] != ran || logged["call_completed"] != ran {
		t.Errorf("%d calls ran, %d are recorded as allowed, %d as completed", ran, logged["call_allowed"], logged["call_completed"])
	}
	for _, row := range []struct {
		kind   string
		status int
	}{{"permission_denied", http.StatusForbidden}, {"rate_limit_exceeded", http.StatusTooManyRequests}} {
		if logged[row.kind] != seen.by[row.status] || logged[row.kind] == 0 {
			t.Errorf("%s: clients saw %d, the log has %d", row.kind, seen.by[row.status], logged[row.kind])
		}
	}
	if logged["auth_failed"] != each {
		t.Errorf("auth_failed: clients saw %d, the log has %d", each, logged["auth_failed"])
	}
	if total := seen.by[http.StatusUnauthorized]; total != 2*each {
		t.Errorf("401: clients saw %d, want %d", total, 2*each)
	}
	if seen.by[http.StatusOK] < ran {
		t.Errorf("%d calls ran and only %d were answered with 200", ran, seen.by[http.StatusOK])
	}
	if logged["input_rejected"] == 0 {
		t.Error("no invalid call is recorded")
	}
	t.Logf("clients by status %v, upstream %d, log %v", seen.by, ran, logged)
}

// TestAcceptKill9 kills the gateway in the middle of a load: what was answered is in the log, and the log verifies.
func TestAcceptKill9(t *testing.T) {
	upstream := startEcho(t, modern)
	g := startGateway(t, setup{
		servers: []guarded{{name: "echo", url: upstream.url}},
		extra:   "roles: {reader: {permissions: [\"echo:echo\"]}}\n",
	})
	key := g.newKey(t, "reader")
	var seen answers
	var group sync.WaitGroup
	for _, tool := range []string{"echo", "echo", "echo", "keep"} {
		group.Go(func() {
			c := newClient(g.endpoint("echo"), key, modern)
			defer c.http.CloseIdleConnections()
			for {
				r, err := c.call(t.Context(), tool, map[string]any{"text": "x"})
				if err != nil {
					return // The gateway was killed.
				}
				seen.add(r.Status)
			}
		})
	}
	<-time.After(time.Second)
	g.kill()
	group.Wait()

	logged := tally(g.records(t))
	ok, denied := seen.by[http.StatusOK], seen.by[http.StatusForbidden]
	if logged["call_allowed"] < ok || ok == 0 {
		t.Errorf("%d calls were answered, %d are in the log", ok, logged["call_allowed"])
	}
	if logged["permission_denied"] < denied || denied == 0 {
		t.Errorf("%d calls were denied, %d are in the log", denied, logged["permission_denied"])
	}
	if ran := upstream.count("echo"); logged["call_allowed"] < ran {
		t.Errorf("%d calls ran, %d are in the log", ran, logged["call_allowed"])
	}
	t.Logf("answered %d, denied %d, log %v", ok, denied, logged)
	g.command(t, "audit", "verify")
	g.run(t, nil) // It starts again over what the kill left,
	if err := g.stop(t); err != nil {
		t.Errorf("stopping after a restart: %v", err)
	}
	g.command(t, "audit", "verify") // and goes on with the same chain.
}
