package server_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/server"
)

var update = flag.Bool("update", false, "write the generated files")

// TestGenerated compares the reference and the schema with the field comments. Run with -update to write them.
func TestGenerated(t *testing.T) {
	docs := comments(t, "config.go", "scalars.go")
	for name, want := range map[string]string{
		"sallyport.schema.json":                               schema(t, docs),
		filepath.Join("..", "..", "docs", "configuration.md"): reference(docs),
	} {
		if *update {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is stale; run: go test ./internal/server -run Generated -update\n%s", name, diff)
		}
	}
}

// comments returns the comment of every struct field as "Type.Field", on one line.
func comments(t *testing.T, files ...string) map[string]string {
	docs := map[string]string{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, id := range field.Names {
						docs[spec.Name.Name+"."+id.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
					}
				}
			}
			return true
		})
	}
	return docs
}

// setting is one key of the file.
type setting struct {
	name, doc, fallback, enum string
	kind                      reflect.Type
}

func settings(t reflect.Type, docs map[string]string) []setting {
	var all []setting
	for f := range t.Fields() {
		if name := f.Tag.Get("yaml"); name != "" {
			all = append(all, setting{name, docs[t.Name()+"."+f.Name], f.Tag.Get("default"), f.Tag.Get("enum"), f.Type})
		}
	}
	return all
}

// form says how a type is written: for people, and as JSON Schema.
func form(t reflect.Type) (words string, schema map[string]any) {
	text := func(pattern string) map[string]any { return map[string]any{"type": "string", "pattern": pattern} }
	switch t {
	case reflect.TypeFor[server.Duration]():
		return "duration", text(`^[0-9.]+(ns|us|ms|s|m|h|d)([0-9.]+(ms|s|m))*$|\$\{`)
	case reflect.TypeFor[server.Size]():
		return "size", map[string]any{"type": []string{"string", "integer"}}
	case reflect.TypeFor[server.DiskSize]():
		return "size", map[string]any{"type": []string{"string", "integer"}}
	case reflect.TypeFor[server.Rate]():
		return "rate", map[string]any{"type": []string{"string", "number"}}
	case reflect.TypeFor[server.Prefix]():
		return "network", map[string]any{"type": "string"}
	case reflect.TypeFor[server.Secret]():
		return "secret", map[string]any{"type": "string"}
	case reflect.TypeFor[server.Limit]():
		return "limit", nil
	}
	switch t.Kind() {
	case reflect.String:
		return "string", map[string]any{"type": "string"}
	case reflect.Bool:
		return "true or false", map[string]any{"type": "boolean"}
	case reflect.Int:
		return "number", map[string]any{"type": "integer", "minimum": 1}
	case reflect.Slice:
		words, _ := form(t.Elem())
		return "list of " + words, nil
	case reflect.Map:
		words, _ := form(t.Elem())
		return "mapping of name to " + words, nil
	}
	return "mapping", nil
}

func schema(t *testing.T, docs map[string]string) string {
	root := object(reflect.TypeFor[server.File](), docs)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "sallyport.yaml"
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

func object(t reflect.Type, docs map[string]string) map[string]any {
	properties := map[string]any{}
	for _, s := range settings(t, docs) {
		p := node(s.kind, docs)
		if s.enum != "" {
			p["enum"] = strings.Split(s.enum, ",")
		}
		p["description"] = s.doc
		if s.fallback != "" {
			p["description"] = s.doc + " Default: " + s.fallback + "."
		}
		properties[s.name] = p
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

func node(t reflect.Type, docs map[string]string) map[string]any {
	if _, simple := form(t); simple != nil {
		return simple
	}
	switch {
	case t == reflect.TypeFor[server.Limit]():
		return map[string]any{"anyOf": []any{map[string]any{"type": "string"}, object(t, docs)}}
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "items": node(t.Elem(), docs)}
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": node(t.Elem(), docs)}
	}
	return object(t, docs)
}

func reference(docs map[string]string) string {
	var b strings.Builder
	b.WriteString(`# Configuration

Generated from the field comments of internal/server/config.go by its test; do not edit.

` + "`sallyport.yaml`" + ` is strict: an unknown or repeated key, a value of another type, a number that looks octal and a second
document are errors with file, line and column. Anchors, aliases, tags and merge keys are refused.

- ` + "`${NAME}`" + ` in a value is replaced by an environment variable, ` + "`${file:path}`" + ` by the content of a file (a relative
  path starts at the directory of the configuration; one final line end is dropped). ` + "`$${`" + ` stands for a literal ` + "`${`" + `.
  A variable that is not set is an error, and no message shows what was put in.
- A duration is written as in Go, such as ` + "`30s` or `1h30m`" + `, or in days, such as ` + "`90d`" + `. A size is ` + "`65536`, `64KiB` or `4MiB`" + `.
- A limit is ` + "`2000/s`, `100/m`, `20/15m`, `{capacity: 300, refill: 50}` or `off`" + `.
- A changed file is taken up without a restart, as a whole or not at all; so is SIGHUP. What needs a restart is refused then,
  and recorded: listen, admin, tls, data_dir, public_url, auth, audit and detect. Certificate files are taken up when they change.

An editor that knows JSON Schema can check the file: ` + "`sallyport config schema > sallyport.schema.json`" + `.
`)
	section(&b, "", reflect.TypeFor[server.File](), docs)
	return b.String()
}

// section writes a table of the keys of t, then one section for each mapping in it.
func section(b *strings.Builder, path string, t reflect.Type, docs map[string]string) {
	title := path
	if path == "" {
		title = "Top level"
	}
	fmt.Fprintf(b, "\n## %s\n\n| key | form | default | meaning |\n|---|---|---|---|\n", title)
	var deeper []setting
	for _, s := range settings(t, docs) {
		words, _ := form(s.kind)
		if s.enum != "" {
			words = "`" + strings.ReplaceAll(s.enum, ",", "`, `") + "`"
		}
		fallback := ""
		if s.fallback != "" {
			fallback = "`" + s.fallback + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", s.name, words, fallback, strings.NewReplacer("|", "\\|", "<", "\\<").Replace(s.doc))
		if _, inner := place(s); inner != nil {
			deeper = append(deeper, s)
		}
	}
	for _, s := range deeper {
		suffix, inner := place(s)
		name := s.name + suffix
		if path != "" {
			name = path + "." + name
		}
		section(b, name, inner, docs)
	}
}

// place returns the struct within a setting that has a section of its own, and how its name goes on.
func place(s setting) (suffix string, inner reflect.Type) {
	t := s.kind
	switch t.Kind() {
	case reflect.Slice:
		suffix, t = "[]", t.Elem()
	case reflect.Map:
		suffix, t = ".<name>", t.Elem()
	}
	words, simple := form(t)
	if t.Kind() != reflect.Struct || simple != nil || words == "limit" {
		return "", nil
	}
	return suffix, t
}
