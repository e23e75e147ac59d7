package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/sandbox"
)

const (
	// drain is how long requests that have begun may take when the program stops.
	drain = 7 * time.Second
	// closing is how long everything else may take then; with drain it stays within 10 s.
	closing = 2500 * time.Millisecond
)

// Options say what to run. Exactly one of Path and File is set.
type Options struct {
	// Path is sallyport.yaml. It is watched and taken up again when it changes.
	Path string
	// File is a configuration made in code, from Checked.
	File *File
	// Getenv looks up variables of the file. Nil: the environment of this process.
	Getenv func(string) (string, bool)
	// ChildExec is the argument list that runs a child in its sandbox. Empty: servers that are commands are refused.
	ChildExec []string
	// Reload asks for the file to be read again, as SIGHUP does. May be nil.
	Reload <-chan struct{}
	// Ready is called once, when everything listens. If it fails, the program stops. May be nil.
	Ready func(context.Context, Running) error
	// Log is the process log. Nil: slog.Default().
	Log *slog.Logger
}

// Running is a program that listens.
type Running struct {
	URL        string // scheme and address of the MCP listener, such as http://127.0.0.1:8443
	Admin      string // address of the admin listener; empty when it is off
	Fresh      bool   // the data directory was made by this start
	File       *File  // the configuration in force
	Operations *admin.Operations
}

// program is a running instance. Its fields are set by open, before anything is served.
type program struct {
	options Options
	log     *slog.Logger
	file    *File // in force; owned by the watching goroutine once served

	mcp, admin  net.Listener
	certificate *certificate // nil without TLS
	data        *DataDir
	socket      *admin.Server // nil where there is none
	written     string        // listen as the file has it; file.Listen is where we do listen
	refused     string        // the last refusal of a changed file; owned by the watching goroutine, as is
	rejected    *File         // the last file that could be read and that the guard did not take

	posture atomic.Pointer[File] // file, for the admin socket

	broken chan error // first failure of a listener
}

// Run serves until ctx ends, then stops in order: streams that wait are ended, requests that have begun are finished,
// children and the log are closed, within 10 s. A program that cannot run as configured does not start, and a data
// directory made by the failed start is removed.
func Run(ctx context.Context, o Options) error {
	p := &program{options: o, log: o.Log, file: o.File, broken: make(chan error, 2)}
	if p.log == nil {
		p.log = slog.Default()
	}
	if o.Path != "" {
		f, err := ReadFile(o.Path, o.Getenv)
		if err != nil {
			return err
		}
		p.file = f
	}
	if err := p.open(ctx); err != nil {
		return errors.Join(err, p.abandon())
	}
	return p.serve(ctx)
}

// open takes everything the program needs, cheapest and most likely to fail first, so that little is undone.
func (p *program) open(ctx context.Context) (err error) {
	f := p.file
	if err := sandbox.Undumpable(); err != nil {
		return err
	}
	if err := findChildren(f); err != nil {
		return err
	}
	if f.TLS.Cert != "" {
		if p.certificate, err = loadCertificate(f.TLS.Cert, f.TLS.Key); err != nil {
			return err
		}
	}
	if p.mcp, err = listen(ctx, "listen", f.Listen); err != nil {
		return err
	}
	p.written, f.Listen = f.Listen, p.mcp.Addr().String() // a port of 0 is known now
	if f.Admin.Listen != adminOff {
		if p.admin, err = listen(ctx, "admin.listen", f.Admin.Listen); err != nil {
			return err
		}
	}
	if p.data, err = OpenDataDir(ctx, f, Use{Purpose: "serving", ChildExec: p.options.ChildExec, Log: p.log}); err != nil {
		return err
	}
	if err := p.tryServers(ctx); err != nil {
		return err
	}
	p.posture.Store(f)
	p.data.Operations().Posture = func() []Finding { return Posture(p.posture.Load()) }
	p.socket, err = admin.Serve(f.DataDir, p.data.Operations(), p.log)
	if errors.Is(err, admin.ErrUnsupported) {
		p.log.Warn("commands cannot reach a running gateway on this system", "reason", err)
		return nil
	}
	return err
}

// tryTime is how long the servers may take to say what they speak; a package runner may have to download first.
const tryTime = 65 * time.Second

// tryServers asks every server what it speaks. A child that does not start is a mistake of the configuration; a server
// elsewhere may come later.
func (p *program) tryServers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	failed := p.data.Guard.Probe(ctx)
	for i := range p.file.Servers {
		s := &p.file.Servers[i]
		err := failed[s.Name]
		switch {
		case err == nil:
		case len(s.Command) > 0:
			return &Mistake{Err: fmt.Errorf("server %q: %s does not start: %w", s.Name, s.Command[0], err), Fix: "run the command by hand to see why"}
		default:
			p.log.Warn("a server does not answer yet", "server", s.Name, "url", s.URL, "error", err)
		}
	}
	return nil
}

// abandon undoes open.
func (p *program) abandon() error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	var errs []error
	if p.socket != nil {
		errs = append(errs, p.socket.Close(ctx))
	}
	if p.data != nil {
		errs = append(errs, p.data.Discard(ctx))
	}
	for _, l := range []net.Listener{p.admin, p.mcp} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// serve runs until ctx ends or a listener breaks.
func (p *program) serve(ctx context.Context) error {
	p.loosened()
	stopping, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	front := newHTTPServer(endStreams(stopping, bodyLimit(p.data.Guard.Handler())), p.log)
	if p.certificate != nil {
		front.TLSConfig = p.certificate.config(p.file.TLS.MinVersion)
	}
	servers := []*http.Server{front}
	var running sync.WaitGroup
	running.Go(func() { p.accept(front, p.mcp) })
	if p.admin != nil {
		back := newHTTPServer(adminHandler(p.metrics(), p.ready), p.log)
		servers = append(servers, back)
		running.Go(func() { p.accept(back, p.admin) })
	}
	now := p.running() // before the watch, which may replace the configuration
	watched, err := p.watch(stopping)
	if err == nil && p.options.Ready != nil {
		err = p.options.Ready(ctx, now)
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-p.broken:
		}
	}
	p.log.Info("stopping", "within", drain+closing)
	stop()
	return errors.Join(err, p.shutdown(servers, &running, watched))
}

func (p *program) running() Running {
	r := Running{URL: p.scheme() + "://" + p.mcp.Addr().String(), File: p.file, Operations: p.data.Operations(), Fresh: len(p.data.lock.made) > 0}
	if p.admin != nil {
		r.Admin = p.admin.Addr().String()
	}
	p.log.Info("listening", "url", r.URL, "admin", r.Admin, "data_dir", p.file.DataDir)
	return r
}

func (p *program) scheme() string {
	if p.certificate != nil {
		return "https"
	}
	return "http"
}

func (p *program) accept(s *http.Server, l net.Listener) {
	var err error
	if s.TLSConfig != nil {
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		p.broken <- fmt.Errorf("listener %s: %w", l.Addr(), err)
	}
}

// shutdown finishes what has begun and closes everything in the reverse order of opening.
func (p *program) shutdown(servers []*http.Server, running *sync.WaitGroup, watched <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	var errs []error
	for _, s := range servers {
		if s.Shutdown(ctx) != nil { // out of time: cut what is left
			p.log.Warn("cut requests that did not end in time")
			errs = append(errs, s.Close())
		}
	}
	running.Wait()
	if watched != nil {
		<-watched
	}
	end, cancelEnd := context.WithTimeout(context.Background(), closing)
	defer cancelEnd()
	if p.socket != nil {
		errs = append(errs, p.socket.Close(end))
	}
	return errors.Join(append(errs, p.data.Close(end))...)
}

// loosened says loudly what is weaker than the default, and how children are confined.
func (p *program) loosened() {
	for _, finding := range Posture(p.file) {
		switch {
		case finding.Level == Warn:
			p.log.Warn("loosened setting", "what", finding.What, "detail", finding.Detail)
		case strings.HasPrefix(finding.What, aboutServer):
			p.log.Info("child processes", "what", finding.What, "detail", finding.Detail)
		}
	}
}

func (p *program) metrics() *metrics {
	var expires func() time.Time
	if p.certificate != nil {
		expires = p.certificate.expires
	}
	return newMetrics(p.data.Operations().Figures, expires)
}

// ready reports whether calls can be served.
func (p *program) ready(ctx context.Context) error { return p.data.Guard.Ready(ctx) }
