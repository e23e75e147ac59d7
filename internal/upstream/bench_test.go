package upstream_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
)

// jsonServer answers every POST with the same small result.
func jsonServer(b *testing.B) *httptest.Server {
	b.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"ok"}]}}`)
	}))
	b.Cleanup(s.Close)
	return s
}

// BenchmarkRoundTrip asks what a remote round trip costs beside the bare POST of BenchmarkBarePost; both include the
// same server.
func BenchmarkRoundTrip(b *testing.B) {
	u, err := upstream.NewRemote(upstream.RemoteConfig{URL: jsonServer(b).URL})
	if err != nil {
		b.Fatal(err)
	}
	defer u.Close(context.Background())
	r := echoCall()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := u.RoundTrip(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBarePost is http.Client with a whole read of the answer.
func BenchmarkBarePost(b *testing.B) {
	url := jsonServer(b).URL
	body := echoCall().Message.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		resp, err := http.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}

// BenchmarkHandler asks what is left when no network is between.
func BenchmarkHandler(b *testing.B) {
	u, err := upstream.NewHandler(upstream.HandlerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	})})
	if err != nil {
		b.Fatal(err)
	}
	defer u.Close(context.Background())
	r := echoCall()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := u.RoundTrip(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}
