package validate_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/validate"
)

// tool returns the definition of a tool with this input schema.
func tool(name, schema string) jsontext.Value {
	return jsontext.Value(`{"name":"` + name + `","description":"x","inputSchema":` + schema + `}`)
}

// check checks args against a schema with default limits.
func check(schema, args string) *validate.Problem {
	var c validate.Catalogue
	c.Learn("s", []jsontext.Value{tool("t", schema)})
	return c.Check("s", "t", []byte(args))
}

const file = `{
	"type": "object",
	"properties": {
		"path": {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^/[a-z/]*$"},
		"mode": {"enum": ["r", "w", 7, null, true, [1], {"a": 1}]},
		"lines": {"type": "integer", "minimum": 1, "exclusiveMaximum": 100, "multipleOf": 3},
		"ratio": {"type": "number", "maximum": 1.5, "exclusiveMinimum": 0},
		"tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3, "uniqueItems": true},
		"options": {"type": "object", "properties": {"Depth": {"type": "integer"}, "deep": {"type": "object", "properties": {"a/b~c": {"type": "null"}}}}, "additionalProperties": false},
		"free": {"type": "object"},
		"k": {"const": "v"},
		"target": {"anyOf": [{"type": "null"}, {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}]}
	},
	"required": ["path"],
	"additionalProperties": false
}`

func TestCheckAccepts(t *testing.T) {
	for _, args := range []string{
		`{"path":"/a"}`,
		` { "path" : "/a" } `,
		`{"path":"/a","mode":7,"lines":9,"ratio":1.5,"tags":["a","b"],"k":"v"}`,
		`{"path":"/a","mode":7.0}`,
		`{"path":"/a","mode":{"a":1}}`,
		`{"path":"/a","lines":3e0}`,
		`{"path":"/a","options":{"Depth":1,"deep":{"a/b~c":null}}}`,
		`{"path":"/a","free":{"PATH":1,"path":2,"Path":3}}`,
		`{"path":"/a","target":null}`,
		`{"path":"/a","target":{"id":"x","more":[1,{"y":null}]}}`,
	} {
		if p := check(file, args); p != nil {
			t.Errorf("%s: %v", args, p)
		}
	}
}

func TestCheckMustNot(t *testing.T) {
	for args, want := range map[string]struct{ Pointer, Message string }{
		``:                                       {"", `required: want "path"`},
		`{}`:                                     {"", `required: want "path"`},
		`null`:                                   {"", "type: want object"},
		`[]`:                                     {"", "type: want object"},
		`"x"`:                                    {"", "type: want object"},
		`{"path":"/a"}{}`:                        {"", "arguments: want one JSON value"},
		`{"path":"/a"`:                           {"/path", "arguments: want strict JSON"},
		`{"path":"/a",}`:                         {"/path", "arguments: want strict JSON"},
		`{"path":"/a","path":"/b"}`:              {"/path", "name: want it once"},
		`{"path":"/a","p\u0061th":1}`:            {"/path", "name: want it once"},
		"{\"path\":\"/\xff\"}":                   {"/path", "arguments: want strict JSON"},
		`{"path":1}`:                             {"/path", "type: want string"},
		`{"path":""}`:                            {"/path", "minLength: want at least 1 characters"},
		`{"path":"/abcdefghijklmnopqrstuvwxyz"}`: {"/path", "maxLength: want at most 20 characters"},
		`{"path":"secret"}`:                      {"/path", `pattern: want a match of "^/[a-z/]*$"`},
		`{"path":"/a","mode":"x"}`:               {"/mode", `enum: want one of "r", "w", 7, null, true, a certain array, a certain object`},
		`{"path":"/a","lines":0}`:                {"/lines", "minimum: want at least 1"},
		`{"path":"/a","lines":100.5}`:            {"/lines", "type: want integer"},
		`{"path":"/a","lines":102}`:              {"/lines", "exclusiveMaximum: want less than 100"},
		`{"path":"/a","lines":4}`:                {"/lines", "multipleOf: want a multiple of 3"},
		`{"path":"/a","ratio":1.500000000000000000000001}`:  {"/ratio", "maximum: want at most 1.5"},
		`{"path":"/a","ratio":0}`:                           {"/ratio", "exclusiveMinimum: want more than 0"},
		`{"path":"/a","tags":[]}`:                           {"/tags", "minItems: want at least 1 elements"},
		`{"path":"/a","tags":["a","b","c","d"]}`:            {"/tags", "maxItems: want at most 3 elements"},
		`{"path":"/a","tags":["a","a"]}`:                    {"/tags", "uniqueItems: want no element twice"},
		`{"path":"/a","tags":["a",1]}`:                      {"/tags/1", "type: want string"},
		`{"path":"/a","k":"V"}`:                             {"/k", `const: want "v"`},
		`{"path":"/a","other":1}`:                           {"/other", "additionalProperties: want declared names only"},
		`{"path":"/a","options":{"x~/y":1}}`:                {"/options/x~0~1y", "additionalProperties: want declared names only"},
		`{"path":"/a","options":{"deep":{"a/b~c":1}}}`:      {"/options/deep/a~1b~0c", "type: want null"},
		`{"path":"/a","target":3}`:                          {"/target", "anyOf: want one of several forms"},
		`{"path":"/a","target":{}}`:                         {"/target", `required: want "id"`},
		`{"path":"/a","target":{"id":1}}`:                   {"/target/id", "type: want string"},
		`{"tags":[1],"path":2,"lines":"x"}`:                 {"/tags/0", "type: want string"},
		`{"lines":"x","tags":[1],"path":2}`:                 {"/lines", "type: want integer"},
		`{"Path":"/a"}`:                                     {"/Path", `name: want exactly "path"`},
		`{"path":"/a","PATH":"/b"}`:                         {"/PATH", `name: want exactly "path"`},
		`{"path":"/a","\u212a":"v"}`:                        {"/\u212a", `name: want exactly "k"`},
		`{"path":"/a","\uff4b":"v"}`:                        {"/\uff4b", `name: want exactly "k"`},
		`{"path":"/a","pa\u200bth":"v"}`:                    {"/pa\u200bth", `name: want exactly "path"`},
		`{"path":"/a","tag\u017f":["v"]}`:                   {"/tag\u017f", `name: want exactly "tags"`},
		`{"path":"/a","options":{"depth":1}}`:               {"/options/depth", `name: want exactly "Depth"`},
		`{"path":"/a","options":{"deep":{"A/B~C":null}}}`:   {"/options/deep/A~1B~0C", `name: want exactly "a/b~c"`},
		`{"path":"/a","target":{"id":"x","ID":"y"}}`:        {"/target/ID", `name: want exactly "id"`},
		`{"path":"/a","free":` + deep(70) + `}`:             {pointerTo(63), "limit: want at most 64 levels"},
		`{"path":"/a","free":{"n":1e99999}}`:                {"/free/n", "limit: want a number of at most 1024 digits and an exponent of at most 400"},
		`{"path":"/a","free":{"n":` + digits(1025) + `}}`:   {"/free/n", "limit: want a number of at most 1024 digits and an exponent of at most 400"},
		`{"path":"/a","free":{"n":1e18446744073709551617}}`: {"/free/n", "limit: want a number of at most 1024 digits and an exponent of at most 400"},
	} {
		p := check(file, args)
		if p == nil {
			t.Errorf("%s: accepted", args)
			continue
		}
		if d := cmp.Diff(want, struct{ Pointer, Message string }{p.Pointer, p.Message}); d != "" {
			t.Errorf("%s (-want +got):\n%s", args, d)
		}
	}
}

func deep(n int) string      { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
func pointerTo(n int) string { return "/free" + strings.Repeat("/a", n) }
func digits(n int) string    { return strings.Repeat("9", n) }

// TestNumbersAreExact holds both sides of 2^53, where a float would not tell neighbours apart.
func TestNumbersAreExact(t *testing.T) {
	const schema = `{"properties":{"n":{"const":9007199254740993},"m":{"maximum":9007199254740992},"e":{"enum":[0.1]}}}`
	for args, ok := range map[string]bool{
		`{"n":9007199254740993}`:                  true,
		`{"n":9007199254740992}`:                  false,
		`{"m":9007199254740992}`:                  true,
		`{"m":9007199254740993}`:                  false,
		`{"e":0.1}`:                               true,
		`{"e":1e-1}`:                              true,
		`{"e":0.1000000000000000055511151231258}`: false,
	} {
		if p := check(schema, args); (p == nil) != ok {
			t.Errorf("%s: %v", args, p)
		}
	}
}

func TestLimits(t *testing.T) {
	c := validate.NewCatalogue(validate.Limits{Size: 50, Depth: 3, Values: 6, Work: 1000})
	c.Learn("s", []jsontext.Value{tool("t", `{"type":"object"}`)})
	for args, want := range map[string]string{
		`{"a":[{}]}`:                       "",
		`{"a":[[[]]]}`:                     "limit: want at most 3 levels",
		`{"a":1,"b":2,"c":[3,4]}`:          "",
		`{"a":1,"b":2,"c":[3,4,5]}`:        "limit: want at most 6 values",
		`{"a":"` + digits(42) + `"}`:       "",
		`{"a":"` + digits(43) + `"}`:       "limit: want at most 50 bytes",
		`{"a":"` + digits(43) + `"` + "\n": "limit: want at most 50 bytes",
	} {
		p := c.Check("s", "t", []byte(args))
		if got := message(p); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

func message(p *validate.Problem) string {
	if p == nil {
		return ""
	}
	return p.Message
}

// TestProblemsAreShort holds that neither text grows with what is sent or advertised.
func TestProblemsAreShort(t *testing.T) {
	long := strings.Repeat("x\u00e9", 5000)
	for schema, args := range map[string]string{
		`{"additionalProperties":false}`:                                         `{"a/` + long + `":1}`,
		`{"properties":{"a":{"enum":["` + long + `"]}}}`:                         `{"a":1}`,
		`{"properties":{"a":{"pattern":"` + long[:600] + `"}}}`:                  `{"a":"b"}`,
		`{"required":["` + long + `"]}`:                                          `{}`,
		`{"properties":{"a":{"minimum":` + digits(900) + `}}}`:                   `{"a":1}`,
		`{"properties":{"a":{"properties":{"b":{"type":"string"}}}}}`:            `{"a":{"b":1}}`,
		`{"properties":{"a":{"const":"` + strings.Repeat("\u202e", 300) + `"}}}`: `{"a":1}`,
	} {
		p := check(schema, args)
		if p == nil || len(p.Message) > 256 || len(p.Pointer) > 256 || strings.ToValidUTF8(p.Message, "") != p.Message || strings.Contains(p.Message, "\u202e") {
			t.Errorf("%.40s: %v", schema, p)
		}
	}
}

// TestMessagesKeepSecrets sends a canary in every place and looks for it in the message.
func TestMessagesKeepSecrets(t *testing.T) {
	const canary = "hunter2hunter2"
	for _, args := range []string{
		`{"path":"` + canary + `"}`, `{"path":{"` + canary + `":1}}`, `{"path":"/a","mode":"` + canary + `"}`, `{"path":"/a","k":"` + canary + `"}`,
		`{"path":"/a","tags":["` + canary + `","` + canary + `"]}`, `{"path":"/a","` + canary + `":1}`, `{"path":"/a","lines":"` + canary + `"}`,
		`{"path":"/a","x":` + canary + `}`, `{"path":"/a","target":"` + canary + `"}`,
	} {
		if p := check(file, args); p == nil || strings.Contains(p.Message, canary) {
			t.Errorf("%s: %v", args, p)
		}
	}
}

func TestCatalogue(t *testing.T) {
	var c validate.Catalogue
	if c.Known("s") || c.Tool("s", "a") || c.Check("s", "a", nil) != nil || c.Faults("s") != nil {
		t.Error("the zero catalogue knows something")
	}
	strict := `{"type":"object","required":["x"]}`
	c.Learn("s", []jsontext.Value{tool("a", strict), tool("b", strict), jsontext.Value(`{"inputSchema":{}}`), jsontext.Value(`7`), jsontext.Value(`{"name":7}`)})
	if !c.Known("s") || !c.Tool("s", "a") || c.Tool("s", "A") || c.Tool("other", "a") || c.Known("other") {
		t.Error("tools of s")
	}
	if c.Check("s", "a", nil) == nil || c.Check("s", "unknown", nil) != nil || c.Check("other", "a", nil) != nil {
		t.Error("checks of s")
	}
	c.LearnPage("s", []jsontext.Value{tool("b", `{"type":"object"}`), tool("c", strict)})
	if c.Check("s", "a", nil) == nil || c.Check("s", "b", nil) != nil || c.Check("s", "c", nil) == nil {
		t.Error("a page must add and replace, not remove")
	}
	c.Learn("s", []jsontext.Value{tool("c", strict)})
	if c.Tool("s", "a") || !c.Tool("s", "c") {
		t.Error("a whole list must replace")
	}
	c.Learn("s", nil)
	if !c.Known("s") || c.Tool("s", "c") {
		t.Error("an empty list is known")
	}
	c.LearnPage("fresh", []jsontext.Value{tool("a", strict)})
	if c.Check("fresh", "a", nil) == nil {
		t.Error("a page may come first")
	}
}

// TestDefinitionsThatCannotBeUsed refuses every call, says why to the caller and lists the tool for the operator.
func TestDefinitionsThatCannotBeUsed(t *testing.T) {
	for name, list := range map[string][]jsontext.Value{
		"twice in a list":  {tool("t", `{}`), tool("t", `{}`)},
		"duplicate member": {jsontext.Value(`{"name":"t","inputSchema":{},"inputSchema":{"type":"object"}}`)},
		"cut off":          {jsontext.Value(`{"name":"t","inputSchema":{}`)},
		"not an object":    {tool("t", `true`)},
		"wrong keyword":    {tool("t", `{"type":"objekt"}`)},
		"too large":        {tool("t", `{"description":"`+strings.Repeat("x", 256<<10)+`"}`)},
	} {
		var c validate.Catalogue
		c.Learn("s", list)
		p := c.Check("s", "t", []byte(`{}`))
		if p == nil || !strings.HasPrefix(p.Message, "schema: this tool cannot be called") {
			t.Errorf("%s: %v", name, p)
		}
		if f := c.Faults("s"); len(f) != 1 || f[0].Tool != "t" || f[0].Reason == "" {
			t.Errorf("%s: faults %v", name, f)
		}
	}
}

func TestMissingSchemaTakesAnyObject(t *testing.T) {
	var c validate.Catalogue
	c.Learn("s", []jsontext.Value{jsontext.Value(`{"name":"t"}`)})
	if p := c.Check("s", "t", []byte(`{"a":1}`)); p != nil {
		t.Error(p)
	}
	if p := c.Check("s", "t", []byte(`[]`)); p == nil {
		t.Error("an array was accepted")
	}
}

func TestConcurrentUse(t *testing.T) {
	var c validate.Catalogue
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for range 50 {
				if i%2 == 0 {
					c.Learn("s", []jsontext.Value{tool("t", file)})
				} else if c.Known("s") && c.Check("s", "t", []byte(`{"path":1}`)) == nil {
					t.Error("accepted")
				}
			}
		})
	}
	wait.Wait()
}

// TestPlaceHoldsNoChosenName: what is kept of a refusal has no member name that the caller made up.
func TestPlaceHoldsNoChosenName(t *testing.T) {
	c := validate.NewCatalogue(validate.Limits{})
	c.Learn("s", []jsontext.Value{jsontext.Value(`{"name":"t","inputSchema":{"type":"object","additionalProperties":false,"properties":{"list":{"type":"array","items":{"type":"object","additionalProperties":{"type":"string"}}}}}}`)})
	for args, want := range map[string]validate.Problem{
		`{"canary":1}`:               {Pointer: "/canary", Place: "/*"},
		`{"list":[{},{"canary":1}]}`: {Pointer: "/list/1/canary", Place: "/list/1/*"},
		`{"list":7}`:                 {Pointer: "/list", Place: "/list"},
	} {
		got := c.Check("s", "t", []byte(args))
		if got == nil || got.Pointer != want.Pointer || got.Place != want.Place {
			t.Errorf("%s: %+v, want %+v", args, got, want)
		}
	}
}
