package gateway

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/validate"
	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// probeTimeout bounds finding out what an upstream speaks; a child may take its time to start.
const probeTimeout = 60 * time.Second

// retryProbe is how soon an upstream that could not be asked is asked again.
const retryProbe = time.Second

// facts is what is known of an endpoint's upstream.
type facts struct {
	found atomic.Pointer[upstream.Facts]
	stale atomic.Bool // the server announced that its tools changed

	mu     sync.Mutex // one probe at a time
	failed error
	at     time.Time // of the failure
}

// Definitions knows the tools that each upstream advertises. It is what the guard checks arguments against, and is
// safe for concurrent use.
type Definitions struct {
	gateway   *Gateway
	catalogue *validate.Catalogue
}

// Check checks the arguments of a call against the advertised schema. It asks the upstream for its tools when they are
// not known or were announced to have changed.
func (d *Definitions) Check(ctx context.Context, server, tool string, arguments []byte) (*validate.Problem, error) {
	e := d.gateway.routes.Load().byName[server]
	if e == nil {
		return nil, fmt.Errorf("no server %q", server)
	}
	if _, err := d.facts(ctx, e); err != nil {
		return nil, err
	}
	return d.catalogue.Check(server, tool, arguments), nil
}

// facts returns what the endpoint's upstream speaks and has its tools learned.
func (d *Definitions) facts(ctx context.Context, e *endpoint) (upstream.Facts, error) {
	if f := e.facts.found.Load(); f != nil && !e.facts.stale.Load() {
		return *f, nil
	}
	e.facts.mu.Lock()
	defer e.facts.mu.Unlock()
	if f := e.facts.found.Load(); f != nil && !e.facts.stale.Load() {
		return *f, nil
	}
	if e.facts.failed != nil && time.Since(e.facts.at) < retryProbe {
		return upstream.Facts{}, e.facts.failed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout) // others wait for it too
	defer cancel()
	e.facts.stale.Store(false)
	found, err := e.Upstream.Probe(ctx)
	if err != nil {
		e.facts.failed, e.facts.at = err, time.Now()
		e.facts.stale.Store(e.facts.found.Load() != nil)
		return upstream.Facts{}, err
	}
	e.facts.failed = nil
	d.catalogue.Learn(e.Name, found.Tools)
	found.Tools = nil
	e.facts.found.Store(&found)
	return found, nil
}

// learn takes the definitions of one page of tools as it passes.
func (d *Definitions) learn(e *endpoint, result jsontext.Value) {
	if tools, err := wire.ListItems("tools/list", result); err == nil {
		d.catalogue.LearnPage(e.Name, tools)
	}
}
