package validate

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"
)

// Catalogue holds the tool definitions that servers advertise. It is safe for concurrent use; readers never wait for
// writers, because each change publishes a new copy. The zero Catalogue is empty and has the default Limits.
type Catalogue struct {
	limits  Limits
	mu      sync.Mutex // held by writers
	servers atomic.Pointer[map[string]*server]
}

// server is what one server advertises. Immutable once published.
type server struct {
	tools map[string]*tool
	size  int  // bytes of all schemas
	full  bool // more tools were advertised than are kept
}

// Fault is a tool whose definition cannot be used, for operators: every call of it is refused.
type Fault struct {
	Tool   string
	Reason string
}

// NewCatalogue returns an empty catalogue.
func NewCatalogue(l Limits) *Catalogue { return &Catalogue{limits: l} }

// Learn replaces what is known of a server by these definitions, each a tool object as tools/list returns it. A
// definition without a name is left out: nobody can call it. A schema that did not change is not compiled again.
func (c *Catalogue) Learn(name string, tools []jsontext.Value) { c.learn(name, tools, false) }

// LearnPage adds the definitions of one page of a list, replacing those of the same names. It removes nothing: who
// reads only the first page must not make the tools of the others unknown.
func (c *Catalogue) LearnPage(name string, tools []jsontext.Value) { c.learn(name, tools, true) }

func (c *Catalogue) learn(name string, tools []jsontext.Value, keep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.server(name)
	if old == nil {
		old = &server{}
	}
	next := &server{tools: make(map[string]*tool, len(tools))}
	if keep {
		next = &server{tools: maps.Clone(old.tools), size: old.size, full: old.full}
		if next.tools == nil {
			next.tools = make(map[string]*tool, len(tools))
		}
	}
	seen := make(map[string]bool, len(tools))
	for _, raw := range tools {
		if d := readDefinition(raw); d.name != "" {
			next.add(d, old.tools[d.name], seen[d.name])
			seen[d.name] = true
		}
	}
	all := map[string]*server{}
	if p := c.servers.Load(); p != nil {
		all = maps.Clone(*p)
	}
	all[name] = next
	c.servers.Store(&all)
}

// add puts one definition in, within the budgets of a server. twice says that the same list already held the name.
func (s *server) add(d definition, old *tool, twice bool) {
	replaced, exists := s.tools[d.name]
	switch {
	case twice:
		// Which of two definitions the server goes by cannot be known.
		d = definition{name: d.name, fault: "it is advertised twice"}
	case !exists && len(s.tools) >= maxTools:
		s.full = true
		return
	}
	if exists {
		s.size -= len(replaced.raw)
	}
	if s.size+len(d.schema) > maxCatalogued {
		d = definition{name: d.name, fault: "the schemas of this server are too large together"}
	}
	s.size += len(d.schema)
	if old != nil && old.invalid == d.fault && bytes.Equal(old.raw, d.schema) {
		s.tools[d.name] = old
		return
	}
	s.tools[d.name] = &tool{raw: d.schema, invalid: d.fault}
}

// Known reports whether the server's definitions were learned, be they none.
func (c *Catalogue) Known(server string) bool { return c.server(server) != nil }

// Tool reports whether the server advertised a tool of exactly this name.
func (c *Catalogue) Tool(server, name string) bool {
	s := c.server(server)
	return s != nil && s.tools[name] != nil
}

// Check checks the arguments of a call; nil means good. args is one JSON value, or empty for none, which is an empty
// object. A tool that is not in the catalogue is not checked: its server will say that there is none. A tool whose
// definition cannot be used is refused whatever the arguments.
func (c *Catalogue) Check(server, tool string, args []byte) *Problem {
	s := c.server(server)
	if s == nil {
		return nil
	}
	t := s.tools[tool]
	switch {
	case t == nil && s.full:
		return problem("", "schema: the server advertises more tools than can be checked")
	case t == nil:
		return nil
	}
	return t.check(args, c.limits.filled())
}

// Faults returns the tools of a server whose definitions cannot be used, by name. It compiles those that no call has
// needed yet, which can take a while.
func (c *Catalogue) Faults(server string) []Fault {
	s := c.server(server)
	if s == nil {
		return nil
	}
	var faults []Fault
	for _, name := range slices.Sorted(maps.Keys(s.tools)) {
		if p := s.tools[name].program(); p.fault != "" {
			faults = append(faults, Fault{Tool: name, Reason: p.fault})
		}
	}
	return faults
}

func (c *Catalogue) server(name string) *server {
	all := c.servers.Load()
	if all == nil {
		return nil
	}
	return (*all)[name]
}

// definition is what is read of one tool object.
type definition struct {
	name   string
	schema []byte // nil when absent
	fault  string
}

// readDefinition reads name and input schema of a tool object, strictly: duplicate members make the definition
// unusable, because we might read another one than the server meant.
func readDefinition(raw jsontext.Value) definition {
	var d definition
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.ReadToken(); err != nil || open.Kind() != '{' {
		return d
	}
	for dec.PeekKind() == '"' {
		member, err := dec.ReadToken()
		if err != nil {
			break
		}
		key := member.String() // before the next read invalidates the token
		value, err := dec.ReadValue()
		if err != nil {
			break
		}
		switch {
		case key == "name" && value.Kind() == '"':
			if text, err := jsontext.AppendUnquote(nil, value); err == nil {
				d.name = string(text)
			}
		case key == "inputSchema":
			d.schema = bytes.Clone(value)
		}
	}
	if end, err := dec.ReadToken(); err != nil || end.Kind() != '}' {
		d.schema, d.fault = nil, "its definition is not strict JSON"
	}
	return d
}
