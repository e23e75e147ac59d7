package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/upstreamtest"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

func inProcess(t *testing.T, c upstream.HandlerConfig) upstream.Upstream {
	t.Helper()
	c.Timeout, c.MaxResponse = upstreamtest.Timeout, upstreamtest.MaxResponse
	u, err := upstream.NewHandler(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return u
}

func TestHandlerIsRequired(t *testing.T) {
	if _, err := upstream.NewHandler(upstream.HandlerConfig{}); err == nil {
		t.Error("a nil handler was taken")
	}
}

type contextKey struct{}

// TestHandlerIsTold: the hooks carry the caller's identity, and their headers override everything.
func TestHandlerIsTold(t *testing.T) {
	u := inProcess(t, upstream.HandlerConfig{
		Path: "/mcp",
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.RemoteAddr != "127.0.0.1:0" || r.URL.Path != "/mcp" || r.RequestURI != "/mcp" || r.Host != "127.0.0.1" {
				t.Errorf("request from %s for %s (%s) of %s", r.RemoteAddr, r.URL.Path, r.RequestURI, r.Host)
			}
			if v, _ := r.Context().Value(contextKey{}).(string); v != "sub" || r.Header.Get("Authorization") != "placeholder sub" {
				t.Errorf("context says %q, header %q", v, r.Header.Get("Authorization"))
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{}")
			w.Header().Set("Content-Type", "text/html") // too late, as over a network
		}),
		Context: func(ctx context.Context, p *policy.Principal) context.Context {
			return context.WithValue(ctx, contextKey{}, p.Subject)
		},
		Header: func(p *policy.Principal) http.Header {
			return http.Header{"authorization": {"placeholder " + p.Subject}}
		},
	})
	r := echoCall()
	r.Principal = &policy.Principal{Issuer: "key", Subject: "sub"}
	r.Header = http.Header{"Authorization": {"Bearer client"}}
	if resp, err := u.RoundTrip(context.Background(), r); err != nil || string(resp.Body) != "{}" {
		t.Errorf("got %+v, %v", resp, err)
	}
}

func TestHandlerPanics(t *testing.T) {
	for _, row := range []struct {
		name   string
		serve  func(w http.ResponseWriter)
		err    error
		logged bool
	}{
		{"before anything", func(http.ResponseWriter) { panic("oops") }, upstream.ErrUnavailable, true},
		{"after unsent bytes", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "{}"); panic("oops") }, upstream.ErrUnavailable, true},
		{"abort", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, upstream.ErrUnavailable, false},
		{"invalid status", func(w http.ResponseWriter) { w.WriteHeader(7) }, upstream.ErrUnavailable, true},
		{"in a stream", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {")
			_ = http.NewResponseController(w).Flush()
			panic("oops")
		}, upstream.ErrProtocol, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			var log bytes.Buffer
			u := inProcess(t, upstream.HandlerConfig{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { row.serve(w) }),
				Logger:  slog.New(slog.NewTextHandler(&log, nil)),
			})
			resp, err := u.RoundTrip(context.Background(), echoCall())
			if err == nil && resp.Stream != nil {
				_, err = resp.Stream.Next()
			}
			if !errors.Is(err, row.err) {
				t.Errorf("got %v, want %v", err, row.err)
			}
			if err := u.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if got := strings.Contains(log.String(), "panicked"); got != row.logged {
				t.Errorf("logged: %t (%s)", got, log.String())
			}
		})
	}
}

// TestHandlerBackPressure: a handler that writes faster than it is read waits, and is let go when the reader leaves.
func TestHandlerBackPressure(t *testing.T) {
	gone := make(chan error, 1)
	u := inProcess(t, upstream.HandlerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			if _, err := io.WriteString(w, "data: "+strings.Repeat("x", 1000)+"\n\n"); err != nil {
				gone <- r.Context().Err()
				return
			}
		}
	})})
	resp, err := u.RoundTrip(context.Background(), echoCall())
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := resp.Stream.Next(); err != nil {
			t.Fatal(err)
		}
	}
	_ = resp.Stream.Close()
	if err := <-gone; err == nil {
		t.Error("the handler's context outlived its reader")
	}
}

// TestLegacyOutlivesCaller: the handler's context goes on when the caller of a legacy call leaves, and its answer is
// read to the end.
func TestLegacyOutlivesCaller(t *testing.T) {
	started, release, wrote := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	u := inProcess(t, upstream.HandlerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		close(started)
		<-release
		_, err := io.WriteString(w, "data: "+strings.Repeat("x", 1<<10)+"\n\n")
		wrote <- errors.Join(err, r.Context().Err())
	})})
	r := echoCall()
	r.Era, r.Version = wire.Legacy, "2025-11-25"
	ctx, leave := context.WithCancel(context.Background())
	resp, err := u.RoundTrip(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	<-started
	leave()
	if _, err := resp.Stream.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Next after leaving: %v", err)
	}
	_ = resp.Stream.Close()
	close(release)
	if err := <-wrote; err != nil {
		t.Errorf("the handler noticed: %v", err)
	}
}
