package upstream_test

import (
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/upstreamtest"
)

func TestRemoteConforms(t *testing.T) {
	upstreamtest.Run(t, func(t *testing.T) upstream.Upstream {
		s := httptest.NewServer(&upstreamtest.Fake{Legacy: true, Modern: true})
		t.Cleanup(s.Close)
		return open(t, upstream.RemoteConfig{URL: s.URL})
	})
}

func TestHandlerConforms(t *testing.T) {
	upstreamtest.Run(t, func(t *testing.T) upstream.Upstream {
		u, err := upstream.NewHandler(upstream.HandlerConfig{
			Handler: &upstreamtest.Fake{Legacy: true, Modern: true},
			Timeout: upstreamtest.Timeout, MaxResponse: upstreamtest.MaxResponse,
		})
		if err != nil {
			t.Fatal(err)
		}
		return u
	})
}

func TestStdioConforms(t *testing.T) {
	upstreamtest.Run(t, func(t *testing.T) upstream.Upstream { return startable(t, "both", upstream.StdioConfig{}) })
}

// startable is this test binary as a stdio server, with the bounds of the suite.
func startable(t *testing.T, mode string, c upstream.StdioConfig) upstream.Upstream {
	t.Helper()
	env := map[string]string{childMode: mode, "GORACE": "atexit_sleep_ms=0"}
	maps.Copy(env, c.Env)
	c.Command, c.Env = []string{os.Args[0]}, env
	c.Timeout, c.MaxLine = upstreamtest.Timeout, upstreamtest.MaxResponse
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	u, err := upstream.NewStdio(c)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// open opens a remote with the bounds of the suite.
func open(t *testing.T, c upstream.RemoteConfig) upstream.Upstream {
	t.Helper()
	c.Timeout, c.MaxResponse = upstreamtest.Timeout, upstreamtest.MaxResponse
	u, err := upstream.NewRemote(c)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
