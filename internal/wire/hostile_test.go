package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// hostile is one message that must be refused, and how.
type hostile struct {
	name, body string
	code       int
	id         string // echoed id; "" when none
}

const call1 = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{}}}`

// hostiles generates the table of must-nots.
func hostiles() []hostile {
	var all []hostile
	add := func(code int, id, name, body string) { all = append(all, hostile{name, body, code, id}) }

	// Not JSON as it is taken here.
	for name, body := range map[string]string{
		"nothing": "", "space": " ", "BOM": "\xef\xbb\xbf" + call1, "bare word": "tools", "single quotes": `{'jsonrpc':'2.0'}`,
		"comment": `{"jsonrpc":"2.0",/* */"method":"ping"}`, "NaN": `{"jsonrpc":"2.0","id":NaN,"method":"ping"}`, "plus": `{"jsonrpc":"2.0","id":+1,"method":"ping"}`,
		"hex": `{"jsonrpc":"2.0","id":0x1,"method":"ping"}`, "leading zero": `{"jsonrpc":"2.0","id":01,"method":"ping"}`, "no value": `{"jsonrpc":}`,
		"unquoted name": `{jsonrpc:"2.0"}`, "mismatched": `{"jsonrpc":"2.0"]`, "form feed": "\f" + call1, "NBSP": "\u00a0" + call1, "only gzip": "\x1f\x8b\x08\x00\x00",
		"UTF-16 with mark": "\xfe\xff\x00{\x00}", "NUL": "\x00", "raw control in string": "{\"jsonrpc\":\"2.0\",\"id\":\"\x01\",\"method\":\"ping\"}",
	} {
		add(wire.CodeParse, "", name, body)
	}
	add(wire.CodeParse, "1", "truncated", call1[:40])
	for _, order := range []string{"be", "le"} {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune(call1)) {
			hi, lo := byte(u>>8), byte(u)
			if order == "le" {
				hi, lo = lo, hi
			}
			b.WriteByte(hi)
			b.WriteByte(lo)
		}
		add(wire.CodeParse, "", "UTF-16 "+order, b.String())
	}
	for _, tail := range []string{"{}", call1, "x", ",", "]", "}", "\x00", "null", "\xef\xbb\xbf", "\u2028", "// x"} {
		add(wire.CodeParse, "1", fmt.Sprintf("behind it %q", tail), call1+tail)
		add(wire.CodeParse, "1", fmt.Sprintf("on the next line %q", tail), call1+"\n"+tail)
	}
	for _, bad := range []string{"\xff", "\xc0\x80", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", `\ud800`, `\udc00`, `\ud800\u0041`, `\udc00\ud800`, `\u00`, `\x41`, `\`} {
		for where, form := range map[string]string{
			"id": `{"jsonrpc":"2.0","id":"%s","method":"ping"}`, "name": `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s"}}`,
			"argument": `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"%s":1}}}`,
		} {
			id := "1"
			if where == "id" || bad == `\` {
				id = "?" // whatever could be read
			}
			add(wire.CodeParse, id, fmt.Sprintf("bad text %q in %s", bad, where), fmt.Sprintf(form, bad))
		}
	}

	// Duplicate names, plain and escaped, at every level.
	for _, d := range []struct{ first, second string }{
		{`"name"`, `"name"`},
		{`"name"`, `"n\u0061me"`},
		{`"n\u0061me"`, `"\u006eame"`},
		{`"na\/me"`, `"na/me"`},
		{`"\u00e9"`, `"é"`},
		{`"\ud83d\ude00"`, `"😀"`},
		{`""`, `""`},
	} {
		for where, form := range map[string]string{
			"params": `{"jsonrpc":"2.0","id":1,"method":"ping","params":{%s:1,%s:2}}`, "arguments": `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{%s:1,"b":2,%s:3}}}`,
			"deep": `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":[[{"y":{%s:1,%s:1}}]]}}}`, "meta": `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{%s:1,%s:2}}}`,
			"result": `{"jsonrpc":"2.0","id":1,"result":{%s:1,%s:2}}`, "error data": `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","data":{%s:1,%s:2}}}`,
		} {
			add(wire.CodeParse, "1", fmt.Sprintf("duplicate %s %s in %s", d.first, d.second, where), fmt.Sprintf(form, d.first, d.second))
		}
	}
	for _, m := range []string{`"jsonrpc":"2.0"`, `"method":"ping"`, `"params":{}`, `"\u006dethod":"tools/call"`, `"par\u0061ms":{"name":"b"}`} {
		add(wire.CodeParse, "1", "duplicate in the envelope "+m, strings.TrimSuffix(call1, "}")+","+m+"}")
	}
	add(wire.CodeParse, "", "two ids", `{"jsonrpc":"2.0","id":1,"method":"ping","id":2}`)
	add(wire.CodeParse, "", "two ids, one escaped", `{"jsonrpc":"2.0","id":1,"method":"ping","\u0069d":2}`)
	for _, nul := range []string{`"name\u0000"`, `"\u0000"`, `"na\u0000me"`} {
		add(wire.CodeParse, "1", "NUL in params", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a",`+nul+`:1}}`)
		add(wire.CodeParse, "1", "NUL in arguments", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":[{`+nul+` : 1}]}}}`)
		add(wire.CodeParse, "1", "NUL in the envelope", strings.TrimSuffix(call1, "}")+","+nul+":1}")
	}
	add(wire.CodeParse, "1", "depth 65", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":`+strings.Repeat("[", 62)+strings.Repeat("]", 62)+`}}}`)
	add(wire.CodeParse, "1", "depth 200,000", `{"jsonrpc":"2.0","id":1,"x":`+strings.Repeat("[", 200_000)+strings.Repeat("]", 200_000)+`}`)
	add(wire.CodeParse, "", "depth never closed", strings.Repeat("[", 200_000))
	add(wire.CodeParse, "", "objects never closed", strings.Repeat(`{"a":`, 100_000))
	add(wire.CodeParse, "1", "many elements", `{"jsonrpc":"2.0","id":1,"x":[`+strings.Repeat("1,", 100_001)+`1]}`)
	var keys strings.Builder
	for i := range 100_001 {
		fmt.Fprintf(&keys, `"k%d":0,`, i)
	}
	add(wire.CodeParse, "7", "many keys, id last", `{"jsonrpc":"2.0","method":"ping","params":{`+strings.TrimSuffix(keys.String(), ",")+`},"id":7}`)

	return append(all, wrongMessages()...)
}

// wrongMessages generates those that are JSON.
func wrongMessages() []hostile {
	var all []hostile
	add := func(code int, id, name, body string) { all = append(all, hostile{name, body, code, id}) }
	const invalid, params = wire.CodeInvalidRequest, wire.CodeInvalidParams

	for _, body := range []string{"[]", "[" + call1 + "]", "[" + call1 + "," + call1 + "]", "null", "true", "1", `"x"`, "{}"} {
		add(invalid, "", "no object or empty: "+body, body)
	}
	for _, v := range []string{`"1.0"`, `"2"`, `2.0`, `"2.0 "`, `null`, `["2.0"]`, `"２.0"`, `{}`} {
		add(invalid, "1", "version "+v, `{"jsonrpc":`+v+`,"id":1,"method":"ping"}`)
	}
	add(invalid, "1", "no version", `{"id":1,"method":"ping"}`)
	for _, name := range []string{"ID", "Id", "Method", "METHOD", "PARAMS", "Jsonrpc", "jsonRpc", "json_rpc", "reſult", "Result", "ｍethod", "METHOD\u200b", "extra", "batch", "__proto__", "auth", ""} {
		add(invalid, "1", "envelope member "+name, strings.TrimSuffix(call1, "}")+`,"`+name+`":"x"}`)
	}
	for _, id := range []string{`null`, `{}`, `[]`, `[1]`, `true`, `false`, `{"a":1}`, `"` + strings.Repeat("i", 255) + `"`, strings.Repeat("1", 257), `"` + strings.Repeat("x", 1<<20) + `"`} {
		add(invalid, "", "id "+id[:min(len(id), 20)], `{"jsonrpc":"2.0","id":`+id+`,"method":"ping"}`)
	}
	for _, m := range []string{`1`, `null`, `{}`, `["tools/call"]`, `true`, `""`, `"a\u0000b"`, `"a\nb"`, `"\u007f"`, `"\u0085"`, `"` + strings.Repeat("m", 257) + `"`} {
		add(invalid, "1", "method "+m[:min(len(m), 20)], `{"jsonrpc":"2.0","id":1,"method":`+m+`}`)
	}
	for _, p := range []string{`[]`, `[1]`, `null`, `"x"`, `1`, `false`} {
		add(invalid, "1", "params "+p, `{"jsonrpc":"2.0","id":1,"method":"ping","params":`+p+`}`)
	}
	for _, m := range []string{"tools/call", "tools/list", "initialize", "ping", "resources/read", "server/discover", "tasks/cancel", "subscriptions/listen", "completion/complete"} {
		add(invalid, "", "without id "+m, `{"jsonrpc":"2.0","method":"`+m+`","params":{"name":"a","uri":"a:b","taskId":"t"}}`)
	}
	for _, m := range []string{"notifications/initialized", "notifications/cancelled", "notifications/progress", "notifications/unheard/of"} {
		add(invalid, "1", "with id "+m, `{"jsonrpc":"2.0","id":1,"method":"`+m+`"}`)
	}
	for name, rest := range map[string]string{
		"result and error": `"result":{},"error":{"code":1,"message":""}`, "method and result": `"method":"ping","result":{}`, "method and error": `"method":"ping","error":{"code":1,"message":""}`,
		"neither": `"params":{}`, "nothing": `"params":{"a":1}`, "result with params": `"result":{},"params":{}`, "error null": `"error":null`, "error text": `"error":"x"`,
		"error without code": `"error":{"message":""}`, "error code fraction": `"error":{"code":1.5,"message":""}`, "error code twice": `"error":{"code":1,"message":"","CODE":2}`,
	} {
		add(invalid, "1", name, `{"jsonrpc":"2.0","id":1,`+rest+`}`)
	}
	add(invalid, "", "result without id", `{"jsonrpc":"2.0","result":{}}`)
	add(invalid, "", "error with null id", `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}`)

	// Look-alikes of what a decision rests on.
	for method, twins := range map[string]map[string][]string{
		"tools/call": {
			`"name":"a"`: {"Name", "NAME", "nAme", "ｎａｍｅ", "name\u200b", "\ufeffname", "na\u00adme", "Arguments", "ARGUMENTS", "argumentſ", "requeststate", "request_state", "request-state", "InputResponses", "input_responses", "_Meta", "_META", "meta", "Task", "taſk", "tasK"},
		},
		"resources/read":           {`"uri":"a:b"`: {"URI", "Uri", "uRI", "ｕｒｉ", "u\u2060ri"}},
		"tools/list":               {`"a":1`: {"Cursor", "curſor", "CURSOR"}},
		"notifications/cancelled":  {`"a":1`: {"requestid", "request_id", "RequestId", "requestID", "requestId\u200d"}},
		"tasks/get":                {`"taskId":"t"`: {"taskid", "task_id", "TaskID", "tas\u212aId"}},
		"completion/complete":      {`"ref":{"type":"ref/prompt","name":"p"}`: {"Ref", "ARGUMENT"}},
		"initialize":               {`"protocolVersion":"2025-06-18"`: {"ProtocolVersion", "protocol_version", "clientinfo", "Capabilities"}},
		"unheard/of":               {`"a":1`: {"_Meta", "Meta"}},
		"subscriptions/listen":     {`"notifications":{}`: {"Notifications"}},
		"resources/templates/list": {`"a":1`: {"cursoR"}},
	} {
		id, idOf := `"id":1,`, "1"
		if strings.HasPrefix(method, "notifications/") {
			id, idOf = "", ""
		}
		for base, names := range twins {
			for _, name := range names {
				add(invalid, idOf, "look-alike of "+method+" "+name, `{"jsonrpc":"2.0",`+id+`"method":"`+method+`","params":{`+base+`,"`+name+`":"x"}}`)
			}
		}
	}
	for _, inside := range []string{
		`"_meta":{"progresstoken":1}`, `"_meta":{"ProgressToken":1}`, `"_meta":{"progress_token":1}`, `"_meta":{"io.modelcontextprotocol/ProtocolVersion":"2026-07-28"}`,
		`"_meta":{"io.modelcontextprotocol/protocolversion":"2026-07-28"}`, `"_meta":{"IO.modelcontextprotocol/protocolVersion":"x"}`, `"_meta":{"io.modelcontextprotocol/clientinfo":{}}`,
		`"_meta":{"io.modelcontextprotocol/protocolVerſion":"x"}`, `"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"a","Name":"b"}}`,
	} {
		add(invalid, "1", "look-alike in "+inside, `{"jsonrpc":"2.0","id":1,"method":"ping","params":{`+inside+`}}`)
	}
	add(invalid, "1", "look-alike in ref", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p","NAME":"q"}}}`)
	add(invalid, "1", "look-alike in notifications", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourcesubscriptions":["a:b"]}}}`)

	// Known members of the wrong type, and missing ones.
	for method, list := range map[string][]string{
		"tools/call": {
			``, `"name":1`, `"name":null`, `"name":["a"]`, `"name":{}`, `"arguments":{}`, `"name":"a","arguments":[]`, `"name":"a","arguments":null`, `"name":"a","arguments":"{}"`,
			`"name":"a","requestState":1`, `"name":"a","inputResponses":[]`, `"name":"a","task":true`, `"name":"a","_meta":null`, `"name":"a","_meta":[]`, `"name":"a","_meta":{"progressToken":null}`,
			`"name":"a","_meta":{"progressToken":{}}`, `"name":"a","_meta":{"progressToken":"` + strings.Repeat("t", 256) + `"}`, `"name":"a","_meta":{"io.modelcontextprotocol/protocolVersion":20260728}`,
			`"name":"a","_meta":{"io.modelcontextprotocol/protocolVersion":""}`, `"name":"a","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28\n"}`, `"name":"a","_meta":{"io.modelcontextprotocol/clientInfo":"x"}`,
			`"name":"a","_meta":{"io.modelcontextprotocol/clientInfo":{"name":1}}`, `"name":"a","_meta":{"io.modelcontextprotocol/subscriptionId":[]}`,
		},
		"resources/read":      {``, `"uri":1`, `"uri":null`, `"uri":["a:b"]`, `"name":"a"`},
		"resources/subscribe": {``, `"uri":{}`},
		"prompts/get":         {``, `"name":false`, `"name":"a","arguments":[]`},
		"tools/list":          {`"cursor":1`, `"cursor":null`, `"cursor":{}`},
		"completion/complete": {
			``, `"ref":"x"`, `"ref":{}`, `"ref":{"type":"ref/prompt"}`, `"ref":{"type":"ref/prompt","uri":"a:b"}`, `"ref":{"type":"ref/resource","uri":"a:b","name":"p"}`,
			`"ref":{"type":"ref/prompt","name":"p","uri":"a:b"}`, `"ref":{"type":"Ref/prompt","name":"p"}`, `"ref":{"type":"ref/prompt","name":1}`, `"ref":{"name":"p"}`,
		},
		"logging/setLevel":        {``, `"level":7`},
		"tasks/get":               {``, `"taskId":1`},
		"subscriptions/listen":    {``, `"notifications":[]`, `"notifications":{"resourceSubscriptions":"a:b"}`, `"notifications":{"resourceSubscriptions":[1]}`, `"notifications":{"resourceSubscriptions":{"a":"b"}}`},
		"initialize":              {`"protocolVersion":1`, `"clientInfo":"x"`, `"capabilities":[]`, `"protocolVersion":"` + strings.Repeat("9", 65) + `"`},
		"notifications/cancelled": {`"requestId":null`, `"requestId":{}`, `"requestId":"` + strings.Repeat("r", 300) + `"`},
		"notifications/progress":  {``, `"progressToken":null`, `"progressToken":1,"progress":"1"`},
	} {
		id, idOf := `"id":1,`, "1"
		if strings.HasPrefix(method, "notifications/") {
			id, idOf = "", ""
		}
		for _, inside := range list {
			add(params, idOf, method+" with "+inside[:min(len(inside), 70)], `{"jsonrpc":"2.0",`+id+`"method":"`+method+`","params":{`+inside+`}}`)
		}
	}
	add(params, "1", "no params at all", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`)
	add(wire.CodeMethodNotFound, "1", "removed method in the modern era", `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`)
	return all
}

func TestParseClientRefuses(t *testing.T) {
	table := hostiles()
	if len(table) < 150 {
		t.Fatalf("only %d hostile messages", len(table))
	}
	for _, h := range table {
		m, err := wire.ParseClient([]byte(h.body), wire.Limits{})
		var refusal *wire.ParseError
		if !errors.As(err, &refusal) {
			t.Errorf("%s: accepted as %+v", h.name, m)
			continue
		}
		if refusal.Code != h.code || (h.id != "?" && string(refusal.ID) != h.id) {
			t.Errorf("%s: code %d id %q, want %d %q (%s)", h.name, refusal.Code, refusal.ID, h.code, h.id, refusal.Reason)
		}
		want := 400
		if h.code == wire.CodeMethodNotFound {
			want = 404
		}
		if m != nil || refusal.Status != want || refusal.Reason == "" || strings.Contains(refusal.Error(), `"a"`) {
			t.Errorf("%s: message %v, status %d, reason %q", h.name, m, refusal.Status, refusal.Reason)
		}
	}
	t.Logf("%d hostile messages refused", len(table))
}

func TestParseClientRefusesWhatIsTooLarge(t *testing.T) {
	_, err := wire.ParseClient([]byte(call1), wire.Limits{Bytes: int64(len(call1) - 1)})
	var refusal *wire.ParseError
	if !errors.As(err, &refusal) || refusal.Status != 413 {
		t.Errorf("got %v", err)
	}
	if _, err := wire.ParseClient([]byte(call1), wire.Limits{Bytes: int64(len(call1)), Depth: 3, Members: 10}); err != nil {
		t.Errorf("refused at the limit: %v", err)
	}
	for name, lim := range map[string]wire.Limits{"depth": {Depth: 2}, "members": {Members: 5}} {
		if _, err := wire.ParseClient([]byte(call1), lim); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBatchesAreRefusedWithAHint(t *testing.T) {
	_, err := wire.ParseClient([]byte("["+call1+"]"), wire.Limits{})
	if err == nil || !strings.Contains(err.Error(), "batches") {
		t.Errorf("got %v", err)
	}
}

// A method of the other side names nothing: nobody may be judged, or let through, by what it seems to name.
func TestMethodsOfTheOtherSideNameNothing(t *testing.T) {
	const updated = `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}`
	if m, err := wire.ParseClient([]byte(updated), wire.Limits{}); err != nil || m.Target.Name != "" {
		t.Errorf("client: %+v, %v", m, err)
	}
	if m, err := wire.ParseServer([]byte(updated), wire.Limits{}); err != nil || m.Target.Name != "a:b" {
		t.Errorf("server: %+v, %v", m, err)
	}
	if m, err := wire.ParseServer([]byte(call1), wire.Limits{}); err != nil || m.Target.Name != "" {
		t.Errorf("server: %+v, %v", m, err)
	}
}

// What looks dangerous but is ordinary must pass.
func TestParseClientAccepts(t *testing.T) {
	for _, params := range []string{
		`{"name":"a","arguments":{"Name":"x","NAME":"y","name":"z"}}`, // free-form map, not ours to fold
		`{"name":"a","arguments":{"text":"\u0000 and \\u0000"}}`,      // NUL in a value
		`{"name":"a","arguments":{"\\u0000":1}}`,                      // a name with a backslash, no NUL
		`{"name":"a","arguments":{"b":1e999,"c":12345678901234567890}}`,
		`{"name":"a","vendor":{"x":1},"names":1,"_meta":{"vendor/x":1,"token":2}}`,
		`{"name":"","arguments":{}}`,
		`{"name":"a\"b\\","arguments":{"x\\":"\\\"}","y\"":"\\\\"}}`, // quotes and backslashes at the ends
		`{"name":"a","arguments":{"x":"` + strings.Repeat("x", 40) + `\\\"{","y":"` + strings.Repeat(`\"`, 40) + `\\"}}`,
		`{"name":"日本語","arguments":{"😀":"\ud83d\ude00"}}`,
		`{"name":"a","arguments":{"x":` + strings.Repeat("[", 61) + strings.Repeat("]", 61) + `}}`,
		`{"name":"a","arguments":{"x":"` + strings.Repeat("[{,:", 50_000) + `"}}`,
	} {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + params + `}`
		if _, err := wire.ParseClient([]byte(body), wire.Limits{}); err != nil {
			t.Errorf("%.80s: %v", params, err)
		}
		agree(t, []byte(body))
	}
}
