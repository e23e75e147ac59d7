package gateway

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/validate"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// probeTimeout bounds finding out what an upstream speaks; a child may take its time to start.
const probeTimeout = 60 * time.Second

// retryProbe is how soon an upstream that could not be asked is asked again.
const retryProbe = time.Second

// maxDefinitions bounds the tools that are remembered of a server.
const maxDefinitions = 10_000

// facts is what is known of an endpoint's upstream.
type facts struct {
	found atomic.Pointer[upstream.Facts]
	stale atomic.Bool // the server announced that its tools changed, or showed one that had

	mu     sync.Mutex // one probe at a time
	failed error      // of the last probe
	at     time.Time  // of the last probe

	known  sync.RWMutex
	byName map[string]definition // guarded by known
}

// definition is what is remembered of a tool.
type definition struct {
	schema  [sha256.Size]byte
	mirrors []wire.Mirror
	probed  bool // we were told ourselves, not one of our callers
}

func define(tool jsontext.Value) (name string, d definition) {
	var read struct {
		Name        string         `json:"name"`
		InputSchema jsontext.Value `json:"inputSchema"`
	}
	if json.Unmarshal(tool, &read) != nil {
		return "", d
	}
	return read.Name, definition{schema: sha256.Sum256(read.InputSchema), mirrors: wire.Mirrors(tool)}
}

// probed replaces what is known by what the server told us.
func (f *facts) probed(tools []jsontext.Value) {
	byName := make(map[string]definition, len(tools))
	for _, tool := range tools {
		name, d := define(tool)
		d.probed = true
		byName[name] = d
	}
	f.known.Lock()
	defer f.known.Unlock()
	f.byName = byName
}

// seen takes notice of a tool that the server showed to a caller, and reports whether it is one that we were not told
// of ourselves. What a server, or a child of one caller's, tells one caller must not change how the calls of others are
// checked: where it differs from what we know, we ask again.
func (f *facts) seen(tool jsontext.Value) (unknown bool) {
	name, d := define(tool)
	f.known.Lock()
	defer f.known.Unlock()
	was, ok := f.byName[name]
	switch {
	case ok && was.probed:
		if was.schema != d.schema {
			f.stale.Store(true)
		}
		return false
	case ok || len(f.byName) < maxDefinitions && f.byName != nil:
		f.byName[name] = d
	}
	return true
}

// mirrors returns which arguments of a tool are mirrored in headers.
func (f *facts) mirrors(t policy.Named) []wire.Mirror {
	if t.Kind != policy.Tool {
		return nil
	}
	f.known.RLock()
	defer f.known.RUnlock()
	return f.byName[t.Name].mirrors
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
	if time.Since(e.facts.at) < retryProbe { // also a server that changes all the time is asked no more often
		if f := e.facts.found.Load(); f != nil && e.facts.failed == nil {
			return *f, nil
		}
		if e.facts.failed != nil {
			return upstream.Facts{}, e.facts.failed
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout) // others wait for it too
	defer cancel()
	e.facts.stale.Store(false)
	found, err := e.Upstream.Probe(ctx)
	e.facts.failed, e.facts.at = err, time.Now()
	if err != nil {
		e.facts.stale.Store(e.facts.found.Load() != nil)
		return upstream.Facts{}, err
	}
	d.catalogue.Learn(e.Name, found.Tools)
	e.facts.probed(found.Tools)
	found.Tools = nil
	e.facts.found.Store(&found)
	return found, nil
}

// learn takes notice of one page of tools as it passes to a caller. Only tools that the server did not show to us are
// learned from it.
func (d *Definitions) learn(e *endpoint, result jsontext.Value) {
	tools, err := wire.ListItems("tools/list", result)
	if now := d.gateway.routes.Load().byName[e.Name]; err != nil || now == nil || now.facts != e.facts {
		return // unreadable, or of a server that has another upstream by now
	}
	var unknown []jsontext.Value
	for _, tool := range tools {
		if e.facts.seen(tool) {
			unknown = append(unknown, tool)
		}
	}
	if len(unknown) > 0 {
		d.catalogue.LearnPage(e.Name, unknown)
	}
}
