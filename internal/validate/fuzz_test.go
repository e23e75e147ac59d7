package validate_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sallyport-mcp/sallyport/internal/validate"
)

type refusing struct{}

func (refusing) Load(string) (any, error) { return nil, errors.New("refused") }

// plain asks the validator alone. ok is false when it cannot compile the schema or read the arguments.
func plain(schema, args []byte) (valid, ok bool) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return false, false
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(args))
	if err != nil {
		return false, false
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(refusing{})
	if c.AddResource("schema:plain", doc) != nil {
		return false, false
	}
	s, err := c.Compile("schema:plain")
	if err != nil {
		return false, false
	}
	return s.Validate(v) == nil, true
}

// FuzzCheck holds that nothing panics, that texts stay short, and the invariant of the package: what Check accepts,
// the plain validator accepts.
func FuzzCheck(f *testing.F) {
	for _, seed := range [][2]string{
		{file, `{"path":"/a","tags":["x"],"lines":9007199254740993}`},
		{file, `{"Path":"/a"}`},
		{`{"$ref":"#"}`, `{}`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"a":{"format":"regex"}},"properties":{"a":{"$ref":"#/definitions/a"}}}`, `{"a":"(?=x)"}`},
		{`{"properties":{"a":{"oneOf":[{"type":"integer"},{"multipleOf":0.1}]}},"unevaluatedProperties":false}`, `{"a":1e-1}`},
		{`{"$dynamicAnchor":"x","properties":{"a":{"$dynamicRef":"#x"}},"patternProperties":{"^b":{"not":{}}},"propertyNames":{"maxLength":2}}`, `{"a":{"b":[1,1]}}`},
		{`{"properties":{"a":{"contains":{"const":{"x":1}},"minContains":2,"uniqueItems":true}},"dependentSchemas":{"a":{"if":{},"then":false}}}`, `{"a":[{"x":1},{"x":1.0}]}`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	limits := validate.Limits{Work: 20_000, Values: 500, Size: 4096}
	f.Fuzz(func(t *testing.T, schema, args []byte) {
		if len(schema) > 4096 {
			return
		}
		c := validate.NewCatalogue(limits)
		c.Learn("s", []jsontext.Value{jsontext.Value(fmt.Sprintf(`{"name":"t","inputSchema":%s}`, schema))})
		c.Faults("s")
		p := c.Check("s", "t", args)
		if p != nil {
			if len(p.Message) > 256 || len(p.Pointer) > 256 || p.Message == "" || p.Pointer != "" && p.Pointer[0] != '/' {
				t.Fatalf("problem %q", p)
			}
			return
		}
		if !c.Tool("s", "t") || len(args) == 0 {
			return
		}
		if valid, ok := plain(schema, args); ok && !valid {
			t.Fatalf("accepted:\n%s\n%s", schema, args)
		}
	})
}

// BenchmarkCheckSmall asks what validation costs an ordinary call.
func BenchmarkCheckSmall(b *testing.B) {
	c := validate.NewCatalogue(validate.Limits{})
	c.Learn("s", []jsontext.Value{tool("t", file)})
	args := []byte(`{"path":"/a/b","mode":"r","lines":30,"options":{"Depth":1}}`)
	b.ReportAllocs()
	for b.Loop() {
		if p := c.Check("s", "t", args); p != nil {
			b.Fatal(p)
		}
	}
}

// BenchmarkCheckLarge asks what validation costs a call that carries a file of 64 KiB.
func BenchmarkCheckLarge(b *testing.B) {
	c := validate.NewCatalogue(validate.Limits{})
	c.Learn("s", []jsontext.Value{tool("t", `{"type":"object","properties":{"path":{"type":"string"},"content":{"type":"string"}},"required":["path","content"]}`)})
	args := []byte(`{"path":"/a","content":"` + strings.Repeat(`a line of text\n`, 64<<10/16) + `"}`)
	b.SetBytes(int64(len(args)))
	b.ReportAllocs()
	for b.Loop() {
		if p := c.Check("s", "t", args); p != nil {
			b.Fatal(p)
		}
	}
}

// BenchmarkRefuse asks what a refusal costs, since an attacker can ask for many.
func BenchmarkRefuse(b *testing.B) {
	c := validate.NewCatalogue(validate.Limits{})
	c.Learn("s", []jsontext.Value{tool("t", file)})
	args := []byte(`{"path":1,"mode":"x","lines":0}`)
	b.ReportAllocs()
	for b.Loop() {
		if p := c.Check("s", "t", args); p == nil {
			b.Fatal("accepted")
		}
	}
}
