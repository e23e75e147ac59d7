//go:build unix

package accept_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// startShim puts a server on loopback in front of target that adds an Authorization header, for programs that cannot
// send one, and returns the same endpoint behind it. Host, Origin and every other header stay as the client sent them,
// so that what is tested is what the gateway makes of them. An empty key adds nothing.
func startShim(t *testing.T, target, key string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = u.Scheme, u.Host
			r.Out.Host = r.In.Host
			if key != "" {
				r.Out.Header.Set("Authorization", "Bearer "+key)
			}
		},
		FlushInterval: -1, // Each event of a stream at once.
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A reverse proxy that answers before it has read the request loses answers (golang/go#40747).
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // The client has gone.
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength, r.TransferEncoding = int64(len(body)), nil
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections() // Streams of clients that were killed would keep it open.
		server.Close()
	})
	return server.URL + u.Path
}

func TestShimKeepsHostAndOrigin(t *testing.T) {
	var got *http.Request
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer target.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, startShim(t, target.URL+"/a/mcp", "k"), bytes.NewReader([]byte("{}")))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	req.Header.Set("Origin", "http://evil.example")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // Empty.
	if got.Host != "evil.example" || got.Header.Get("Origin") != "http://evil.example" || got.URL.Path != "/a/mcp" {
		t.Errorf("got host %q, origin %q, path %q", got.Host, got.Header.Get("Origin"), got.URL.Path)
	}
	if got.Header.Get("Authorization") != "Bearer k" || got.Header.Get("X-Forwarded-For") != "" || got.ContentLength != 2 {
		t.Errorf("got authorization %q, forwarded for %q, length %d", got.Header.Get("Authorization"), got.Header.Get("X-Forwarded-For"), got.ContentLength)
	}
}
