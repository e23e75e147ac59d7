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
	revoked := make(chan time.Time, 1)
	go func() {
		defer close(revoked)
		<-time.After(300 * time.Millisecond)
		g.command(t, "key", "revoke", keyID(key))
		revoked <- time.Now()
	}()
	var answered int
	var refused *reply
	var when time.Time
	for refused == nil {
		sent := time.Now()
		r, err := c.call(t.Context(), "echo", map[string]any{"text": fmt.Sprint(answered)})
		if err != nil {
			t.Fatalf("after %d calls: %v", answered, err)
		}
		if r.Status == http.StatusOK {
			answered++
			continue
		}
		refused, when = r, sent
	}
	at, ok := <-revoked
	if !ok {
		t.Fatal("the key was not revoked")
	}
	if refused.Status != http.StatusUnauthorized {
		t.Errorf("refused with %s, want 401", refused)
	}
	if late := when.Sub(at); late > 50*time.Millisecond {
		t.Errorf("calls sent up to %v after the revocation still ran", late)
	}
	if answered == 0 {
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
	t.Logf("%d calls answered, the next refused", answered)
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
