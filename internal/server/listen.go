package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// listen opens a TCP listener. A port in use and one we may not take are Mistakes.
func listen(ctx context.Context, key, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return l, nil
	case inUse(err):
		return nil, &Mistake{Err: fmt.Errorf("%s: port in use: %s", key, address), Fix: "stop the program that has it, or choose another address with " + key + " or --" + strings.ReplaceAll(key, ".", "-")}
	case errors.Is(err, syscall.EACCES):
		return nil, &Mistake{Err: fmt.Errorf("%s: not permitted: %s", key, address), Fix: "ports below 1024 need a privilege; choose one above"}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, &Mistake{Err: fmt.Errorf("%s: this machine has no address %s", key, address), Fix: "choose one of its addresses, or 127.0.0.1"}
	}
	return nil, fmt.Errorf("%s: listening on %s: %w", key, address, err)
}

// inUse reports whether an address is taken; Windows has a number of its own for it (WSAEADDRINUSE).
func inUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.Errno(10048))
}

// Times of the MCP listener. There is no limit on a whole answer: streams live long, and each write has its own limit.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 60 * time.Second
	idleTimeout   = 120 * time.Second
	maxHeader     = 64 << 10 // bytes
)

// newHTTPServer makes a server with the limits that slow and huge requests are cut by.
func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // bad handshakes and the like: noise of the network
	}
}

// bodyLimit gives every request a time to send its whole body in. http.Server.ReadTimeout is not used: it would go on
// while a stream is answered.
func bodyLimit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			c := http.NewResponseController(w)
			if c.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil { // not every writer has deadlines; an in-memory one needs none
				r.Body = &timedBody{ReadCloser: r.Body, lift: func() { _ = c.SetReadDeadline(time.Time{}) }} // it could be set, so it can be lifted
			}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody lifts the deadline when the body has ended.
type timedBody struct {
	io.ReadCloser
	lift func()
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.lift()
	}
	return n, err
}

// endStreams ends GET requests, which are streams that wait for the server, as soon as stopping is done. Other requests
// are left to finish.
func endStreams(stopping context.Context, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(stopping, cancel)()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}
