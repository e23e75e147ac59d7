package strictyaml_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/strictyaml"
)

type wait time.Duration

func (w *wait) SetScalar(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("is not a duration")
	}
	*w = wait(d)
	return nil
}

type hidden struct{ text string }

func (h *hidden) SetScalar(text string) error {
	if len(text) < 4 {
		return errors.New("is too short")
	}
	h.text = text
	return nil
}

func (h *hidden) Sensitive() {}

type limit struct {
	Capacity int `yaml:"capacity"`
	Refill   int `yaml:"refill"`
}

func (l *limit) SetScalar(text string) error {
	if text != "10/s" {
		return errors.New("is not a rate")
	}
	*l = limit{10, 10}
	return nil
}

type item struct {
	Name    string            `yaml:"name"`
	Command []string          `yaml:"command"`
	Env     map[string]string `yaml:"env"`
}

type file struct {
	Listen  string           `yaml:"listen"`
	Mode    string           `yaml:"mode" enum:"durable,async"`
	Count   int              `yaml:"count"`
	On      bool             `yaml:"on"`
	Timeout wait             `yaml:"timeout"`
	Secret  hidden           `yaml:"secret"`
	Limit   limit            `yaml:"limit"`
	Roles   map[string]limit `yaml:"roles"`
	Items   []item           `yaml:"items"`
	Nested  *item            `yaml:"nested"`
}

func options() strictyaml.Options {
	return strictyaml.Options{
		Name: "c.yaml",
		Dir:  "/conf",
		Getenv: func(name string) (string, bool) {
			v, ok := map[string]string{"PORT": "8443", "CANARY": "abc-canary", "SHORT": "cnr"}[name]
			return v, ok
		},
		ReadFile: func(name string) ([]byte, error) {
			if name == "/conf/secret" {
				return []byte("from-file\r\n"), nil
			}
			return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
		},
	}
}

func TestReads(t *testing.T) {
	src := `# comment
listen: 127.0.0.1:${PORT}
mode: async
count: 12
on: true
timeout: 90s
secret: ${file:secret}
limit: 10/s
roles: {user: {capacity: 5, refill: 1}, other: "10/s"}
items:
  - name: a
    command: [x, "$${PORT}"]
    env:
      A: "1"
  - {name: b}
nested: {name: n}
`
	var got file
	places, err := strictyaml.Decode([]byte(src), &got, options())
	if err != nil {
		t.Fatal(err)
	}
	want := file{
		Listen: "127.0.0.1:8443", Mode: "async", Count: 12, On: true, Timeout: wait(90 * time.Second),
		Secret: hidden{"from-file"}, Limit: limit{10, 10}, Roles: map[string]limit{"user": {5, 1}, "other": {10, 10}},
		Items:  []item{{Name: "a", Command: []string{"x", "${PORT}"}, Env: map[string]string{"A": "1"}}, {Name: "b"}},
		Nested: &item{Name: "n"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(hidden{})); diff != "" {
		t.Error(diff)
	}
	if p := places.Find("items[0].command"); p.Line != 12 || p.Column != 5 {
		t.Errorf("items[0].command found at %d:%d", p.Line, p.Column)
	}
	if p := places.Find("items[1].env.X"); p.Line != 15 || p.Column != 5 {
		t.Errorf("a missing key is placed at %d:%d, not at its parent", p.Line, p.Column)
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"unknown key", "lisetn: x", `c.yaml:1:1: unknown key "lisetn" | did you mean "listen"?`},
		{"unknown key in case", "Listen: x", `c.yaml:1:1: unknown key "Listen" | did you mean "listen"?`},
		{"unknown nested key", "items:\n  - nam: x", `c.yaml:2:5: unknown key "nam" in items[0] | did you mean "name"?`},
		{"far from all", "items:\n  - zzzzzzzz: x", `c.yaml:2:5: unknown key "zzzzzzzz" in items[0] | known keys here: command, env, name`},
		{"duplicate", "count: 1\ncount: 2", `c.yaml:2:1: "count" stands here twice; first in line 1 | remove one of the two`},
		{"duplicate in a map", "roles:\n  a: 10/s\n  a: 10/s", `c.yaml:3:3: "a" stands here twice; first in line 2 | remove one of the two`},
		{"second document", "count: 1\n---\ncount: 2", `c.yaml:2:1: a second document begins here | keep one document in the file; remove the --- line`},
		{"octal", "count: 0123", `c.yaml:1:8: count: "0123" is not a whole decimal number | write digits only, without a leading zero`},
		{"octal 0o", "count: 0o17", `c.yaml:1:8: count: "0o17" is not a whole decimal number | write digits only, without a leading zero`},
		{"hex", "count: 0x10", `c.yaml:1:8: count: "0x10" is not a whole decimal number | write digits only, without a leading zero`},
		{"underscore", "count: 1_0", `c.yaml:1:8: count: "1_0" is not a whole decimal number | write digits only, without a leading zero`},
		{"fraction", "count: 1.5", `c.yaml:1:8: count: "1.5" is not a whole decimal number | write digits only, without a leading zero`},
		{"number for a string", "listen: 80", `c.yaml:1:9: listen: a string is needed here, not a number | put the value in quotes`},
		{"number for an item", "items: [{command: [x, 8080]}]", `c.yaml:1:23: items[0].command[1]: a string is needed here, not a number | put the value in quotes`},
		{"yes for true", "on: yes", `c.yaml:1:5: on: true or false is needed here, not a string | `},
		{"empty value", "listen:\n", `c.yaml:1:9: listen: has no value | give it a value or remove the key`},
		{"list for a mapping", "nested: [a]", `c.yaml:1:9: nested: a mapping is needed here, not a list | `},
		{"mapping for a list", "items: {a: b}", "c.yaml:1:8: items: a list is needed here, not a mapping | write [a, b] or one \"- item\" a line"},
		{"list at the top", "- a", `c.yaml:1:1: a mapping is needed here, not a list | `},
		{"bad scalar", "timeout: soon", `c.yaml:1:10: timeout: "soon" is not a duration | `},
		{"bad enum", "mode: fast", `c.yaml:1:7: mode: "fast" is not one of durable, async | `},
		{"either form", "limit: fast", `c.yaml:1:8: limit: "fast" is not a rate | `},
		{"either form's mapping", "limit: {capacty: 1}", `c.yaml:1:9: unknown key "capacty" in limit | did you mean "capacity"?`},
		{"missing variable", "listen: a${NOPE}b", `c.yaml:1:9: listen: the environment variable NOPE is not set | set the variable, or write $${ for a literal ${`},
		{"open variable", "listen: ${NOPE", `c.yaml:1:9: listen: a ${ is not closed | set the variable, or write $${ for a literal ${`},
		{"missing file", "listen: ${file:no}", `c.yaml:1:9: listen: reading ${file:no}: file does not exist | set the variable, or write $${ for a literal ${`},
		{"expanded value is not shown", "mode: ${CANARY}", `c.yaml:1:7: mode: the value of ${CANARY} is not one of durable, async | `},
		{"secret is not shown", "secret: cnr", `c.yaml:1:9: secret: the value is too short | `},
		{"alias", "items: &a [{name: x}]\nnested: *a", "c.yaml:1:8: anchors, aliases and merge keys are not allowed | write the value out; this file has mappings, lists and scalars only" +
			"\nc.yaml:2:9: anchors, aliases and merge keys are not allowed | write the value out; this file has mappings, lists and scalars only"},
		{"merge key", "nested:\n  <<: {name: x}", `c.yaml:2:3: nested: a key must be a plain string, not something else | `},
		{"tag", "count: !!int 5", `c.yaml:1:8: tags are not allowed | write the value out; this file has mappings, lists and scalars only`},
		{"number key", "1: x", `c.yaml:1:1: a key must be a plain string, not a number | `},
		{"syntax", "listen: a: b", `c.yaml:1:9: mapping value is not allowed in this context | `},
		{"tab", "nested:\n\tname: x", `c.yaml:2:1: found character '	' that cannot start any token | `},
		{"not UTF-8", "listen: \xff", `c.yaml:1:1: the line is not valid UTF-8 | save the file as UTF-8`},
		{"NUL", "listen: \x00", `c.yaml:1:9: the line contains a NUL byte | save the file as UTF-8`},
		{"deep", strings.Repeat("[", 101), `c.yaml:1:101: more than 100 brackets are open | `},
		{"several", "lisetn: x\ncount: 01\nmode: z", `c.yaml:1:1: unknown key "lisetn" | did you mean "listen"?` +
			"\n" + `c.yaml:2:8: count: "01" is not a whole decimal number | write digits only, without a leading zero` +
			"\n" + `c.yaml:3:7: mode: "z" is not one of durable, async | `},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f file
			_, err := strictyaml.Decode([]byte(c.src), &f, options())
			if diff := cmp.Diff(c.want, flatten(err)); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(flatten(err), "canary") || strings.Contains(flatten(err), "cnr") {
				t.Error("the error shows a secret")
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	for _, src := range []string{strings.Repeat("#\n", 200<<10), "listen: " + strings.Repeat("a", 9<<10)} {
		var f file
		if _, err := strictyaml.Decode([]byte(src), &f, options()); err == nil {
			t.Error("accepted")
		}
	}
}

func TestProblemHidesExpandedValue(t *testing.T) {
	var f file
	places, err := strictyaml.Decode([]byte("count: 1\nlisten: ${CANARY}"), &f, options())
	if err != nil {
		t.Fatal(err)
	}
	got := places.Problem("listen", "listen: "+f.Listen+" is bad", "mend it").Error()
	if want := "c.yaml:2:1: listen: the value of ${CANARY} cannot be used here"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func flatten(err error) string {
	var ps strictyaml.Problems
	if !errors.As(err, &ps) {
		return ""
	}
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error() + " | " + p.Hint()
	}
	return strings.Join(lines, "\n")
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"a: 1", "items: [{name: x}]", "limit: 10/s", "? a\n: b", "a: |\n  x", "<<: *x", "%YAML 1.2\n---\n", "- - - a", "\"\\u0000\": 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		var v file
		_, err := strictyaml.Decode([]byte(src), &v, options())
		var ps strictyaml.Problems
		if err != nil && (!errors.As(err, &ps) || len(ps) == 0) {
			t.Fatalf("error without a position: %v", err)
		}
		for _, p := range ps {
			if p.Line < 1 || p.Column < 1 {
				t.Fatalf("no position: %v", p)
			}
		}
	})
}
