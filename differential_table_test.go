package sallyport_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf16"
)

// differential is one message of a table: sent in the legacy session unless bare.
type differential struct {
	name, body   string
	status, code int
	header       http.Header
	bare         bool // without session and version of its own
}

func (d differential) headers(session string) http.Header {
	h := d.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if !d.bare {
		h["Mcp-Session-Id"] = []string{session}
		if h["Mcp-Protocol-Version"] == nil {
			h["Mcp-Protocol-Version"] = []string{"2025-11-25"}
		}
	}
	return h
}

const (
	maxNaive    = 100_000 // bytes of a message
	hostileBase = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`
	hostileCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"classified","arguments":{}}}`
)

// hostileTable gathers rows.
type hostileTable []differential

func (h *hostileTable) add(status, code int, name, body string) {
	*h = append(*h, differential{name: name, body: body, status: status, code: code})
}

// inCall is a call with these members in params.
func inCall(params string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + params + `}}`
}

// differentials is the table of must-nots. Most hide a call of what the caller may not call.
func differentials() []differential {
	var h hostileTable
	h.duplicates()
	h.lookalikes()
	h.text()
	h.grammar()
	h.shapes()
	h.framing()
	h.forbidden()
	h.lies()
	return h
}

// duplicates has every name twice, in both orders, plain and escaped.
func (h *hostileTable) duplicates() {
	for _, d := range []struct{ name, one, two, form string }{
		{"name", `"echo"`, `"classified"`, inCall(`%s,"arguments":{},%s`)},
		{"method", `"ping"`, `"tools/call"`, `{"jsonrpc":"2.0","id":1,%s,"params":{"name":"classified"},%s}`},
		{"params", `{"name":"echo"}`, `{"name":"classified"}`, `{"jsonrpc":"2.0","id":1,%s,"method":"tools/call",%s}`},
		{"id", `1`, `2`, `{"jsonrpc":"2.0",%s,"method":"tools/call","params":{"name":"classified"},%s}`},
		{"jsonrpc", `"2.0"`, `"1.0"`, `{%s,"id":1,"method":"tools/call","params":{"name":"classified"},%s}`},
		{"arguments", `{}`, `{"x":1}`, inCall(`"name":"echo",%s,%s`)},
		{"_meta", `{}`, `{"progressToken":1}`, inCall(`"name":"echo",%s,%s`)},
		{"path", `"a"`, `"b"`, inCall(`"name":"echo","arguments":{%s,%s}`)},
		{"deep", `1`, `2`, inCall(`"name":"echo","arguments":{"x":[[{"y":{%s,%s}}]]}`)},
		{"uri", `"file:///a"`, `"file:///classified"`, `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{%s,%s}}`},
		{"progressToken", `1`, `2`, inCall(`"name":"echo","_meta":{%s,%s}`)},
	} {
		escaped := fmt.Sprintf(`\u%04x`, d.name[0]) + d.name[1:]
		for _, spelling := range []string{d.name, escaped, d.name[:len(d.name)-1] + fmt.Sprintf(`\u%04X`, d.name[len(d.name)-1])} {
			first, second := `"`+d.name+`":`+d.one, `"`+spelling+`":`+d.two
			h.add(400, -32700, "twice "+d.name+" as "+spelling, fmt.Sprintf(d.form, first, second))
			h.add(400, -32700, "twice "+d.name+" as "+spelling+", turned round", fmt.Sprintf(d.form, second, first))
		}
	}
}

// lookalikes has names that some reader takes for known ones.
func (h *hostileTable) lookalikes() {
	for form, names := range map[string][]string{
		inCall(`"name":"echo","%s":"classified"`):                                                             {"Name", "NAME", "nAme", "ｎａｍｅ", `name\u200b`, `\ufeffname`, `na\u00admE`, "n_ame", "na-me", `\u004eame`},
		inCall(`"%s":"classified","name":"echo"`):                                                             {"Name", "NAME", "ｎame"},
		`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"name":"classified"},"%s":"tools/call"}`:           {"Method", "METHOD", "ｍethod", `method\u200b`, "met_hod", `\u004dethod`},
		`{"jsonrpc":"2.0","id":1,"%s":"tools/call","params":{"name":"classified"},"method":"ping"}`:           {"Method", "METHOD"},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"},"%s":{"name":"classified"}}`:  {"Params", "PARAMS", "paramſ", "par_ams", "batch", ""},
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b","%s":"file:///classified"}}`: {"URI", "Uri", "uRI", "ｕｒｉ", `u\u2060ri`},
		inCall(`"name":"echo","%s":{"a":1}`):                                                                  {"Arguments", "ARGUMENTS", "argumentſ", "_Meta", "meta", "input_responses"},
		inCall(`"name":"echo","_meta":{"%s":1}`):                                                              {"progresstoken", "ProgressToken", "progress_token"},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"classified"},"%s":2}`:                {"ID", "Id", "iD"},
	} {
		for _, name := range names {
			h.add(400, -32600, "look-alike "+name, fmt.Sprintf(form, name))
		}
	}
	for _, name := range []string{`name\u0000`, `na\u0000me`, `\u0000`, `name\u0000x`} {
		h.add(400, -32700, "NUL in "+name, inCall(`"`+name+`":"classified","name":"echo"`))
		h.add(400, -32700, "NUL in the envelope, "+name, `{"jsonrpc":"2.0","id":1,"method":"ping","`+strings.Replace(name, "name", "method", 1)+`":"tools/call","params":{"name":"classified"}}`)
	}
}

// text has bytes that are not the UTF-8 they should be.
func (h *hostileTable) text() {
	h.add(400, -32700, "byte order mark", "\ufeff"+hostileCall)
	for _, order := range []string{"be", "le"} {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune(hostileCall)) {
			pair := []byte{byte(u >> 8), byte(u)}
			if order == "le" {
				pair[0], pair[1] = pair[1], pair[0]
			}
			b.Write(pair)
		}
		mark := map[string]string{"be": "\xfe\xff", "le": "\xff\xfe"}[order]
		h.add(400, -32700, "UTF-16 "+order, b.String())
		h.add(400, -32700, "UTF-16 with its mark "+order, mark+b.String())
	}
	for _, bad := range []string{"\xff", "\xc0\x80", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x00", "\x1f", `\ud800`, `\udc00`, `\ud800\u0041`, `\udc00\ud800`, `\u00`, `\x41`} {
		h.add(400, -32700, fmt.Sprintf("bad text %q in a name", bad), inCall(`"name":"echo`+bad+`"`))
		h.add(400, -32700, fmt.Sprintf("bad text %q in a member", bad), inCall(`"name":"classified","`+bad+`":1`))
	}
}

// grammar has what only a lenient parser takes, and what is too much.
func (h *hostileTable) grammar() {
	for _, tail := range []string{"{}", hostileCall, "x", ",", "]", "}", "\x00", "null", "\ufeff", "\u2028", "// x"} {
		h.add(400, -32700, fmt.Sprintf("behind it %.20q", tail), hostileCall+tail)
		h.add(400, -32700, fmt.Sprintf("on the next line %.20q", tail), hostileBase+"\n"+tail)
	}
	for name, body := range map[string]string{
		"nothing": "", "space": " ", "comment": `{"jsonrpc":"2.0",/* */"id":1,"method":"tools/call","params":{"name":"classified"}}`,
		"trailing comma": inCall(`"name":"classified",`), "single quotes": `{'jsonrpc':'2.0','id':1,'method':'ping'}`, "no quotes": `{jsonrpc:"2.0",id:1,method:"ping"}`,
		"NaN": `{"jsonrpc":"2.0","id":NaN,"method":"ping"}`, "plus": `{"jsonrpc":"2.0","id":+1,"method":"ping"}`, "hex": `{"jsonrpc":"2.0","id":0x1,"method":"ping"}`,
		"leading zero": `{"jsonrpc":"2.0","id":01,"method":"ping"}`, "cut short": hostileCall[:len(hostileCall)-1], "form feed": "\f" + hostileCall, "no-break space": "\u00a0" + hostileCall,
		"line ends in strings": inCall("\"name\":\"classified\n\""), "sequence of records": "\x1e" + hostileCall, "in parentheses": "(" + hostileCall + ")", "while(1)": "while(1);" + hostileCall,
		"depth 65":   inCall(`"name":"classified","arguments":{"x":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}`),
		"depth lots": inCall(`"name":"classified","arguments":{"x":` + strings.Repeat("[", 40_000) + strings.Repeat("]", 40_000) + `}`),
		"no end":     strings.Repeat(`{"a":`, 15_000),
	} {
		h.add(400, -32700, name, body)
	}
	h.add(413, -32600, "too large", inCall(`"name":"classified","arguments":{"x":"`+strings.Repeat("x", maxNaive)+`"}`))
	for _, body := range []string{"[]", "[" + hostileCall + "]", "[" + hostileBase + "," + hostileCall + "]", "[[" + hostileCall + "]]", "null", "true", "1", `"x"`, "{}"} {
		h.add(400, -32600, fmt.Sprintf("no object: %.30s", body), body)
	}
}

// shapes has JSON that is no acceptable message.
func (h *hostileTable) shapes() {
	for _, id := range []string{`null`, `{}`, `[]`, `[1]`, `true`, `false`, `{"a":1}`, `"` + strings.Repeat("i", 255) + `"`, strings.Repeat("1", 257)} {
		h.add(400, -32600, fmt.Sprintf("id %.20s", id), `{"jsonrpc":"2.0","id":`+id+`,"method":"tools/call","params":{"name":"classified"}}`)
	}
	for _, v := range []string{`"1.0"`, `"2"`, `2.0`, `null`, `["2.0"]`, `{}`} {
		h.add(400, -32600, "version "+v, `{"jsonrpc":`+v+`,"id":1,"method":"tools/call","params":{"name":"classified"}}`)
	}
	for _, m := range []string{`1`, `null`, `{}`, `["tools/call"]`, `true`, `""`, `"tools/call\u0000"`, `"tools/call\n"`} {
		h.add(400, -32600, "method "+m, `{"jsonrpc":"2.0","id":1,"method":`+m+`,"params":{"name":"classified"}}`)
	}
	for _, p := range []string{`[]`, `["classified"]`, `null`, `"classified"`, `1`, `false`} {
		h.add(400, -32600, "params "+p, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+p+`}`)
	}
	for _, p := range []string{``, `"name":1`, `"name":null`, `"name":["classified"]`, `"name":{"a":"classified"}`, `"name":true`, `"name":"echo","arguments":[]`, `"name":"echo","arguments":null`, `"name":"echo","arguments":"{}"`, `"name":"echo","_meta":[]`} {
		h.add(400, -32602, "call with "+p, inCall(p))
	}
	for _, m := range []string{"tools/call", "tools/list", "initialize", "ping", "resources/read"} {
		h.add(400, -32600, "without id "+m, `{"jsonrpc":"2.0","method":"`+m+`","params":{"name":"classified","uri":"file:///classified"}}`)
	}
	h.add(400, -32600, "notification with id", `{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}`)
	for _, rest := range []string{`"result":{}`, `"error":{"code":1,"message":""}`, `"method":"tools/call","params":{"name":"classified"},"result":{}`, `"result":{},"error":{"code":1,"message":""}`, `"params":{"name":"classified"}`} {
		h.add(400, -32600, "answer nobody asked for "+rest, `{"jsonrpc":"2.0","id":1,`+rest+`}`)
	}
	for _, m := range []string{"Tools/Call", "TOOLS/CALL", "tools/call ", "tools/ca\u017fl", "tools//call", "tool\u017f/call", "tools_call", "tools/call/", "sampling/createMessage"} {
		h.add(200, -32601, "method "+m, `{"jsonrpc":"2.0","id":1,"method":"`+m+`","params":{"name":"classified"}}`)
	}
}

// framing has bodies that say they are something else.
func (h *hostileTable) framing() {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(hostileCall)) // into memory
	_ = z.Close()
	h.add(400, -32700, "gzip that is not said", b.String())
	for _, row := range []struct{ name, header, value, body string }{
		{"gzip", "Content-Encoding", "gzip", b.String()},
		{"said to be gzip", "Content-Encoding", "gzip", hostileBase},
		{"said to be brotli", "Content-Encoding", "br", hostileBase},
		{"identity twice", "Content-Encoding", "identity, identity", hostileBase},
		{"plain text", "Content-Type", "text/plain", hostileBase},
		{"a form", "Content-Type", "application/x-www-form-urlencoded", hostileBase},
		{"many parts", "Content-Type", "multipart/form-data; boundary=x", hostileBase},
	} {
		*h = append(*h, differential{name: row.name, body: row.body, status: 415, code: -32600, header: http.Header{row.header: {row.value}}})
	}
}

// forbidden has what is said plainly, in several spellings.
func (h *hostileTable) forbidden() {
	for _, name := range []string{"classified", `cl\u0061ssified`, `\u0063lassified`, "Classified", "classified ", `classified\u0000`, `echo\u0000`, "ECHO", "ｅｃｈｏ", "echo/../classified", "*", ""} {
		h.add(403, -32010, "call of "+name, inCall(`"name":"`+name+`","arguments":{}`))
	}
	h.add(403, -32010, "escaped method", `{"jsonrpc":"2.0","id":1,"\u006dethod":"tools\/call","params":{"n\u0061me":"classified"}}`)
	h.add(403, -32010, "params first", `{"params":{"arguments":{"name":"echo"},"name":"classified"},"method":"tools/call","id":1,"jsonrpc":"2.0"}`)
	for _, uri := range []string{"file:///classified", `file:\/\/\/classified`, "FILE:///classified", "file:///a/../classified"} {
		h.add(403, -32010, "read of "+uri, `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"`+uri+`"}}`)
	}
}

// lies has headers that say something else than the body, under each revision.
func (h *hostileTable) lies() {
	lie := func(status, code int, name, body string, bare bool, header http.Header) {
		*h = append(*h, differential{name: name, body: body, status: status, code: code, bare: bare, header: header})
	}
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for _, version := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"} {
		v := []string{version}
		lie(400, -32020, version+": the header names the allowed tool", hostileCall, false, http.Header{"Mcp-Protocol-Version": v, "Mcp-Name": {"echo"}})
		lie(400, -32020, version+": the header names the forbidden tool", hostileBase, false, http.Header{"Mcp-Protocol-Version": v, "Mcp-Name": {"classified"}})
		lie(400, -32020, version+": in base64", hostileBase, false, http.Header{"Mcp-Protocol-Version": v, "Mcp-Name": {"=?base64?Y2xhc3NpZmllZA==?="}})
		lie(400, -32020, version+": another method", hostileCall, false, http.Header{"Mcp-Protocol-Version": v, "Mcp-Method": {"ping"}})
		lie(400, -32020, version+": a call that is a ping", ping, false, http.Header{"Mcp-Protocol-Version": v, "Mcp-Method": {"tools/call"}})
		lie(400, -32020, version+": two names", hostileBase, false, http.Header{"Mcp-Protocol-Version": v, "Mcp-Name": {"echo", "classified"}})
	}
	call := func(tool string) string { return modern(tool, `{}`).body }
	const version = "2026-07-28"
	for name, header := range map[string]http.Header{
		"no headers":               {},
		"version alone":            {"Mcp-Protocol-Version": {version}},
		"no name":                  {"Mcp-Protocol-Version": {version}, "Mcp-Method": {"tools/call"}},
		"no method":                {"Mcp-Protocol-Version": {version}, "Mcp-Name": {"classified"}},
		"another name":             {"Mcp-Protocol-Version": {version}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"echo"}},
		"another case":             {"Mcp-Protocol-Version": {version}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"Classified"}},
		"another method":           {"Mcp-Protocol-Version": {version}, "Mcp-Method": {"tools/list"}, "Mcp-Name": {"classified"}},
		"two methods":              {"Mcp-Protocol-Version": {version}, "Mcp-Method": {"tools/call", "tools/call"}, "Mcp-Name": {"classified"}},
		"an older version":         {"Mcp-Protocol-Version": {"2025-11-25"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"classified"}},
		"two versions":             {"Mcp-Protocol-Version": {version, "2025-11-25"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"classified"}},
		"a broken base64":          {"Mcp-Protocol-Version": {version}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"=?base64?Y2xhc3NpZmllZA?="}},
		"a name with a NUL behind": {"Mcp-Protocol-Version": {version}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"=?base64?Y2xhc3NpZmllZAA=?="}},
	} {
		lie(400, -32020, version+": "+name, call("classified"), true, header)
	}
	told := http.Header{"Mcp-Protocol-Version": {version}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"echo"}}
	lie(400, -32020, version+": in a session", call("echo"), false, told)
	mirrored := told.Clone()
	mirrored["Mcp-Param-Tenant"] = []string{"other"}
	lie(400, -32020, version+": an argument that is not there", call("echo"), true, mirrored)
}

// oddities are messages that are unusual and in order.
func oddities() (all []differential) {
	add := func(name, body string) { all = append(all, differential{name: name, body: body}) }
	for _, id := range []string{
		`0`, `-0`, `-1`, `1.5`, `1.50`, `0.1000`, `9007199254740993`, `-9007199254740993`, `18446744073709551616`, `1e400`, `1E+2`, `0.1e-7`, `""`, `"x"`, `"1"`, `"null"`,
		`"\u0041\/"`, `"é"`, `"日本語 😀"`, `"\ud83d\ude00"`, `"\""`, `"\\u0041"`, `"a\u0000b"`, `"\u2028"`, `"` + strings.Repeat("x", 254) + `"`,
	} {
		add("id "+id, `{"jsonrpc":"2.0","id":`+id+`,"method":"tools/call","params":{"name":"echo","arguments":{}}}`)
	}
	for _, params := range []string{
		`{"name":"echo","arguments":{"a":9007199254740993,"b":1e400,"c":0.1000,"d":-0,"e":1.0E+2,"f":12345678901234567890123}}`,
		`{"name":"echo","arguments":{"Name":"x","NAME":"y","name":"classified","_meta":{},"method":"tools/call"}}`,
		`{"name":"echo","arguments":{"text":"\u0000 and \\u0000","\\u0000":1}}`,
		`{"name":"echo","vendor":{"x":[1,2,{"y":null}]},"names":["classified"],"_meta":{"vendor/x":1.50,"token":"\u00e9","com.example/Name":"classified"}}`,
		`{"_meta":{"progressToken":9007199254740993,"a":1},"arguments":{},"name":"echo"}`,
		`{"_meta":{"progressToken":"\u0041"},"name":"\u0065cho","arguments":{"é":"e\u0301"}}`,
		`{ "name" : "echo" ,` + "\t\r\n" + ` "arguments" : { "x" : [ 1 , 2 ] , "y" : { } } }`,
		`{"n\u0061me":"echo","\u0061rguments":{"\u0061":"\ud83d\ude00","/":"\/"}}`,
		`{"name":"echo","arguments":{"x\\":"\\\"}","y\"":"\\\\","z":"</script>\u2028\u2029\u007f"}}`,
		`{"name":"echo","arguments":{"x":` + strings.Repeat("[", 61) + strings.Repeat("]", 61) + `}}`,
		`{"name":"echo"}`,
	} {
		add("params "+params, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+params+`}`)
		meta := strings.Contains(params, "_meta\":{\"p") || strings.Contains(params, "_meta\":{\"v")
		if !meta && strings.HasSuffix(params, "}}") && !strings.HasPrefix(params, "{ ") {
			all = append(all, differential{
				name: "modern " + params, bare: true, header: http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"echo"}},
				body: `{"jsonrpc":"2.0","id":"m\u002d1","method":"tools/call","params":` + strings.TrimSuffix(params, "}") + `,` + modernMeta + `}}`,
			})
		}
	}
	add("white space", "\r\n\t { \"params\" :\n{\"name\":\"echo\"}\t,\"method\":\"tools\\/call\", \"id\"\r:\n7 ,\"json\\u0072pc\":\"2.0\"} \n")
	return all
}
