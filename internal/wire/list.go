package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/policy"
)

// maxTTL is how long a client may keep an answer that depends on who asked, in milliseconds.
const maxTTL = 60_000

// Filter is what a result goes through before a client sees it. The zero value keeps nothing of a list.
type Filter struct {
	Keep       func(kind policy.Target, name string) bool // whether an entry may be seen; nil keeps none
	SealCursor func(cursor string) string                 // nil leaves nextCursor as it is
	SealState  func(state string) string                  // nil leaves requestState as it is
	SealTask   func(id string) string                     // nil leaves taskId, also inside task and tasks, as it is
	Private    bool                                       // modern era with authentication: no shared cache, 60 s at most
}

// resultNames are the members of a result that something is decided by.
var resultNames = namesOf("tools", "prompts", "resources", "resourceTemplates", "nextCursor", "cacheScope", "ttlMs",
	"resultType", "requestState", "taskId", "task", "tasks")

// entryNames are the members that name an entry of a list.
var entryNames = namesOf("name", "uri", "uriTemplate")

// Why a result cannot be filtered.
var (
	errShape  = errors.New("a member has the wrong type")
	errSyntax = errors.New("not valid JSON in UTF-8, or a name appears twice")
	errTwin   = errors.New("a member differs from a known one only by its spelling")
)

// FilterResult returns the result of method as one principal may see it: list entries that are not kept, and entries
// without exactly one name, are dropped; cursors and handles are sealed; in the modern era caching is made private. All
// else stays as sent and in order. A result that is no object, or whose members could be read in two ways, is an error.
// What it returns may alias result.
func FilterResult(method string, result jsontext.Value, f Filter) (jsontext.Value, error) {
	e := editor{filter: f}
	if row := methods[method]; row != nil {
		e.row = *row
	}
	e.private = f.Private && e.row.Cached
	if !e.paged() && !e.private && f.SealState == nil && f.SealTask == nil {
		if result.Kind() != '{' {
			return nil, fmt.Errorf("filtering the result of %s: %w", e.row.Name, errShape)
		}
		return result, nil
	}
	if err := e.whole(result); err != nil {
		return nil, fmt.Errorf("filtering the result of %s: %w", e.row.Name, err)
	}
	return e.out, nil
}

// ListItems returns the entries of a list result, raw and in order, as slices of it.
func ListItems(method string, result jsontext.Value) ([]jsontext.Value, error) {
	row, ok := Lookup(method)
	if !ok || row.List == "" {
		return nil, fmt.Errorf("reading a list: %q is not a list method", method)
	}
	var items []jsontext.Value
	e := editor{row: row, each: func(entry jsontext.Value) { items = append(items, entry) }}
	if err := e.whole(result); err != nil {
		return nil, fmt.Errorf("reading the result of %s: %w", row.Name, err)
	}
	return items, nil
}

// editor copies a result member by member. It parses strictly, whether or not somebody has before.
type editor struct {
	dec     *jsontext.Decoder
	body    []byte
	row     Method
	filter  Filter
	private bool
	each    func(entry jsontext.Value) // sees every entry; may be nil
	out     []byte

	scope, ttl, partial bool // members seen; partial: the result asks for another round
}

// paged reports whether the result may carry a cursor.
func (e *editor) paged() bool { return e.row.List != "" || e.row.Name == "tasks/list" }

// whole edits a result and nothing behind it. What the decoder says is not passed on: it quotes the bytes it read.
func (e *editor) whole(result []byte) error {
	err := e.run(result)
	if err == nil {
		if _, end := e.dec.ReadToken(); end == io.EOF {
			return nil
		}
	}
	if errors.Is(err, errShape) || errors.Is(err, errTwin) {
		return err
	}
	return errSyntax
}

func (e *editor) run(result []byte) error {
	e.body = result
	e.dec = jsontext.NewDecoder(bytes.NewBuffer(result))
	e.out = append(make([]byte, 0, len(result)+64), '{')
	if e.dec.PeekKind() != '{' {
		return errShape
	}
	if _, err := e.dec.ReadToken(); err != nil {
		return err
	}
	for e.dec.PeekKind() == '"' {
		name, err := e.value()
		if err == nil {
			err = e.member(name)
		}
		if err != nil {
			return err
		}
	}
	if _, err := e.dec.ReadToken(); err != nil {
		return err
	}
	if e.private && !e.partial {
		e.complete()
	}
	e.out = append(e.out, '}')
	return nil
}

// value reads the value that comes next, as a slice of the result.
func (e *editor) value() ([]byte, error) {
	v, err := e.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := int(e.dec.InputOffset())
	return e.body[end-len(v) : end : end], nil
}

// complete adds what a modern result must carry and this one lacks.
func (e *editor) complete() {
	if !e.scope {
		e.put([]byte(`"cacheScope"`), []byte(`"private"`))
	}
	if !e.ttl {
		e.put([]byte(`"ttlMs"`), []byte("0"))
	}
}

// put appends one member.
func (e *editor) put(name, value []byte) {
	if len(e.out) > 1 {
		e.out = append(e.out, ',')
	}
	e.out = append(append(append(e.out, name...), ':'), value...)
}

// member copies the member that comes next, changed where it must be.
func (e *editor) member(name []byte) error {
	if resultNames.lookalike(unquote(name)) {
		return errTwin
	}
	text := string(unquote(name))
	if e.row.List != "" && text == e.row.List && e.dec.PeekKind() == '[' {
		return e.entries(name)
	}
	value, err := e.value()
	if err != nil {
		return err
	}
	if e.row.List != "" && text == e.row.List && string(value) != "null" {
		return errShape
	}
	if value, err = e.edit(text, value); err != nil {
		return err
	}
	if value != nil {
		e.put(name, value)
	}
	return nil
}

// edit returns what a member's value becomes; nil drops the member.
func (e *editor) edit(name string, value []byte) ([]byte, error) {
	switch {
	case name == "nextCursor" && e.paged():
		if c := string(value); c == "null" || c == `""` {
			return nil, nil // both mean the last page; sealed, they would not
		}
		return sealed(value, e.filter.SealCursor)
	case name == "cacheScope" && e.private:
		e.scope = true
		return []byte(`"private"`), nil
	case name == "ttlMs" && e.private:
		e.ttl = true
		return capped(value), nil
	case name == "resultType":
		e.partial = string(unquote(value)) == "input_required"
	case name == "requestState":
		return sealed(value, e.filter.SealState)
	case name == "taskId":
		return sealed(value, e.filter.SealTask)
	case name == "task" && e.filter.SealTask != nil && value[0] == '{':
		return e.task(value)
	case name == "tasks" && e.filter.SealTask != nil && value[0] == '[':
		return e.tasks(value)
	}
	return value, nil
}

// entries copies the entries of the list that are kept.
func (e *editor) entries(name []byte) error {
	if _, err := e.dec.ReadToken(); err != nil {
		return err
	}
	e.put(name, []byte{'['})
	kept := 0
	for k := e.dec.PeekKind(); k != ']' && k != 0; k = e.dec.PeekKind() {
		entry, err := e.value()
		if err != nil {
			return err
		}
		if e.each != nil {
			e.each(entry)
		}
		if !e.keep(entry) {
			continue
		}
		if kept++; kept > 1 {
			e.out = append(e.out, ',')
		}
		e.out = append(e.out, entry...)
	}
	e.out = append(e.out, ']')
	_, err := e.dec.ReadToken()
	return err
}

// keep reports whether an entry is named in exactly one way, by a name that may be seen.
func (e *editor) keep(entry []byte) bool {
	if entry[0] != '{' || e.filter.Keep == nil {
		return false
	}
	name, found := "", false
	whole := fieldsOf(entry, func(f field) bool {
		text := unquote(f.name)
		if string(text) == e.row.Entry {
			name, found = string(unquote(f.value)), isText(f.value)
			return found
		}
		return !entryNames.lookalike(text)
	})
	return whole && found && e.filter.Keep(e.row.Target, name)
}

// task seals the taskId of a task object.
func (e *editor) task(object []byte) ([]byte, error) {
	inner := editor{filter: Filter{SealTask: e.filter.SealTask}}
	if err := inner.whole(object); err != nil {
		return nil, err
	}
	return inner.out, nil
}

// tasks seals the taskId of every task of an array.
func (e *editor) tasks(array []byte) ([]byte, error) {
	out := []byte{'['}
	var err error
	elementsOf(array, func(value []byte) bool {
		if value[0] != '{' {
			err = errShape
			return false
		}
		if value, err = e.task(value); err != nil {
			return false
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, value...)
		return true
	})
	return append(out, ']'), err
}

// sealed replaces a string by its sealed form. A nil seal leaves the value; null stays null.
func sealed(value []byte, seal func(string) string) ([]byte, error) {
	if seal == nil || string(value) == "null" {
		return value, nil
	}
	if !isText(value) {
		return nil, errShape
	}
	return appendQuoted(nil, seal(string(unquote(value)))), nil
}

// capped returns a ttlMs of at most 60,000; what is no number, or negative, becomes 0.
func capped(value []byte) []byte {
	switch ms, err := strconv.ParseFloat(string(value), 64); {
	case ms > maxTTL: // also when it is out of range
		return strconv.AppendInt(nil, maxTTL, 10)
	case err != nil || ms < 0:
		return []byte("0")
	}
	return value
}
