//go:build unix

package accept_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAcceptKeepAlive makes sequential calls on one connection and checks every answer: a reverse proxy that answers
// before it has read the request was seen to lose about two in a hundred, and connections at 64 KiB.
func TestAcceptKeepAlive(t *testing.T) {
	for _, e := range []era{legacy, modern} {
		t.Run(string(e), func(t *testing.T) {
			g := startGateway(t, setup{servers: []guarded{{name: "echo", url: startEcho(t, e).url}}})
			c := newClient(g.endpoint("echo"), g.newKey(t, "admin"), e)
			dials := c.countDials()
			c.mustConnect(t)
			small, large := counts(9000), counts(1000)
			for i := range small {
				c.mustEcho(t, fmt.Sprintf("call %d of %d", i, small))
			}
			for i := range large {
				c.mustEcho(t, fmt.Sprintf("%d %s", i, strings.Repeat("0123456789abcdef", 64<<10/16)))
			}
			if n := dials.Load(); n != 1 {
				t.Errorf("%d connections for %d sequential calls, want 1", n, small+large)
			}
			t.Logf("%d calls and %d of 64 KiB, none lost, %d connection", small, large, dials.Load())
		})
	}
}

// countDials makes the client count the connections it opens.
func (c *client) countDials() *atomic.Int64 {
	var dials atomic.Int64
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	return &dials
}

// mustEcho calls echo and checks that exactly what was sent came back, over SSE.
func (c *client) mustEcho(t *testing.T, text string) {
	t.Helper()
	r, err := c.call(t.Context(), "echo", map[string]any{"text": text})
	if err != nil {
		t.Fatalf("call %d: %v", c.lastID, err)
	}
	if r.Status != http.StatusOK || r.text() != text {
		t.Fatalf("call %d: lost or cut: %d bytes of %d: %s", c.lastID, len(r.text()), len(text), r)
	}
	if kind := r.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("call %d: answered as %q, and this test is about streams", c.lastID, kind)
	}
}
