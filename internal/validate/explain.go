package validate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	kinds "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// check checks arguments against the tool's schema.
func (t *tool) check(args []byte, l Limits) *Problem {
	p := t.program()
	switch {
	case p.fault != "":
		return problem("", "schema: this tool cannot be called, because its schema cannot be used: "+p.fault)
	case len(args) > l.Size:
		return problem("", "limit: want at most "+strconv.Itoa(l.Size)+" bytes")
	case len(args) == 0:
		args = []byte("{}")
	}
	w, ok := t.walks.Get().(*walk)
	if !ok {
		w = p.newWalk()
	}
	v, bad := w.read(p.root, args, l)
	w.input = bytes.Buffer{} // the arguments are the caller's
	t.walks.Put(w)
	if bad == nil {
		bad = p.validate(v, args)
	}
	if bad != nil {
		bad.Place = p.place(bad.Pointer)
	}
	return bad
}

// validate asks the validator. The work was bounded by read.
func (p *program) validate(v any, args []byte) (bad *Problem) {
	// Schema and arguments are hostile and the validator is not ours: a panic costs the call, not the gateway.
	defer func() {
		if recover() != nil {
			bad = problem("", "schema: checking the arguments broke down")
		}
	}()
	err := p.schema.Validate(v)
	if err == nil {
		return nil
	}
	var failed *jsonschema.ValidationError
	if !errors.As(err, &failed) {
		return problem("", "schema: the arguments do not match")
	}
	return first(causes(failed, nil), args)
}

// maxCauses bounds how many causes are compared to find the first one.
const maxCauses = 10_000

// causes appends the failures of which each alone makes the arguments wrong, as Problems with full pointers.
func causes(e *jsonschema.ValidationError, list []Problem) []Problem {
	if len(list) >= maxCauses {
		return list
	}
	at := pointer(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kinds.Schema, *kinds.Group, *kinds.AllOf, *kinds.Reference:
		for _, sub := range e.Causes {
			list = causes(sub, list)
		}
		return list
	case *kinds.AnyOf, *kinds.OneOf:
		if branch := likely(e); branch != nil {
			return causes(branch, list)
		}
	case *kinds.AdditionalProperties:
		for _, name := range k.Properties {
			list = append(list, Problem{Pointer: at + pointer([]string{name}), Message: "additionalProperties: want declared names only"})
		}
		return list
	case *kinds.PropertyNames:
		return append(list, Problem{Pointer: at + pointer([]string{k.Property}), Message: "propertyNames: want another name"})
	}
	return append(list, Problem{Pointer: at, Message: expectation(e.ErrorKind)})
}

// likely returns the branch of an anyOf or oneOf that was probably meant: the only one that the value's type fits.
func likely(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	var found *jsonschema.ValidationError
	for _, branch := range e.Causes {
		inner := branch
		for {
			if _, ok := inner.ErrorKind.(*kinds.Reference); !ok || len(inner.Causes) != 1 {
				break
			}
			inner = inner.Causes[0]
		}
		if _, ok := inner.ErrorKind.(*kinds.Type); ok && len(inner.InstanceLocation) == len(e.InstanceLocation) {
			continue
		}
		if found != nil {
			return nil
		}
		found = branch
	}
	return found
}

// scanned bounds the arguments that are read once more to find which of several failures comes first.
const scanned = 64 << 10

// first returns the failure that comes first in the arguments; for long arguments, the one whose pointer sorts first.
func first(list []Problem, args []byte) *Problem {
	if len(list) == 0 {
		return problem("", "schema: the arguments do not match")
	}
	slices.SortFunc(list, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Pointer, b.Pointer), strings.Compare(a.Message, b.Message))
	})
	found := list[0]
	if list[len(list)-1].Pointer != found.Pointer && len(args) <= scanned {
		found = firstIn(list, args)
	}
	return problem(found.Pointer, found.Message)
}

// firstIn reads args until it meets the place of one of the failures, which are sorted.
func firstIn(list []Problem, args []byte) Problem {
	dec := jsontext.NewDecoder(bytes.NewReader(args))
	for {
		if _, err := dec.ReadToken(); err != nil {
			return list[0]
		}
		i, ok := slices.BinarySearchFunc(list, string(dec.StackPointer()), func(p Problem, at string) int {
			return strings.Compare(p.Pointer, at)
		})
		if ok {
			return list[i]
		}
	}
}

// pointer writes tokens as an RFC 6901 pointer.
func pointer(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(t))
	}
	return b.String()
}

// expectation says what a keyword wants. It uses only what the schema says, never the value.
func expectation(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kinds.Type:
		return "type: want " + strings.Join(k.Want, " or ")
	case *kinds.Required:
		return "required: want " + names(k.Missing)
	case *kinds.Dependency:
		return "dependencies: want also " + names(k.Missing)
	case *kinds.DependentRequired:
		return "dependentRequired: want also " + names(k.Missing)
	case *kinds.Enum:
		return "enum: want one of " + values(k.Want)
	case *kinds.Const:
		return "const: want " + values([]any{k.Want})
	case *kinds.Format:
		return "format: want " + k.Want
	case *kinds.Pattern:
		return "pattern: want a match of " + strconv.Quote(cut(k.Want, maxMessage))
	case *kinds.FalseSchema:
		return "false: want nothing here"
	case *kinds.AnyOf:
		return "anyOf: want one of several forms"
	case *kinds.OneOf:
		return "oneOf: want exactly one of several forms"
	case *kinds.Not:
		return "not: want another value"
	case *kinds.Contains:
		return "contains: want a certain element"
	case *kinds.UniqueItems:
		return "uniqueItems: want no element twice"
	}
	return bounds(k)
}

// bounds says what a keyword that compares with a number wants.
func bounds(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kinds.Minimum:
		return "minimum: want at least " + number(k.Want)
	case *kinds.Maximum:
		return "maximum: want at most " + number(k.Want)
	case *kinds.ExclusiveMinimum:
		return "exclusiveMinimum: want more than " + number(k.Want)
	case *kinds.ExclusiveMaximum:
		return "exclusiveMaximum: want less than " + number(k.Want)
	case *kinds.MultipleOf:
		return "multipleOf: want a multiple of " + number(k.Want)
	case *kinds.MinLength:
		return fmt.Sprintf("minLength: want at least %d characters", k.Want)
	case *kinds.MaxLength:
		return fmt.Sprintf("maxLength: want at most %d characters", k.Want)
	case *kinds.MinItems:
		return fmt.Sprintf("minItems: want at least %d elements", k.Want)
	case *kinds.MaxItems:
		return fmt.Sprintf("maxItems: want at most %d elements", k.Want)
	case *kinds.MinContains:
		return fmt.Sprintf("minContains: want at least %d such elements", k.Want)
	case *kinds.MaxContains:
		return fmt.Sprintf("maxContains: want at most %d such elements", k.Want)
	case *kinds.AdditionalItems:
		return "additionalItems: want fewer elements"
	case *kinds.MinProperties:
		return fmt.Sprintf("minProperties: want at least %d members", k.Want)
	case *kinds.MaxProperties:
		return fmt.Sprintf("maxProperties: want at most %d members", k.Want)
	}
	return "schema: want another value"
}

// names lists member names that a schema declares.
func names(list []string) string {
	var b strings.Builder
	for i, n := range list {
		if b.Len() > maxMessage {
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(cut(n, maxMessage)))
	}
	return b.String()
}

// values lists values that a schema names.
func values(list []any) string {
	var b strings.Builder
	for i, v := range list {
		if b.Len() > maxMessage {
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		switch v := v.(type) {
		case string:
			b.WriteString(strconv.Quote(cut(v, maxMessage)))
		case json.Number:
			b.WriteString(cut(string(v), maxMessage))
		case bool, nil:
			fmt.Fprint(&b, map[any]string{true: "true", false: "false", nil: "null"}[v])
		case []any:
			b.WriteString("a certain array")
		default:
			b.WriteString("a certain object")
		}
	}
	return b.String()
}

// number writes a bound as a decimal.
func number(r *big.Rat) string {
	if r.IsInt() {
		return cut(r.Num().String(), maxMessage/2)
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}
