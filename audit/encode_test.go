package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sallyport-mcp/sallyport/audit"
)

var at = time.Date(2026, 7, 28, 10, 0, 0, 123, time.UTC)

func full() audit.Event {
	return audit.Event{
		Time: at, Kind: audit.PermissionDenied, Outcome: audit.Denied,
		Principal:  audit.Identity{Issuer: "https://idp.example", Subject: "u-1", Name: "Ann"},
		Credential: "sp_7f", Client: "vscode", IP: netip.MustParseAddr("2001:db8::1"), UserAgent: "curl/8",
		Session: "ab12", Server: "files", Method: "tools/call", Tool: "write_file", Permission: "files:write",
		Rule: "rules", Reason: "no role grants files:write", Ref: 7, Status: 403, Duration: 1500 * time.Microsecond,
		BytesIn: 12, BytesOut: 34, Count: 2, First: at.Add(-time.Second), Repeat: true, Claimed: "bob",
		Details: []audit.Detail{{Name: "pointer", Value: "/path"}, {Name: "n", Value: ""}},
	}
}

var sameEvents = cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}

func TestAppendJSONForm(t *testing.T) {
	e := full()
	want := `{"time":"2026-07-28T10:00:00.000000123Z","kind":"permission_denied","outcome":"denied",` +
		`"principal":{"iss":"https://idp.example","sub":"u-1","name":"Ann"},"claimed":"bob","credential":"sp_7f",` +
		`"client":"vscode","ip":"2001:db8::1","user_agent":"curl/8","session":"ab12","server":"files",` +
		`"method":"tools/call","tool":"write_file","permission":"files:write","rule":"rules",` +
		`"reason":"no role grants files:write","ref":7,"status":403,"duration_us":1500,"bytes_in":12,"bytes_out":34,` +
		`"count":2,"first":"2026-07-28T09:59:59.000000123Z","repeat":true,` +
		`"details":[{"name":"pointer","value":"/path"},{"name":"n","value":""}]}`
	got := string(e.AppendJSON(nil))
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	back, err := audit.Decode([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, back, sameEvents); d != "" {
		t.Error(d)
	}
	small := audit.Event{Kind: audit.ServerStarted, Principal: audit.Identity{Name: "x"}}
	if got, want := string(small.AppendJSON(nil)), `{"time":"0001-01-01T00:00:00.000000000Z","kind":"server_started","principal":{"name":"x"}}`; got != want {
		t.Errorf("got %s", got)
	}
}

// THREATS: one event = one line whatever it contains.
func TestHostileTextIsOneHarmlessLine(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a\nb\rc", `a\u000ab\u000dc`},
		{"\x1b[31mred\x1b[0m", `\u001b[31mred\u001b[0m`},
		{"a\u2028b\u2029c\u0085d", `a\u2028b\u2029c\u0085d`},
		{"\u202egnp.exe", `\u202egnp.exe`},
		{"\u2066x\u2069\u200b\ufeff", `\u2066x\u2069\u200b\ufeff`},
		{"tag\U000e0041", `tag\udb40\udc41`},
		{"v\ufe0f\U000e0100", `v\ufe0f\udb40\udd00`},
		{"\x00\x7f\x9b", `\u0000\u007f�`},
		{`"},{"seq":9`, `\"},{\"seq\":9`},
		{`back\slash`, `back\\slash`},
		{"a\xff\xfeb", "a��b"},
		{"żółć 日本 😀", "żółć 日本 😀"},
	} {
		e := audit.Event{Kind: audit.AuthFailed, UserAgent: c.in}
		line := string(e.AppendJSON(nil))
		if want := `"user_agent":"` + c.want + `"}`; !strings.HasSuffix(line, want) {
			t.Errorf("%q: got %s, want …%s", c.in, line, want)
		}
		checkLine(t, []byte(line))
	}
}

// checkLine says what no line may ever break.
func checkLine(t *testing.T, line []byte) {
	t.Helper()
	if !utf8.Valid(line) || !json.Valid(line) {
		t.Fatalf("not JSON: %q", line)
	}
	for _, r := range string(line) {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			t.Fatalf("%U in %q", r, line)
		}
	}
	if len(line) >= audit.MaxLine {
		t.Fatalf("line of %d bytes", len(line))
	}
}

func TestLongTextIsCutWithHashAndLength(t *testing.T) {
	text := strings.Repeat("é", 1000) // 2000 bytes
	e := audit.Event{Kind: audit.AuthFailed, Reason: text, Tool: text, UserAgent: text[:256], Method: text[:258]}
	got, err := audit.Decode(e.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	suffix := fmt.Sprintf("é…[sha256:%x len:2000]", sum[:8])
	if len(got.Reason) > 1024 || len(got.Reason) < 1022 || !strings.HasPrefix(got.Reason, "éé") || !strings.HasSuffix(got.Reason, suffix) {
		t.Errorf("reason of %d bytes: %s", len(got.Reason), got.Reason)
	}
	if len(got.Tool) > 256 || !strings.HasSuffix(got.Tool, suffix) {
		t.Errorf("tool of %d bytes: %s, want …%s", len(got.Tool), got.Tool, suffix)
	}
	if got.UserAgent != e.UserAgent {
		t.Error("text of exactly the bound was cut")
	}
	if !strings.Contains(got.Method, "len:258]") {
		t.Errorf("method: %s", got.Method)
	}
	if again, _ := audit.Decode(got.AppendJSON(nil)); again.Reason != got.Reason {
		t.Error("cutting twice changes the text")
	}
	grows := audit.Event{Kind: audit.AuthFailed, UserAgent: strings.Repeat("\xff", 200)} // 600 bytes once replaced
	if got, _ := audit.Decode(grows.AppendJSON(nil)); len(got.UserAgent) > 256 || !strings.HasSuffix(got.UserAgent, "len:200]") {
		t.Errorf("user agent: %q", got.UserAgent)
	}
}

func TestLargestEventFitsALine(t *testing.T) {
	bad := strings.Repeat("\x01", 5000)
	e := audit.Event{
		Time: at.AddDate(90000, 0, 0), Kind: audit.Kind(bad), Outcome: audit.Outcome(bad),
		Principal: audit.Identity{Issuer: bad, Subject: bad, Name: bad}, Claimed: bad, Credential: bad, Client: bad, UserAgent: bad,
		Session: bad, Server: bad, Method: bad, Tool: bad, Permission: bad, Rule: bad, Reason: bad,
	}
	for range 1000 {
		e.Details = append(e.Details, audit.Detail{Name: bad, Value: bad})
	}
	line := e.AppendJSON(nil)
	checkLine(t, line)
	got, err := audit.Decode(line)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Details); n != audit.MaxDetails || got.Details[n-1] != (audit.Detail{Name: "left_out", Value: "937"}) {
		t.Errorf("%d details, last %v", n, got.Details[n-1])
	}
}

// Must not: everything that AppendJSON does not write.
func TestDecodeRefuses(t *testing.T) {
	const good = `{"time":"2026-07-28T10:00:00.000000000Z","kind":"x","server":"s","status":5}`
	if _, err := audit.Decode([]byte(good)); err != nil {
		t.Fatal(err)
	}
	prev := strings.Repeat("0a", 32)
	if e, err := audit.Decode([]byte(`{"seq":3,"prev":"` + prev + `",` + good[1:])); err != nil || e.Seq != 3 {
		t.Fatal(e, err)
	}
	r := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for name, line := range map[string]string{
		"empty": "", "null": "null", "array": "[]", "cut": good[:len(good)-1], "trailing": good + " ", "second": good + good,
		"newline": good + "\n", "space": r(`,"kind"`, `, "kind"`), "unknown": r(`"server"`, `"servers"`), "case": r(`"server"`, `"Server"`),
		"duplicate": r(`,"server":"s"`, `,"server":"s","server":"t"`), "order": r(`,"server":"s","status":5`, `,"status":5,"server":"s"`),
		"no kind": r(`,"kind":"x"`, ``), "empty kind": r(`"x"`, `""`), "empty member": r(`"s"`, `""`), "number": r(`"s"`, `5`),
		"zero": r(`5`, `0`), "leading zero": r(`5`, `05`), "fraction": r(`5`, `5.0`), "exponent": r(`5`, `5e1`), "plus": r(`5`, `+5`),
		"huge": r(`5`, `99999999999999999999`), "raw control": r(`"s"`, "\"\x01\""), "bad escape": r(`"s"`, `"\x41"`),
		"lone surrogate": r(`"s"`, `"\ud800"`), "invalid UTF-8": r(`"s"`, "\"\xff\""), "time": r(`00:00.0`, `00:61.0`), "offset": r(`000Z`, `+01:00`),
		"seq zero": `{"seq":0,"prev":"` + prev + `",` + good[1:], "upper hex": `{"seq":1,"prev":"` + strings.ToUpper(prev) + `",` + good[1:],
		"short prev": `{"seq":1,"prev":"0a",` + good[1:], "no prev": `{"seq":1,` + good[1:],
		"zone": r(`"server"`, `"ip":"fe80::1%eth0","server"`), "empty principal": r(`"server"`, `"principal":{},"server"`),
	} {
		if e, err := audit.Decode([]byte(line)); err == nil {
			t.Errorf("%s: accepted as %+v", name, e)
		}
	}
}

func TestEveryKindIsInTheTable(t *testing.T) {
	seen := map[audit.Kind]bool{}
	for _, k := range audit.Kinds() {
		if seen[k.Kind] || !k.Kind.Known() || k.Meaning == "" {
			t.Errorf("%q: twice, unknown or without meaning", k.Kind)
		}
		seen[k.Kind] = true
		if e := (audit.Event{Kind: k.Kind}); e.HighRisk() != k.HighRisk {
			t.Errorf("%q: HighRisk is %v, the table says %v", k.Kind, e.HighRisk(), k.HighRisk)
		}
	}
	if audit.Kind("auth_success ").Known() || audit.Kind("").Known() {
		t.Error("an invented kind is known")
	}
}

func TestPrintable(t *testing.T) {
	if got := audit.Printable("a\x1b[2J\"\\\u202e\xff é"); got != `a\u001b[2J"\\u202e� é` {
		t.Error(got)
	}
}

func FuzzAppendJSON(f *testing.F) {
	f.Add("a\nb", "\xff", int64(5), int64(1))
	f.Add(strings.Repeat("\u202e", 400), `"}`, int64(-1), int64(-62135596800))
	f.Fuzz(func(t *testing.T, a, b string, n, sec int64) {
		e := audit.Event{
			Time: time.Unix(sec, n), Kind: audit.Kind("k" + a), Outcome: audit.Outcome(b), UserAgent: a, Reason: b, Tool: b + a, Claimed: a + b,
			Principal: audit.Identity{Subject: a, Name: b}, Duration: time.Duration(n), BytesIn: n, Count: int(n), First: time.Unix(n, 0),
			Details: []audit.Detail{{Name: a, Value: b}},
		}
		line := e.AppendJSON(nil)
		checkLine(t, line)
		back, err := audit.Decode(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if again := back.AppendJSON(nil); !bytes.Equal(line, again) {
			t.Fatalf("not stable:\n%s\n%s", line, again)
		}
	})
}

// Whatever Decode takes, another JSON decoder takes too, and it is written again as it was but for cutting and escapes.
func FuzzDecode(f *testing.F) {
	e := full()
	f.Add(e.AppendJSON(nil))
	f.Add([]byte(`{"seq":1,"prev":"` + strings.Repeat("0", 64) + `","time":"2026-07-28T10:00:00.000000000Z","kind":"x","reason":"\ud83d\ude00"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := audit.Decode(line)
		if err != nil {
			return
		}
		if !json.Valid(line) {
			t.Fatalf("accepted %q", line)
		}
		first := e.AppendJSON(nil)
		back, err := audit.Decode(first)
		if err != nil {
			t.Fatal(err)
		}
		if second := back.AppendJSON(nil); !bytes.Equal(first, second) {
			t.Fatalf("not stable:\n%s\n%s", first, second)
		}
	})
}

// What does writing one ordinary event cost?
func BenchmarkAppendJSON(b *testing.B) {
	e := full()
	buf := e.AppendJSON(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
}

// And reading it?
func BenchmarkDecode(b *testing.B) {
	e := full()
	line := e.AppendJSON(nil)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := audit.Decode(line); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleEvent_AppendJSON() {
	e := audit.Event{Time: at, Kind: audit.AuthFailed, Outcome: audit.Denied, UserAgent: "evil\nagent", Status: 401}
	fmt.Printf("%s\n", e.AppendJSON(nil))
	// Output: {"time":"2026-07-28T10:00:00.000000123Z","kind":"auth_failed","outcome":"denied","user_agent":"evil\u000aagent","status":401}
}
