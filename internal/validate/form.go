package validate

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// form is one subschema, seen as the work it makes: which other subschemas it applies to the same value, which to the
// members and elements, and what each application costs. The validator walks the schema along every path, so that a
// few hundred bytes can ask for more steps than there are atoms; the forms count those steps without taking them.
type form struct {
	id      int
	here    []*form // applied to the same value
	closure []use   // this form and all that it applies to the same value, directly or not; set by close
	state   uint8   // of close

	accepts  kind // kinds of value whose members and elements are looked at
	weight   int64
	numbers  int64 // of the schema, that a number is compared with
	pattern  *pattern
	isRegexp bool // the value must be a regular expression itself, and is parsed
	unique   bool

	properties map[string]*form
	folded     map[string]string // fold of each declared property -> its name
	byPattern  []patternForm
	additional *form
	names      *form
	items      []*form // the first elements
	rest       *form   // the elements after those
	members    []*form // applied to every member beside the others
	elements   []*form // applied to every element beside the others
}

type patternForm struct {
	pattern *pattern
	form    *form
}

// use is a form and along how many paths it is applied to one value.
type use struct {
	form *form
	n    int64
}

// kind is a set of JSON types.
type kind uint8

const (
	objects kind = 1 << iota
	arrays
	others
)

// graph makes the forms of a compiled schema.
type graph struct {
	forms map[*jsonschema.Schema]*form
	order []*form // in order of id
}

// form returns the form of s, making it and all it reaches. A nil schema has none. The recursion is as deep as the
// longest chain of subschemas, which the budget of a schema bounds.
func (g *graph) form(s *jsonschema.Schema) *form {
	if s == nil {
		return nil
	}
	if f := g.forms[s]; f != nil {
		return f
	}
	f := &form{id: len(g.order), unique: s.UniqueItems, accepts: accepts(s.Types)}
	f.weigh(s)
	f.isRegexp = s.Format != nil && s.Format.Name == "regex"
	f.pattern, _ = s.Pattern.(*pattern)
	g.forms[s] = f
	g.order = append(g.order, f)
	g.sameValue(f, s)
	g.members(f, s)
	g.elements(f, s)
	return f
}

// sameValue links what s applies to the value itself.
func (g *graph) sameValue(f *form, s *jsonschema.Schema) {
	link := func(list ...*jsonschema.Schema) {
		for _, sub := range list {
			if sub != nil {
				f.here = append(f.here, g.form(sub))
			}
		}
	}
	link(s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else)
	if s.DynamicRef != nil {
		link(s.DynamicRef.Ref) // with one document and no inner identifiers there is no other target
	}
	link(s.AllOf...)
	link(s.AnyOf...)
	link(s.OneOf...)
	for _, sub := range s.DependentSchemas {
		link(sub)
	}
	for _, d := range s.Dependencies {
		if sub, ok := d.(*jsonschema.Schema); ok {
			link(sub)
		}
	}
}

func (g *graph) members(f *form, s *jsonschema.Schema) {
	if len(s.Properties) > 0 {
		f.properties = make(map[string]*form, len(s.Properties))
		f.folded = make(map[string]string, len(s.Properties))
	}
	for name, sub := range s.Properties {
		f.properties[name] = g.form(sub)
		f.folded[fold(name)] = name
	}
	for re, sub := range s.PatternProperties {
		if p, ok := re.(*pattern); ok {
			f.byPattern = append(f.byPattern, patternForm{p, g.form(sub)})
		}
	}
	if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		f.additional = g.form(sub)
	}
	f.names = g.form(s.PropertyNames)
	if s.UnevaluatedProperties != nil {
		f.members = append(f.members, g.form(s.UnevaluatedProperties))
	}
}

func (g *graph) elements(f *form, s *jsonschema.Schema) {
	switch items := s.Items.(type) {
	case *jsonschema.Schema:
		f.rest = g.form(items)
	case []*jsonschema.Schema:
		for _, sub := range items {
			f.items = append(f.items, g.form(sub))
		}
	}
	if sub, ok := s.AdditionalItems.(*jsonschema.Schema); ok && f.rest == nil {
		f.rest = g.form(sub)
	}
	for _, sub := range s.PrefixItems {
		f.items = append(f.items, g.form(sub))
	}
	if s.Items2020 != nil {
		f.rest = g.form(s.Items2020)
	}
	for _, sub := range []*jsonschema.Schema{s.Contains, s.UnevaluatedItems} {
		if sub != nil {
			f.elements = append(f.elements, g.form(sub))
		}
	}
}

// What the validator's work costs, in steps of about 0.1 microseconds; measured, see TestJustWithinTheLimit.
const (
	stepsApply  = 20  // applying one subschema to one value, when it fails
	stepsMember = 5   // looking at one member or element
	stepsNumber = 40  // comparing two numbers exactly
	stepsValue  = 100 // what each value may cost beyond Limits.Work
)

// weigh sets what one application costs beside the value's own size: weight always, and numbers when the value is a
// number or holds some.
func (f *form) weigh(s *jsonschema.Schema) {
	f.weight = stepsApply + int64(len(s.Required))/4
	if s.Enum != nil {
		for _, v := range s.Enum.Values {
			f.compare(v)
		}
	}
	if s.Const != nil {
		f.compare(*s.Const)
	}
	for _, bound := range []*big.Rat{s.Minimum, s.Maximum, s.ExclusiveMinimum, s.ExclusiveMaximum, s.MultipleOf} {
		if bound != nil {
			f.numbers++
		}
	}
	for _, list := range s.DependentRequired {
		f.weight += int64(len(list))
	}
	for _, d := range s.Dependencies {
		if list, ok := d.([]string); ok {
			f.weight += int64(len(list))
		}
	}
}

// compare adds what comparing with v costs.
func (f *form) compare(v any) {
	f.weight++
	switch v := v.(type) {
	case json.Number:
		f.numbers++
	case map[string]any:
		for _, sub := range v {
			f.compare(sub)
		}
	case []any:
		for _, sub := range v {
			f.compare(sub)
		}
	}
}

// accepts returns the kinds that a list of types leaves; no list leaves all.
func accepts(t *jsonschema.Types) kind {
	if t == nil || t.IsEmpty() {
		return objects | arrays | others
	}
	k := others
	for _, name := range t.ToStrings() {
		switch name {
		case "object":
			k |= objects
		case "array":
			k |= arrays
		}
	}
	return k
}

// States of a form in close.
const (
	untouched = iota
	open
	closed
)

// close computes all closures, or says why the schema cannot be used.
func (g *graph) close() error {
	total := 0
	for _, f := range g.order {
		if err := g.closeForm(f, &total); err != nil {
			return err
		}
	}
	return nil
}

func (g *graph) closeForm(f *form, total *int) error {
	switch f.state {
	case closed:
		return nil
	case open:
		return errors.New("a subschema refers to itself without going into the value")
	}
	f.state = open
	f.closure = []use{{f, 1}}
	at := map[*form]int{f: 0}
	for _, sub := range f.here {
		if err := g.closeForm(sub, total); err != nil {
			return err
		}
		for _, u := range sub.closure {
			i, ok := at[u.form]
			if !ok {
				i = len(f.closure)
				at[u.form] = i
				f.closure = append(f.closure, use{u.form, 0})
			}
			f.closure[i].n = addSteps(f.closure[i].n, u.n)
		}
	}
	if *total += len(f.closure); *total > maxReach {
		return errors.New("its subschemas refer to each other more than " + strconv.Itoa(maxReach) + " times")
	}
	f.state = closed
	return nil
}

// manySteps is where counts of steps saturate, far above every limit.
const manySteps = 1 << 40

func addSteps(a, b int64) int64 { return min(a+b, manySteps) }

// timesSteps multiplies counts that are at most manySteps.
func timesSteps(a, b int64) int64 {
	if a == 0 || b <= manySteps/a {
		return a * b
	}
	return manySteps
}
