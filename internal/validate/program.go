package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// tool is one advertised tool. Its schema is compiled by the first call that needs it.
type tool struct {
	raw     []byte // input schema; nil when absent
	invalid string // why the definition cannot be used, when that was seen on reading it
	once    sync.Once
	ready   program   // written by once
	walks   sync.Pool // of *walk
}

// program is a compiled schema, or why there is none. Immutable.
type program struct {
	schema *jsonschema.Schema
	root   *form
	forms  int // number of forms, which have ids below it
	fault  string

	declared map[string]struct{} // member names that the schema declares anywhere
}

// program compiles the schema, once. Other callers of the same tool wait.
func (t *tool) program() *program {
	t.once.Do(func() {
		if t.invalid != "" {
			t.ready.fault = t.invalid
			return
		}
		p, err := compile(t.raw)
		if err != nil {
			p.fault = cut(strings.Join(strings.Fields(err.Error()), " "), maxMessage)
		}
		t.ready = p
	})
	return &t.ready
}

// schemaURL names the schema under compilation. It is never fetched.
const schemaURL = "schema:tool"

// compile compiles a schema within its budgets. A tool without one takes any object.
func compile(raw []byte) (p program, err error) {
	// The schema is the upstream's and the compiler is not ours: a panic costs the tool, not the gateway.
	defer func() {
		if r := recover(); r != nil {
			p, err = program{}, fmt.Errorf("compiling it broke down: %v", r)
		}
	}()
	if raw == nil {
		raw = []byte(`{"type":"object"}`)
	}
	doc, err := readSchema(raw)
	if err != nil {
		return program{}, err
	}
	patterns := &patterns{known: map[string]*pattern{}}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(refusing{})
	c.UseRegexpEngine(patterns.compile)
	if err := c.AddResource(schemaURL, doc); err != nil {
		return program{}, fmt.Errorf("reading it: %w", err)
	}
	schema, err := c.Compile(schemaURL)
	if err != nil {
		return program{}, fmt.Errorf("compiling it: %w", err)
	}
	patterns.sealed = true
	g := graph{forms: map[*jsonschema.Schema]*form{}}
	root := g.form(schema)
	if err := g.close(); err != nil {
		return program{}, err
	}
	return program{schema: schema, root: root, forms: len(g.order), declared: declaredNames(g.order)}, nil
}

// refusing is a loader of references that loads nothing: no file, no network.
type refusing struct{}

// Load refuses.
func (refusing) Load(string) (any, error) {
	return nil, errors.New("references out of the schema are not followed")
}

// reader reads a schema into the values the compiler takes, within the budgets.
type reader struct {
	dec     *jsontext.Decoder
	objects int
	inner   bool // an identifier below the root: what a dynamic reference means depends on it
	dynamic bool
}

func readSchema(raw []byte) (any, error) {
	if len(raw) > maxSchema {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", len(raw), maxSchema)
	}
	r := reader{dec: jsontext.NewDecoder(bytes.NewReader(raw))}
	if r.dec.PeekKind() != '{' {
		return nil, errors.New("it is not an object")
	}
	doc, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.dec.ReadToken(); err != io.EOF {
		return nil, errors.New("something follows it")
	}
	if r.inner && r.dynamic {
		return nil, errors.New("it has both dynamic references and identifiers inside, which is not supported")
	}
	return doc, nil
}

// value reads one value. path is the length of the pointer to it.
func (r *reader) value(path int) (any, error) {
	if r.dec.StackDepth() > maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	}
	if path > maxPath {
		return nil, errors.New("its names are too long")
	}
	switch r.dec.PeekKind() {
	case '{':
		return r.object(path)
	case '[':
		return r.array(path)
	}
	tok, err := r.dec.ReadToken()
	if err != nil {
		return nil, fmt.Errorf("it is not strict JSON: %w", err)
	}
	switch tok.Kind() {
	case '"':
		return tok.String(), nil
	case '0':
		n := tok.String()
		if !smallNumber(n) {
			return nil, errors.New("it has a number that is too large or too long")
		}
		return json.Number(n), nil
	case 'n':
		return nil, nil
	default:
		return tok.Kind() == 't', nil
	}
}

func (r *reader) object(path int) (any, error) {
	if r.objects++; r.objects > maxObjects {
		return nil, fmt.Errorf("it has more than %d subschemas", maxObjects)
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	root := r.dec.StackDepth() == 1
	m := map[string]any{}
	for r.dec.PeekKind() != '}' {
		tok, err := r.dec.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("it is not strict JSON: %w", err)
		}
		name := tok.String()
		v, err := r.value(path + 1 + len(name))
		if err != nil {
			return nil, err
		}
		if err := r.reference(name, v, root); err != nil {
			return nil, err
		}
		m[name] = v
	}
	_, err := r.dec.ReadToken()
	return m, err
}

// reference refuses references that leave the schema, before anything tries to resolve them.
func (r *reader) reference(name string, v any, root bool) error {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	switch name {
	case "$dynamicRef", "$recursiveRef":
		r.dynamic = true
		fallthrough
	case "$ref":
		if !strings.HasPrefix(s, "#") {
			return errors.New("it refers to another document, which is not followed")
		}
	case "$id", "id":
		r.inner = r.inner || !root
	}
	return nil
}

func (r *reader) array(path int) (any, error) {
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	list := []any{}
	for r.dec.PeekKind() != ']' {
		v, err := r.value(path + 7) // a slash and an index
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := r.dec.ReadToken()
	return list, err
}
