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
			conns := c.watchConnections()
			c.mustConnect(t)
			small, large := counts(9000), counts(1000)
			for i := range small {
				c.mustEcho(t, fmt.Sprintf("call %d of %d", i, small))
			}
			for i := range large {
				c.mustEcho(t, fmt.Sprintf("%d %s", i, strings.Repeat("0123456789abcdef", 64<<10/16)))
			}
			if n := conns.lost.Load(); n != 0 {
				t.Errorf("%d of %d connections were ended by the gateway in %d sequential calls", n, conns.dialled.Load(), small+large)
			}
			t.Logf("%d calls and %d of 64 KiB, none lost, %d connection(s), none ended by the gateway", small, large, conns.dialled.Load())
		})
	}
}

// connections counts what a client opened, and which of it the other side ended. A client on a busy machine gives up a
// connection of its own accord when its writer was not scheduled for 50 ms (net/http); that loses nothing.
type connections struct{ dialled, lost atomic.Int64 }

// watched is a connection that notes who ended it.
type watched struct {
	net.Conn
	of     *connections
	closed atomic.Bool // by us
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil && !w.closed.Swap(true) {
		w.of.lost.Add(1)
	}
	return n, err
}

func (w *watched) Close() error {
	w.closed.Store(true)
	return w.Conn.Close()
}

// watchConnections makes the client count its connections.
func (c *client) watchConnections() *connections {
	all := &connections{}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		all.dialled.Add(1)
		return &watched{Conn: conn, of: all}, nil
	}}
	return all
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
