package wire_test

import (
	"net/http"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

const mirrored = `{"name":"t","inputSchema":{"type":"object","properties":{
	"region":{"type":"string","x-mcp-header":"Region"},
	"count":{"type":"integer","x-mcp-header":"count"},
	"flag":{"type":"boolean","x-mcp-header":"Flag"},
	"odd":{"type":"string","x-mcp-header":7},
	"in":{"type":"object","properties":{"deep":{"type":"string","x-mcp-header":"Deep"}}}}}}`

func TestMirrors(t *testing.T) {
	want := []wire.Mirror{{"Mcp-Param-Region", []string{"region"}}, {"Mcp-Param-Count", []string{"count"}}, {"Mcp-Param-Flag", []string{"flag"}}, {"Mcp-Param-Deep", []string{"in", "deep"}}}
	if diff := cmp.Diff(want, wire.Mirrors(jsontext.Value(mirrored))); diff != "" {
		t.Error(diff)
	}
	for _, none := range []string{``, `{`, `[]`, `{"inputSchema":true}`, `{"inputSchema":{"properties":[]}}`} {
		if got := wire.Mirrors(jsontext.Value(none)); got != nil {
			t.Errorf("%s: %v", none, got)
		}
	}
}

func TestCheckMirrors(t *testing.T) {
	mirrors := wire.Mirrors(jsontext.Value(mirrored))
	tests := []struct {
		name, arguments string
		header          http.Header
		ok              bool
	}{
		{"all", `{"region":"eu","count":42,"flag":true,"in":{"deep":"x"}}`, header("mcp-param-region", " eu ", "Mcp-Param-Count", "42", "Mcp-Param-Flag", "true", "Mcp-Param-Deep", "x"), true},
		{"none", `{}`, nil, true},
		{"null", `{"region":null}`, nil, true},
		{"base64", `{"region":"Hello"}`, header("Mcp-Param-Region", b64("Hello")), true},
		{"only the first mark", `{"region":"=?base64?SGVsbG8="}`, header("Mcp-Param-Region", "=?base64?SGVsbG8="), true},
		{"integer spelled otherwise", `{"count":4.2e1}`, header("Mcp-Param-Count", "42.0"), true},
		{"empty text", `{"region":""}`, header("Mcp-Param-Region", ""), true},

		{"missing", `{"region":"eu"}`, nil, false},
		{"other", `{"region":"eu"}`, header("Mcp-Param-Region", "us"), false},
		{"other case", `{"region":"eu"}`, header("Mcp-Param-Region", "EU"), false},
		{"twice", `{"region":"eu"}`, header("Mcp-Param-Region", "eu", "Mcp-Param-Region", "eu"), false},
		{"for nothing", `{}`, header("Mcp-Param-Region", "eu"), false},
		{"for null", `{"region":null}`, header("Mcp-Param-Region", "null"), false},
		{"bad padding", `{"region":"Hello"}`, header("Mcp-Param-Region", "=?base64?SGVsbG8?="), false},
		{"bad letters", `{"region":"Hello"}`, header("Mcp-Param-Region", "=?base64?SGVs!!!bG8=?="), false},
		{"fraction", `{"count":1.5}`, header("Mcp-Param-Count", "1.5"), false},
		{"beyond 2^53", `{"count":9007199254740993}`, header("Mcp-Param-Count", "9007199254740992"), false},
		{"not a number", `{"count":1}`, header("Mcp-Param-Count", "NaN"), false},
		{"hexadecimal", `{"count":16}`, header("Mcp-Param-Count", "0x10p0"), false},
		{"object", `{"region":{}}`, header("Mcp-Param-Region", "{}"), false},
		{"deep one differs", `{"in":{"deep":"x"}}`, header("Mcp-Param-Deep", "y"), false},
		{"unknown header", `{}`, header("Mcp-Param-Other", "x"), false},
		{"not annotated", `{"odd":"x"}`, header("Mcp-Param-Odd", "x"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := parsed(t, request("tools/call", `"name":"t","arguments":`+tt.arguments))
			code, status := outcome(t, wire.CheckMirrors(tt.header, m, mirrors))
			if (code == 0) != tt.ok || (!tt.ok && (code != wire.CodeHeaderMismatch || status != 400)) {
				t.Errorf("got %d/%d", code, status)
			}
		})
	}
}
