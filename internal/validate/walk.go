package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// walk reads arguments in one pass. It decodes them, holds them to the limits, refuses members that are almost a
// declared one, and counts the steps that validating will take: it carries along which subschemas will be applied to
// the current value, and along how many paths. Two paths to one subschema are one entry with a count, so that the walk
// itself is never worse than values times subschemas.
type walk struct {
	input  bytes.Buffer
	dec    *jsontext.Decoder
	root   [1]use
	limits Limits
	values int
	steps  int64
	stack  []use  // sets of forms, those of outer values first
	marks  []mark // by form id: where in the current set the form is
	set    uint32 // number of the current set
}

type mark struct {
	set uint32
	at  int
}

// newWalk returns a walk for a program's arguments. It may be used again, by one goroutine at a time.
func (p *program) newWalk() *walk {
	return &walk{dec: jsontext.NewDecoder(new(bytes.Buffer)), marks: make([]mark, p.forms), stack: make([]use, 0, 16)}
}

// read decodes args and checks all but what the validator will.
func (w *walk) read(root *form, args []byte, l Limits) (any, *Problem) {
	w.input = *bytes.NewBuffer(args)
	w.dec.Reset(&w.input)
	w.limits, w.values, w.steps, w.stack = l, 0, 0, w.stack[:0]
	if w.dec.PeekKind() != '{' {
		if _, err := w.dec.ReadValue(); err != nil {
			return nil, w.malformed(err)
		}
		return nil, problem("", "type: want object")
	}
	w.root[0] = use{root, 1}
	v, _, bad := w.value(w.root[:])
	if bad != nil {
		return nil, bad
	}
	if _, err := w.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, problem("", "arguments: want one JSON value")
	}
	return v, nil
}

// value reads one value, to which the given forms are applied, and returns it with the number of values in it.
func (w *walk) value(applied []use) (any, int64, *Problem) {
	if w.values++; w.values > w.limits.Values {
		return nil, 0, w.bad("limit: want at most " + strconv.Itoa(w.limits.Values) + " values")
	}
	forms := w.expand(applied) // popped by the caller
	if w.over() {
		return nil, 0, w.tooMuch()
	}
	switch w.dec.PeekKind() {
	case '{':
		return w.object(forms)
	case '[':
		return w.array(forms)
	}
	tok, err := w.dec.ReadToken()
	if err != nil {
		return nil, 0, w.malformed(err)
	}
	switch tok.Kind() {
	case '"':
		s := tok.String()
		return s, 1, w.text(forms, s)
	case '0':
		n := tok.String()
		if !smallNumber(n) {
			return nil, 0, w.bad(fmt.Sprintf("limit: want a number of at most %d digits and an exponent of at most %d", maxDigits, maxExponent))
		}
		cost := numberCost(n)
		for _, u := range forms {
			w.charge(u.n, timesSteps(1+u.form.numbers, cost+stepsNumber))
		}
		if w.over() {
			return nil, 0, w.tooMuch()
		}
		return json.Number(n), 10 + cost, nil
	case 'n':
		return nil, 1, nil
	default:
		return tok.Kind() == 't', 1, nil
	}
}

// expand pushes the set of all forms applied to the value: those given and what they apply to the same value.
func (w *walk) expand(applied []use) []use {
	base := len(w.stack)
	w.set++
	for _, a := range applied {
		for _, u := range a.form.closure {
			w.steps++
			n := timesSteps(a.n, u.n)
			w.charge(n, u.form.weight)
			m := &w.marks[u.form.id]
			if m.set != w.set {
				*m = mark{w.set, len(w.stack)}
				w.stack = append(w.stack, use{u.form, 0})
			}
			w.stack[m.at].n = addSteps(w.stack[m.at].n, n)
		}
		if w.over() {
			break
		}
	}
	return w.stack[base:]
}

func (w *walk) object(forms []use) (any, int64, *Problem) {
	if bad := w.enter(forms); bad != nil {
		return nil, 0, bad
	}
	m, count := map[string]any{}, int64(1)
	for w.dec.PeekKind() != '}' {
		tok, err := w.dec.ReadToken()
		if err != nil {
			return nil, 0, w.malformed(err)
		}
		name := tok.String()
		if bad := w.almost(forms, name); bad != nil {
			return nil, 0, bad
		}
		base := len(w.stack)
		if bad := w.member(forms, name); bad != nil {
			return nil, 0, bad
		}
		v, n, bad := w.value(w.stack[base:])
		if bad != nil {
			return nil, 0, bad
		}
		w.stack = w.stack[:base]
		m[name] = v
		count += n
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return nil, 0, w.malformed(err)
	}
	return m, count, nil
}

// almost refuses a name that none of the forms declares but one declares in another spelling.
func (w *walk) almost(forms []use, name string) *Problem {
	var like string
	folded := ""
	for _, u := range forms {
		if u.form.properties == nil {
			continue
		}
		if _, ok := u.form.properties[name]; ok {
			return nil
		}
		if folded == "" {
			folded = fold(name)
		}
		if declared, ok := u.form.folded[folded]; ok {
			like = declared
		}
	}
	if like == "" {
		return nil
	}
	return w.bad("name: want exactly " + strconv.Quote(like))
}

// member pushes the forms applied to the value of a member.
func (w *walk) member(forms []use, name string) *Problem {
	for _, u := range forms {
		f := u.form
		w.charge(u.n, stepsMember) // the validator visits each member for each application
		if f.accepts&objects == 0 {
			continue
		}
		sub, found := f.properties[name]
		if found {
			w.stack = append(w.stack, use{sub, u.n})
		}
		for _, p := range f.byPattern {
			if p.pattern.re == nil {
				return w.bad("patternProperties: this tool's pattern cannot be checked")
			}
			if w.charge(u.n, p.pattern.cost(len(name))); w.over() {
				return w.tooMuch()
			}
			if p.pattern.MatchString(name) {
				found = true
				w.stack = append(w.stack, use{p.form, u.n})
			}
		}
		if !found && f.additional != nil {
			w.stack = append(w.stack, use{f.additional, u.n})
		}
		for _, every := range f.members {
			w.stack = append(w.stack, use{every, u.n})
		}
		if f.names != nil {
			if bad := w.name(use{f.names, u.n}, name); bad != nil {
				return bad
			}
		}
	}
	return nil
}

// name counts the forms applied to the name of a member.
func (w *walk) name(u use, name string) *Problem {
	base := len(w.stack)
	bad := w.text(w.expand([]use{u}), name)
	w.stack = w.stack[:base]
	return bad
}

func (w *walk) array(forms []use) (any, int64, *Problem) {
	if bad := w.enter(forms); bad != nil {
		return nil, 0, bad
	}
	list, count := []any{}, int64(1)
	for i := 0; w.dec.PeekKind() != ']'; i++ {
		base := len(w.stack)
		for _, u := range forms {
			w.charge(u.n, stepsMember)
			w.element(u, i)
		}
		v, n, bad := w.value(w.stack[base:])
		if bad != nil {
			return nil, 0, bad
		}
		w.stack = w.stack[:base]
		list = append(list, v)
		count += n
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return nil, 0, w.malformed(err)
	}
	for _, u := range forms {
		if u.form.unique {
			w.charge(u.n, 4*count+200) // hashing all of it; comparing the pairs of a short list
		}
	}
	if w.over() {
		return nil, 0, w.tooMuch()
	}
	return list, count, nil
}

// element pushes what one form applies to element i.
func (w *walk) element(u use, i int) {
	f := u.form
	if f.accepts&arrays == 0 {
		return
	}
	if i < len(f.items) {
		w.stack = append(w.stack, use{f.items[i], u.n})
	} else if f.rest != nil {
		w.stack = append(w.stack, use{f.rest, u.n})
	}
	for _, every := range f.elements {
		w.stack = append(w.stack, use{every, u.n})
	}
}

// text counts what the forms do with a string, and refuses one whose pattern cannot be checked.
func (w *walk) text(forms []use, s string) *Problem {
	for _, u := range forms {
		w.charge(u.n, int64(len(s))/64)
		if p := u.form.pattern; p != nil {
			if p.re == nil {
				return w.bad("pattern: this tool's pattern cannot be checked")
			}
			w.charge(u.n, p.cost(len(s)))
		}
		if u.form.isRegexp {
			w.charge(u.n, 10*int64(len(s))) // it is parsed
		}
	}
	if w.over() {
		return w.tooMuch()
	}
	return nil
}

// enter reads the start of an object or array.
func (w *walk) enter(forms []use) *Problem {
	if _, err := w.dec.ReadToken(); err != nil {
		return w.malformed(err)
	}
	for _, u := range forms {
		w.charge(u.n, timesSteps(u.form.numbers, stepsNumber)) // comparing with a constant that holds numbers
	}
	if w.dec.StackDepth() > w.limits.Depth {
		return w.bad("limit: want at most " + strconv.Itoa(w.limits.Depth) + " levels")
	}
	return nil
}

func (w *walk) charge(n, each int64) { w.steps = addSteps(w.steps, timesSteps(n, each)) }

func (w *walk) over() bool { return w.steps > int64(w.limits.Work)+stepsValue*int64(w.values) }

func (w *walk) tooMuch() *Problem {
	return w.bad("limit: checking this against the tool's schema takes too long")
}

// bad is a Problem at the value or name read last.
func (w *walk) bad(message string) *Problem { return problem(string(w.dec.StackPointer()), message) }

// malformed is a Problem for what is not strict JSON.
func (w *walk) malformed(err error) *Problem {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName) {
		return problem(string(syntax.JSONPointer), "name: want it once")
	}
	return w.bad("arguments: want strict JSON")
}
