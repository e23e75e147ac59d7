//go:build unix

package accept_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAcceptRevokeUnderLoad revokes a key by the command line while its holder calls and listens.
func TestAcceptRevokeUnderLoad(t *testing.T) {
	g := startGateway(t, setup{servers: []guarded{{name: "echo", url: startEcho(t, legacy).url}}})
	key := g.newKey(t, "admin")
	c := newClient(g.endpoint("echo"), key, legacy).mustConnect(t)
	ended := c.listen(t)

	// One goroutine calls until it is refused; the revocation happens in the middle of it.
	load := make(chan loadResult, 1)
	go func() { load <- c.untilRefused(t.Context()) }()
	<-time.After(300 * time.Millisecond)
	g.command(t, "key", "revoke", keyID(key))
	at := time.Now()
	var seen loadResult
	select {
	case seen = <-load:
	case <-time.After(3 * time.Second):
		t.Fatal("calls go on after the revocation")
	}
	if seen.err != nil || seen.refused.Status != http.StatusUnauthorized {
		t.Errorf("want 401, got %v, %s", seen.err, seen.refused)
	}
	if seen.lastSent.After(at) {
		t.Errorf("a call sent %v after the revocation still ran", seen.lastSent.Sub(at))
	}
	if seen.answered == 0 {
		t.Error("no call was answered before the revocation")
	}
	select {
	case end := <-ended:
		if late := end.Sub(at); late > time.Second {
			t.Errorf("the open stream ended %v after the revocation", late)
		}
	case <-time.After(3 * time.Second):
		t.Error("the open stream did not end")
	}
	t.Logf("%d calls answered, the next refused", seen.answered)
}

// loadResult is what a caller saw until it was refused.
type loadResult struct {
	answered int
	lastSent time.Time // of the last call that was answered
	refused  *reply
	err      error
}

// untilRefused calls one tool again and again until an answer is not 200.
func (c *client) untilRefused(ctx context.Context) loadResult {
	var l loadResult
	for {
		sent := time.Now()
		r, err := c.call(ctx, "echo", map[string]any{"text": fmt.Sprint(l.answered)})
		if err != nil || r.Status != http.StatusOK {
			l.refused, l.err = r, err
			return l
		}
		l.answered, l.lastSent = l.answered+1, sent
	}
}

// keyID is the part of a key that names it.
func keyID(key string) string { return strings.Split(key, "_")[1] }

// listen opens the stream of the session and reports when the gateway ends it.
func (c *client) listen(t *testing.T) <-chan time.Time {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Mcp-Session-Id", c.session)
	req.Header.Set("MCP-Protocol-Version", c.era.revision())
	req.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("opening the stream of the session: %d", resp.StatusCode)
	}
	ended := make(chan time.Time, 1)
	go func() {
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, context.Canceled) {
			ended <- time.Now()
		}
	}()
	return ended
}
