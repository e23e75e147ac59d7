package wire_test

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// keepOnly keeps names that start with "ok", of one kind.
func keepOnly(kind policy.Target) func(policy.Target, string) bool {
	return func(k policy.Target, name string) bool { return k == kind && strings.HasPrefix(name, "ok") }
}

func TestFilterResult(t *testing.T) {
	seal := func(s string) string { return "<" + s + ">" }
	tests := []struct {
		name, method, result string
		filter               wire.Filter
		want                 string
	}{
		{
			"tools", "tools/list", `{"a":1.50, "tools":[{"name":"ok1","x":[1 , 2]}, {"name":"no"},{"x":{},"n\u0061me":"\u006fk2"} ],"z":"\u0041"}`,
			wire.Filter{Keep: keepOnly(policy.Tool)},
			`{"a":1.50,"tools":[{"name":"ok1","x":[1 , 2]},{"x":{},"n\u0061me":"\u006fk2"}],"z":"\u0041"}`,
		},
		{"first dropped", "tools/list", `{"tools":[{"name":"no"},{"name":"ok"}]}`, wire.Filter{Keep: keepOnly(policy.Tool)}, `{"tools":[{"name":"ok"}]}`},
		{"prompts", "prompts/list", `{"prompts":[{"name":"ok"},{"name":"no"}]}`, wire.Filter{Keep: keepOnly(policy.Prompt)}, `{"prompts":[{"name":"ok"}]}`},
		{"resources by uri", "resources/list", `{"resources":[{"uri":"ok:1","name":"no"},{"uri":"no","name":"ok"}]}`, wire.Filter{Keep: keepOnly(policy.Resource)}, `{"resources":[{"uri":"ok:1","name":"no"}]}`},
		{"templates", "resources/templates/list", `{"resourceTemplates":[{"uriTemplate":"ok:{x}"},{"uriTemplate":"no:{x}"}]}`, wire.Filter{Keep: keepOnly(policy.Resource)}, `{"resourceTemplates":[{"uriTemplate":"ok:{x}"}]}`},
		{"nobody decides", "tools/list", `{"tools":[{"name":"ok"}]}`, wire.Filter{}, `{"tools":[]}`},
		{"null list", "tools/list", `{"tools":null}`, wire.Filter{Keep: keepOnly(policy.Tool)}, `{"tools":null}`},
		{
			"entries that are not named once", "tools/list",
			`{"tools":[null,1,"ok",["ok"],{},{"name":null},{"name":1},{"Name":"ok"},{"name":"ok","Name":"no"},{"NAME":"no","name":"ok"},{"name":"ok","ｎame":"no"},{"title":"ok"}]}`,
			wire.Filter{Keep: keepOnly(policy.Tool)},
			`{"tools":[]}`,
		},
		{"cursor sealed", "tools/list", `{"tools":[],"nextCursor":"c\"1"}`, wire.Filter{SealCursor: seal}, `{"tools":[],"nextCursor":"<c\"1>"}`},
		{"last page", "tools/list", `{"tools":[],"nextCursor":null}`, wire.Filter{SealCursor: seal}, `{"tools":[]}`},
		{"empty cursor is the last page", "tools/list", `{"nextCursor":"","tools":[]}`, wire.Filter{SealCursor: seal}, `{"tools":[]}`},
		{"made private", "tools/list", `{"cacheScope":"public","tools":[],"ttlMs":3600000}`, wire.Filter{Private: true}, `{"cacheScope":"private","tools":[],"ttlMs":60000}`},
		{"added where missing", "tools/list", `{"tools":[]}`, wire.Filter{Private: true}, `{"tools":[],"cacheScope":"private","ttlMs":0}`},
		{"added to nothing", "server/discover", `{}`, wire.Filter{Private: true}, `{"cacheScope":"private","ttlMs":0}`},
		{"short time kept", "resources/read", `{"ttlMs":5e3,"cacheScope":"private"}`, wire.Filter{Private: true}, `{"ttlMs":5e3,"cacheScope":"private"}`},
		{"absurd times", "resources/read", `{"ttlMs":1e999,"cacheScope":1}`, wire.Filter{Private: true}, `{"ttlMs":60000,"cacheScope":"private"}`},
		{"negative time", "resources/read", `{"ttlMs":-1,"cacheScope":{}}`, wire.Filter{Private: true}, `{"ttlMs":0,"cacheScope":"private"}`},
		{"time as text", "resources/read", `{"ttlMs":"1000","cacheScope":null}`, wire.Filter{Private: true}, `{"ttlMs":0,"cacheScope":"private"}`},
		{"another round is not cached", "resources/read", `{"resultType":"input_required"}`, wire.Filter{Private: true}, `{"resultType":"input_required"}`},
		{"legacy never gets it", "tools/list", `{"tools":[]}`, wire.Filter{}, `{"tools":[]}`},
		{"calls are not cached", "tools/call", `{"content":[]}`, wire.Filter{Private: true}, `{"content":[]}`},
		{"state sealed", "tools/call", `{"requestState":"s","content":[]}`, wire.Filter{SealState: seal}, `{"requestState":"<s>","content":[]}`},
		{"task sealed", "tools/call", `{"taskId":"t","task":{"taskId":"u","status":"x"}}`, wire.Filter{SealTask: seal}, `{"taskId":"<t>","task":{"taskId":"<u>","status":"x"}}`},
		{"tasks sealed", "tasks/list", `{"tasks":[{"taskId":"t"},{"taskId":"u"}],"nextCursor":"c"}`, wire.Filter{SealTask: seal, SealCursor: seal}, `{"tasks":[{"taskId":"<t>"},{"taskId":"<u>"}],"nextCursor":"<c>"}`},
		{"unknown method", "x/y", `{"tools":[{"name":"no"}]}`, wire.Filter{}, `{"tools":[{"name":"no"}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.FilterResult(tt.method, jsontext.Value(tt.result), tt.filter)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func TestFilterResultRefuses(t *testing.T) {
	for _, result := range []string{
		``, `null`, `[]`, `"x"`, `{`, `{"tools":[}`, `{"tools":[{"name":"ok"}],"tools":[]}`, `{"tools":[{"name":"ok","name":"no"}]}`, `{"tools":[]}{}`, `{"tools":[]} x`,
		`{"tools":{}}`, `{"tools":"x"}`, `{"tools":[],"Tools":[{"name":"no"}]}`, `{"TOOLS":[]}`, `{"toolſ":[]}`, `{"tools":[],"nextcursor":"c"}`, `{"tools":[],"next_cursor":"c"}`,
		`{"tools":[],"nextCursor":1}`, `{"tools":[],"nextCursor":{}}`, `{"tools":[],"CacheScope":"public"}`, `{"tools":[],"requestState":1}`, `{"tools":[` + "\xff" + `]}`,
	} {
		seal := func(s string) string { return s }
		got, err := wire.FilterResult("tools/list", jsontext.Value(result), wire.Filter{Keep: keepOnly(policy.Tool), SealCursor: seal, SealState: seal, Private: true})
		if err == nil {
			t.Errorf("%s: passed as %s", result, got)
		}
	}
	for _, method := range []string{"tools/call", "x/y"} {
		if got, err := wire.FilterResult(method, jsontext.Value(`[]`), wire.Filter{}); err == nil {
			t.Errorf("%s: passed as %s", method, got)
		}
	}
}

func TestListItems(t *testing.T) {
	items, err := wire.ListItems("tools/list", jsontext.Value(`{"tools":[{"name":"a"}, {"name":"b"}],"nextCursor":"c"}`))
	if err != nil || len(items) != 2 || string(items[1]) != `{"name":"b"}` {
		t.Errorf("got %s, %v", items, err)
	}
	if _, err := wire.ListItems("tools/call", jsontext.Value(`{}`)); err == nil {
		t.Error("tools/call has no list")
	}
	if _, err := wire.ListItems("tools/list", jsontext.Value(`{"tools":{}}`)); err == nil {
		t.Error("no list accepted")
	}
}
