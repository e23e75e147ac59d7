package sallyport_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport-mcp/sallyport"
)

// TestPlainHTTPPastTheProxy: where proxies terminate TLS, plain HTTP is taken from them (with X-Forwarded-Proto: https)
// and from this machine, from nobody else.
func TestPlainHTTPPastTheProxy(t *testing.T) {
	guard, err := sallyport.Open(t.Context(), sallyport.Config{
		DataDir:         t.TempDir(),
		Servers:         []sallyport.Server{{Name: "plain", Path: "/plain/mcp", Handler: sdkServer()}},
		TLSTerminatedBy: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // nothing is asserted of the end
	for name, tc := range map[string]struct {
		from, proto string
		status      int
		hsts        bool
	}{
		"the proxy, TLS outside":    {"10.1.2.3:9", "https", 401, true},
		"the proxy, clear outside":  {"10.1.2.3:9", "http", 400, false},
		"past the proxy":            {"192.0.2.1:9", "", 403, false},
		"past the proxy, pretended": {"192.0.2.1:9", "https", 403, false},
		"this machine":              {"127.0.0.1:9", "", 401, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := modern("echo", `{"text":"x"}`)
			r := httptest.NewRequest(http.MethodPost, "http://localhost/plain/mcp", strings.NewReader(m.body))
			r.RemoteAddr = tc.from
			for name, value := range m.header {
				r.Header.Set(name, value)
			}
			if tc.proto != "" {
				r.Header.Set("X-Forwarded-Proto", tc.proto)
				r.Header.Set("X-Forwarded-For", "198.51.100.7")
			}
			w := httptest.NewRecorder()
			guard.Handler().ServeHTTP(w, r)
			if w.Code != tc.status {
				t.Errorf("status %d, want %d: %s", w.Code, tc.status, w.Body)
			}
			if got := w.Header().Get("Strict-Transport-Security") != ""; got != tc.hsts {
				t.Errorf("HSTS sent: %v, want %v", got, tc.hsts)
			}
		})
	}
}
