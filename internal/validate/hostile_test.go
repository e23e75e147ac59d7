package validate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/validate"
)

// deadline is what one hostile schema may cost to compile, or one call to check, many times over: the machine that
// runs the tests is shared, and the race detector slows it down.
const deadline = 10 * time.Second

// TestHostileSchemas holds that a schema made to be expensive is refused or checked in bounded time.
func TestHostileSchemas(t *testing.T) {
	chain := func(n int, body string) string { // n definitions, each with body on the next
		var b strings.Builder
		b.WriteString(`{"$ref":"#/$defs/a0","$defs":{`)
		for i := range n {
			fmt.Fprintf(&b, `"a%d":`+body+`,`, i, i+1)
		}
		fmt.Fprintf(&b, `"a%d":{}}}`, n)
		return b.String()
	}
	many := func(n int, format string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = strings.ReplaceAll(format, "%d", fmt.Sprint(i))
		}
		return strings.Join(list, ",")
	}
	tree := `{"$ref":"#/$defs/n","$defs":{"n":{"properties":{"a":{"anyOf":[{"$ref":"#/$defs/n"},{"$ref":"#/$defs/n"}]}}}}}`
	numbers := "[" + strings.TrimSuffix(strings.Repeat("1e399,", 50_000), ",") + "]"
	for name, c := range map[string]struct{ schema, args, want string }{
		"refers to itself":           {`{"$ref":"#"}`, `{}`, "refers to itself"},
		"refers to itself in a ring": {`{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}`, `{}`, "refers to itself"},
		"dynamic ring":               {`{"$dynamicAnchor":"x","$dynamicRef":"#x"}`, `{}`, "refers to itself"},
		"recursive ring":             {`{"$schema":"https://json-schema.org/draft/2019-09/schema","$recursiveRef":"#"}`, `{}`, "refers to itself"},
		"doubles at one value":       {chain(60, `{"anyOf":[{"$ref":"#/$defs/a%[2]d"},{"$ref":"#/$defs/a%[2]d"}]}`), `{}`, "takes too long"},
		"doubles without matching":   {strings.Replace(chain(40, `{"oneOf":[{"$ref":"#/$defs/a%[2]d"},{"$ref":"#/$defs/a%[2]d"}]}`), `"a40":{}`, `"a40":false`, 1), `{}`, "takes too long"},
		"doubles at each level":      {tree, deep(60), "takes too long"},
		"doubles, but not so deep":   {tree, deep(8), ""},
		"long chain":                 {chain(1900, `{"$ref":"#/$defs/a%[2]d"}`), `{}`, "refer to each other"},
		"thousands of branches":      {`{"anyOf":[` + many(1900, `{"required":["a%d"]}`) + `]}`, `{}`, "anyOf"},
		"branches times values":      {`{"properties":{"a":{"items":{"anyOf":[` + many(1900, `{"const":%d}`) + `]}}}}`, `{"a":[` + many(2000, `"x"`) + `]}`, "takes too long"},
		"too many subschemas":        {`{"allOf":[` + many(3000, `{}`) + `]}`, `{}`, "more than 2000 subschemas"},
		"too deep":                   {strings.Repeat(`{"not":`, 70) + `{}` + strings.Repeat("}", 70), `{}`, "nested deeper"},
		"very deep":                  {strings.Repeat(`{"not":`, 30000) + `{}` + strings.Repeat("}", 30000), `{}`, "not strict JSON"},
		"too large":                  {`{"title":"` + strings.Repeat("x", 300_000) + `"}`, `{}`, "at most 262144"},
		"long names":                 {`{"properties":{"` + strings.Repeat("x", 3000) + `":{}}}`, `{}`, "names are too long"},
		"huge number":                {`{"minimum":1e1000000}`, `{}`, "too large"},
		"huge negative exponent":     {`{"multipleOf":1e-1000000}`, `{}`, "too large"},
		"exponent beyond int":        {`{"minimum":1e99999999999999999999}`, `{}`, "too large"},
		"long number":                {`{"minimum":` + digits(5000) + `}`, `{}`, "too large"},
		"length beyond int":          {`{"properties":{"a":{"minLength":1e30}}}`, `{"a":"x"}`, "*"},
		"many exact numbers":         {`{"properties":{"a":{"items":{"multipleOf":1e-399}}}}`, `{"a":` + numbers + `}`, "*"},
		"unique numbers":             {`{"properties":{"a":{"uniqueItems":true}}}`, `{"a":` + numbers + `}`, "*"},
		"unique in every branch":     {`{"properties":{"a":{"allOf":[` + many(1000, `{"uniqueItems":true}`) + `]}}}`, `{"a":[` + many(5_000, `%d`) + `]}`, "takes too long"},
		"huge enum":                  {`{"properties":{"a":{"items":{"enum":[` + many(30_000, `%d`) + `]}}}}`, `{"a":[` + many(5000, `-1`) + `]}`, "takes too long"},
		"reference to a file":        {`{"$ref":"file:///etc/passwd"}`, `{}`, "another document"},
		"reference to the network":   {`{"allOf":[{"$ref":"http://127.0.0.1:1/x"}]}`, `{}`, "another document"},
		"relative reference":         {`{"$ref":"other.json"}`, `{}`, "another document"},
		"reference to a metaschema":  {`{"$ref":"https://json-schema.org/draft/2020-12/schema"}`, `{}`, "another document"},
		"metaschema of a stranger":   {`{"$schema":"http://127.0.0.1:1/schema"}`, `{}`, "references out of the schema"},
		"metaschema in a file":       {`{"$schema":"file:///etc/passwd"}`, `{}`, "references out of the schema"},
		"identifier of a metaschema": {`{"$id":"https://json-schema.org/draft/2020-12/schema","type":"object"}`, `{}`, "*"},
		"identifiers and dynamic":    {`{"$defs":{"a":{"$id":"x","$dynamicAnchor":"n"}},"$dynamicRef":"#n"}`, `{}`, "not supported"},
		"dangling reference":         {`{"$ref":"#/$defs/none"}`, `{}`, "cannot be used"},
		"dangling anchor":            {`{"$ref":"#none"}`, `{}`, "cannot be used"},
		"reference into a keyword":   {`{"$ref":"#/type","type":"object"}`, `{}`, "cannot be used"},
		"duplicate keyword":          {`{"type":"string","type":"object"}`, `{}`, "cannot be called"},
		"not a schema":               {`{"properties":7}`, `{}`, "cannot be used"},
	} {
		start := time.Now()
		p := check(c.schema, c.args)
		if took := time.Since(start); took > deadline {
			t.Errorf("%s took %v", name, took)
		} else {
			t.Logf("%-28s %8v %v", name, took.Round(time.Millisecond), message(p))
		}
		if c.want != "*" && (c.want == "") != (p == nil) || p != nil && c.want != "*" && !strings.Contains(p.Message, c.want) {
			t.Errorf("%s: %q, want %q", name, message(p), c.want)
		}
	}
}

// TestHostilePatterns holds the same for patterns, which are linear to match but may be large. One that cannot be
// checked refuses the values it is about, and no others.
func TestHostilePatterns(t *testing.T) {
	long := strings.Repeat("a", 1<<20)
	for name, c := range map[string]struct{ schema, args, want string }{
		"nested repetition":        {`{"properties":{"a":{"pattern":"^(a+)+$"}}}`, `{"a":"` + long[:20_000] + `!"}`, "pattern: want"},
		"nested, a large pattern":  {`{"properties":{"a":{"pattern":"^((a|b)+|(c|d)+){100}$"}}}`, `{"a":"` + long + `!"}`, "takes too long"},
		"large repeat":             {`{"properties":{"a":{"pattern":"^(.{1000}){1000}$"}}}`, `{"a":"x"}`, "cannot be checked"},
		"many repeats":             {`{"properties":{"a":{"pattern":"` + strings.Repeat("a{1000}", 100) + `"}}}`, `{"a":"x"}`, "cannot be checked"},
		"somewhat too large":       {`{"properties":{"a":{"pattern":"a{1000}b{1000}c{1000}"}}}`, `{"a":"x"}`, "cannot be checked"},
		"long, but small":          {`{"properties":{"a":{"pattern":"` + strings.Repeat("(?i)", 1500) + `"}}}`, `{"a":"x"}`, "cannot be checked"},
		"many patterns":            {`{"properties":{"a":{"allOf":[` + strings.TrimSuffix(strings.Repeat(`{"pattern":"a{500}"},`, 100), ",") + `]}}}`, `{"a":"` + long[:50_000] + `"}`, "takes too long"},
		"a long pattern":           {`{"properties":{"a":{"pattern":"` + long[:5000] + `"}}}`, `{"a":"x"}`, "cannot be checked"},
		"look-ahead":               {`{"properties":{"a":{"pattern":"^(?!x)"},"b":{}}}`, `{"a":"y"}`, "cannot be checked"},
		"look-ahead elsewhere":     {`{"properties":{"a":{"pattern":"^(?!x)"},"b":{}}}`, `{"b":"y"}`, ""},
		"look-ahead, not a string": {`{"properties":{"a":{"pattern":"^(?!x)"},"b":{}}}`, `{"a":7}`, ""},
		"look-ahead under not":     {`{"properties":{"a":{"not":{"pattern":"^(?!x)"}}}}`, `{"a":"y"}`, "cannot be checked"},
		"back-reference to names":  {`{"patternProperties":{"^(.)\\1$":{"type":"string"}}}`, `{"aa":7}`, "cannot be checked"},
		"names by pattern":         {`{"patternProperties":{"^a":{"type":"string"}},"additionalProperties":{"type":"null"}}`, `{"ab":"x","b":null}`, ""},
		"names by large pattern":   {`{"propertyNames":{"pattern":"a{1000}{1000}"}}`, `{"ab":"x"}`, "cannot be checked"},
		"a pattern as argument":    {`{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"a":{"format":"regex"}}}`, `{"a":"` + strings.Repeat("a{1000}", 10_000) + `"}`, "takes too long"},
		"a small one":              {`{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"a":{"format":"regex"}}}`, `{"a":"("}`, "format"},
	} {
		start := time.Now()
		p := check(c.schema, c.args)
		if took := time.Since(start); took > deadline {
			t.Errorf("%s took %v", name, took)
		} else {
			t.Logf("%-28s %8v %v", name, took.Round(time.Millisecond), message(p))
		}
		if c.want != "*" && (c.want == "") != (p == nil) || p != nil && c.want != "*" && !strings.Contains(p.Message, c.want) {
			t.Errorf("%s: %q, want %q", name, message(p), c.want)
		}
	}
}

// TestDrafts holds keywords that mean different things in the two drafts.
func TestDrafts(t *testing.T) {
	const seven = `"$schema":"http://json-schema.org/draft-07/schema#",`
	for name, c := range map[string]struct {
		schema, args string
		ok           bool
	}{
		"items list in draft 7":         {`{` + seven + `"properties":{"a":{"items":[{"type":"string"}],"additionalItems":false}}}`, `{"a":["x",1]}`, false},
		"prefixItems":                   {`{"properties":{"a":{"prefixItems":[{"type":"string"}],"items":false}}}`, `{"a":["x",1]}`, false},
		"prefixItems fits":              {`{"properties":{"a":{"prefixItems":[{"type":"string"}],"items":false}}}`, `{"a":["x"]}`, true},
		"dependencies in draft 7":       {`{` + seven + `"dependencies":{"a":["b"]}}`, `{"a":1}`, false},
		"dependentRequired":             {`{"dependentRequired":{"a":["b"]}}`, `{"a":1}`, false},
		"dependentSchemas":              {`{"dependentSchemas":{"a":{"required":["b"]}}}`, `{"a":1}`, false},
		"definitions in draft 7":        {`{` + seven + `"definitions":{"s":{"type":"string"}},"properties":{"a":{"$ref":"#/definitions/s"}}}`, `{"a":1}`, false},
		"siblings of a ref count":       {`{"$defs":{"s":{}},"properties":{"a":{"$ref":"#/$defs/s","type":"string"}}}`, `{"a":1}`, false},
		"and did not in draft 7":        {`{` + seven + `"definitions":{"s":{}},"properties":{"a":{"$ref":"#/definitions/s","type":"string"}}}`, `{"a":1}`, true},
		"format asserts in draft 7":     {`{` + seven + `"properties":{"a":{"format":"ipv4"}}}`, `{"a":"x"}`, false},
		"format annotates in 2020-12":   {`{"properties":{"a":{"format":"ipv4"}}}`, `{"a":"x"}`, true},
		"unevaluatedProperties":         {`{"allOf":[{"properties":{"a":{}}}],"unevaluatedProperties":false}`, `{"b":1}`, false},
		"unevaluatedProperties fits":    {`{"allOf":[{"properties":{"a":{}}}],"unevaluatedProperties":false}`, `{"a":1}`, true},
		"if, then":                      {`{"if":{"required":["a"]},"then":{"required":["b"]}}`, `{"a":1}`, false},
		"contains":                      {`{"properties":{"a":{"contains":{"type":"null"}}}}`, `{"a":[1]}`, false},
		"recursion into the value":      {`{"properties":{"a":{"$ref":"#"},"n":{"type":"null"}}}`, `{"a":{"a":{"n":1}}}`, false},
		"recursion into the value fits": {`{"properties":{"a":{"$ref":"#"},"n":{"type":"null"}}}`, `{"a":{"a":{"n":null}}}`, true},
		"almost a name, deep down":      {`{"properties":{"a":{"$ref":"#"},"n":{"type":"null"}}}`, `{"a":{"a":{"N":null}}}`, false},
		"any JSON, deep down":           {`{"$ref":"#/$defs/v","$defs":{"v":{"anyOf":[{"type":["string","number","null"]},{"type":"array","items":{"$ref":"#/$defs/v"}},{"type":"object","additionalProperties":{"$ref":"#/$defs/v"}}]}}}`, deep(50), true},
	} {
		if p := check(c.schema, c.args); (p == nil) != c.ok {
			t.Errorf("%s: %v", name, p)
		}
	}
}

// TestManyTools holds the bounds of one server.
func TestManyTools(t *testing.T) {
	var c validate.Catalogue
	big := `{"type":"object","required":["x"],"title":"` + strings.Repeat("x", 250<<10) + `"}`
	var list []jsontext.Value
	for i := range 200 {
		list = append(list, tool(fmt.Sprint("big", i), big))
	}
	c.Learn("large", list)
	if p := c.Check("large", "big199", []byte(`{"x":1}`)); p == nil || !strings.Contains(p.Message, "too large together") {
		t.Error(p)
	}
	if p := c.Check("large", "big0", []byte(`{"x":1}`)); p != nil {
		t.Error(p)
	}
	for i := range 10_001 {
		list = append(list, tool(fmt.Sprint("small", i), `{}`))
	}
	c.Learn("many", list[200:])
	if p := c.Check("many", "small10000", nil); p == nil || !strings.Contains(p.Message, "more tools") {
		t.Error(p)
	}
	if p := c.Check("many", "small9999", nil); p != nil {
		t.Error(p)
	}
	for i := range 100 { // relearning page by page must not use up the budget
		c.LearnPage("again", []jsontext.Value{tool("t", big), tool(fmt.Sprint("t", i%2), big)})
	}
	if p := c.Check("again", "t", []byte(`{"x":1}`)); p != nil {
		t.Error(p)
	}
}

// TestJustWithinTheLimit holds that the limit of work is worth what its comment says: the most expensive calls that
// are let through take a fraction of a second, not minutes.
func TestJustWithinTheLimit(t *testing.T) {
	list := func(n int, f string) string { return strings.TrimSuffix(strings.Repeat(f+",", n), ",") }
	for name, c := range map[string]struct {
		schema string
		args   func(n int) string
	}{
		"branches":            {`{"properties":{"a":{"items":{"anyOf":[` + list(500, `{"type":"object"}`) + `]}}}}`, func(n int) string { return `{"a":[` + list(n, `"x"`) + `]}` }},
		"branches of objects": {`{"properties":{"a":{"items":{"anyOf":[` + list(300, `{"properties":{"b":{"type":"null"}},"required":["c"]}`) + `]}}}}`, func(n int) string { return `{"a":[` + list(n, `{"b":1}`) + `]}` }},
		"numbers":             {`{"properties":{"a":{"items":{"multipleOf":1e-300,"minimum":7}}}}`, func(n int) string { return `{"a":[` + list(n, `1e399`) + `]}` }},
		"enum":                {`{"properties":{"a":{"items":{"enum":[` + list(300, `17`)[:len(list(300, `17`))-2] + `18]}}}}`, func(n int) string { return `{"a":[` + list(n, `1.5`) + `]}` }},
		"unique":              {`{"properties":{"a":{"items":{"uniqueItems":true}}}}`, func(n int) string { return `{"a":[` + list(n, `[[1],[2],[3],[4],[5]]`) + `]}` }},
		"pattern": {`{"properties":{"a":{"items":{"pattern":"(a|b|ab|ba)*c(x{50}|y{50})*$"}}}}`, func(n int) string {
			return `{"a":[` + list(n, `"abababababababababababababababababababababababab"`) + `]}`
		}},
		"tree":        {`{"$ref":"#/$defs/n","$defs":{"n":{"properties":{"a":{"anyOf":[{"$ref":"#/$defs/n"},{"$ref":"#/$defs/n"}]},"b":{"type":"null"}}}}}`, func(n int) string { return strings.Repeat(`{"a":`, n/4) + `{"b":1}` + strings.Repeat("}", n/4) }},
		"plain":       {`{"properties":{"a":{"items":{"type":"object","properties":{"x":{"type":"integer","minimum":0}}}}}}`, func(n int) string { return `{"a":[` + list(n, `{"x":1}`) + `]}` }},
		"unevaluated": {`{"properties":{"a":{"items":{"allOf":[` + list(50, `{"properties":{"x":{}},"unevaluatedProperties":true}`) + `],"unevaluatedProperties":false}}}}`, func(n int) string { return `{"a":[` + list(n, `{"x":1,"y":2}`) + `]}` }},
	} {
		catalogue := validate.NewCatalogue(validate.Limits{Work: 50_000}) // a tenth, to be quick
		catalogue.Learn("s", []jsontext.Value{tool("t", c.schema)})
		low, high := 1, 3000
		for high-low > low/20+1 { // the most that is let through
			n := (low + high) / 2
			if strings.HasPrefix(message(catalogue.Check("s", "t", []byte(c.args(n)))), "limit:") {
				high = n
			} else {
				low = n
			}
		}
		args := []byte(c.args(low))
		start := time.Now()
		p := catalogue.Check("s", "t", args)
		took := time.Since(start)
		t.Logf("%-20s n=%d, %d bytes: %v (%s)", name, low, len(args), took.Round(time.Millisecond), message(p))
		if took > deadline {
			t.Errorf("%s took %v", name, took)
		}
	}
}
