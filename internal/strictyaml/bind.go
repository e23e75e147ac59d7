package strictyaml

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// binder walks a syntax tree and a Go value together.
type binder struct {
	options Options
	places  *Places
	found   Problems
}

func (b *binder) fail(n ast.Node, message, fix string) { b.failToken(nil, n, message, fix) }

// failToken adds a problem at t or, when that is nil, at the first token of n.
func (b *binder) failToken(t *token.Token, n ast.Node, message, fix string) {
	place := start(n)
	if t != nil && t.Position != nil {
		place = Place{Line: t.Position.Line, Column: t.Position.Column}
	}
	b.found = append(b.found, &Problem{File: b.options.Name, Line: place.Line, Column: place.Column, Message: message, Fix: fix})
}

// start is where a node begins; the parser gives a mapping the position of its first colon.
func start(n ast.Node) Place {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return start(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return start(m.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return Place{Line: max(1, t.Position.Line), Column: max(1, t.Position.Column)}
	}
	return Place{Line: 1, Column: 1}
}

// value reads n into v. path names the value in errors; enum lists allowed texts, comma-separated, or is empty.
func (b *binder) value(n ast.Node, v reflect.Value, path, enum string) {
	if !b.plain(n, path) {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	_, isScalar := v.Addr().Interface().(Scalar)
	switch {
	case isScalar && (v.Kind() != reflect.Struct || !isMapping(n)):
		b.scalar(n, v.Addr().Interface().(Scalar), path)
	case v.Kind() == reflect.Struct:
		b.structure(n, v, path)
	case v.Kind() == reflect.Map:
		b.mapping(n, v, path)
	case v.Kind() == reflect.Slice:
		b.list(n, v, path)
	default:
		b.basic(n, v, path, enum)
	}
}

// plain refuses what is not a mapping, a list or a scalar.
func (b *binder) plain(n ast.Node, path string) bool {
	const keep = "write the value out; this file has mappings, lists and scalars only"
	switch n.(type) {
	case *ast.NullNode:
		b.fail(n, named(path)+"has no value", "give it a value or remove the key")
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		b.fail(n, "anchors, aliases and merge keys are not allowed", keep)
	case *ast.TagNode:
		b.fail(n, "tags are not allowed", keep)
	case *ast.DirectiveNode:
		b.fail(n, "directives are not allowed", keep)
	default:
		return true
	}
	return false
}

func named(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

func isMapping(n ast.Node) bool { _, ok := n.(ast.MapNode); return ok }

// entry is one key of a mapping with its value.
type entry struct {
	key   string
	node  ast.Node
	value ast.Node
}

// entries returns the keys of a mapping that can be used; the others are reported.
func (b *binder) entries(n ast.Node, path string) []entry {
	m, ok := n.(ast.MapNode)
	if !ok {
		b.fail(n, named(path)+"a mapping is needed here, not "+kind(n), "")
		return nil
	}
	var all []entry
	seen := map[string]Place{}
	for iter := m.MapRange(); iter.Next(); {
		key := iter.Key()
		text, ok := key.(*ast.StringNode)
		if !ok {
			b.fail(key, named(path)+"a key must be a plain string, not "+kind(key), "")
			continue
		}
		if first, twice := seen[text.Value]; twice {
			b.fail(key, fmt.Sprintf("%q stands here twice; first in line %d", text.Value, first.Line), "remove one of the two")
			continue
		}
		seen[text.Value] = start(key)
		all = append(all, entry{text.Value, key, iter.Value()})
	}
	return all
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (b *binder) structure(n ast.Node, v reflect.Value, path string) {
	fields := map[string]reflect.StructField{}
	var names []string
	for f := range v.Type().Fields() {
		if name := f.Tag.Get("yaml"); name != "" {
			fields[name] = f
			names = append(names, name)
		}
	}
	for _, e := range b.entries(n, path) {
		field, ok := fields[e.key]
		if !ok {
			b.fail(e.node, "unknown key "+strconv.Quote(e.key)+inside(path), suggest(e.key, names))
			continue
		}
		at := join(path, e.key)
		b.places.at[at] = start(e.node)
		b.value(e.value, v.FieldByIndex(field.Index), at, field.Tag.Get("enum"))
	}
}

func inside(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

func suggest(key string, names []string) string {
	if best := nearest(key, names); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known keys here: " + strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

func (b *binder) mapping(n ast.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range b.entries(n, path) {
		at := join(path, e.key)
		b.places.at[at] = start(e.node)
		item := reflect.New(v.Type().Elem()).Elem()
		b.value(e.value, item, at, "")
		v.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), item)
	}
}

func (b *binder) list(n ast.Node, v reflect.Value, path string) {
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		b.fail(n, named(path)+"a list is needed here, not "+kind(n), "write [a, b] or one \"- item\" a line")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(sequence.Values), len(sequence.Values)))
	for i, item := range sequence.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		b.places.at[at] = start(item)
		b.value(item, v.Index(i), at, "")
	}
}

// text returns the expanded text of a scalar that is a string or a number, and how to show it in an error.
func (b *binder) text(n ast.Node, path string) (text, shown string, ok bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		text = s.Value
	case *ast.LiteralNode:
		text = s.Value.Value
	case *ast.IntegerNode, *ast.FloatNode:
		text = n.GetToken().Value
	default:
		b.fail(n, named(path)+"a single value is needed here, not "+kind(n), "")
		return "", "", false
	}
	value, source, problem := b.expand(text)
	if problem != "" {
		b.fail(n, named(path)+problem, "set the variable, or write $${ for a literal ${")
		return "", "", false
	}
	if source == "" {
		return value, strconv.Quote(value), true
	}
	place := b.places.at[path]
	place.Source = source
	b.places.at[path] = place
	return value, "the value of " + source, true
}

func (b *binder) scalar(n ast.Node, s Scalar, path string) {
	text, shown, ok := b.text(n, path)
	if !ok {
		return
	}
	if _, hidden := s.(Sensitive); hidden {
		shown = "the value"
	}
	if err := s.SetScalar(text); err != nil {
		b.fail(n, fmt.Sprintf("%s%s %v", named(path), shown, err), "")
	}
}

// decimal is a whole number without a leading zero, which some readers of YAML take for octal.
var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})$`)

// basic reads a string, a bool or a whole number.
func (b *binder) basic(n ast.Node, v reflect.Value, path, enum string) {
	if v.Kind() == reflect.Bool {
		if s, ok := n.(*ast.BoolNode); ok {
			v.SetBool(s.Value)
			return
		}
		b.fail(n, named(path)+"true or false is needed here, not "+kind(n), "")
		return
	}
	_, isText := n.(*ast.StringNode)
	_, isBlock := n.(*ast.LiteralNode)
	if v.Kind() == reflect.String && !isText && !isBlock {
		b.fail(n, named(path)+"a string is needed here, not "+kind(n), "put the value in quotes")
		return
	}
	text, shown, ok := b.text(n, path)
	if !ok {
		return
	}
	if v.Kind() == reflect.String {
		if enum != "" && !slices.Contains(strings.Split(enum, ","), text) {
			b.fail(n, fmt.Sprintf("%s%s is not one of %s", named(path), shown, strings.ReplaceAll(enum, ",", ", ")), "")
		}
		v.SetString(text)
		return
	}
	if !decimal.MatchString(text) {
		b.fail(n, fmt.Sprintf("%s%s is not a whole decimal number", named(path), shown), "write digits only, without a leading zero")
		return
	}
	number, _ := strconv.ParseInt(text, 10, 64) // the pattern admits nothing that does not fit
	v.SetInt(number)
}

// kind names what stands in the file, for errors.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "a string"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	}
	return "something else"
}
