package wire_test

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// quoted returns s as a JSON string.
func quoted(s string) string {
	b, _ := jsontext.AppendQuote(nil, s)
	return string(b)
}

func TestAppendError(t *testing.T) {
	got := wire.AppendError([]byte("x"), jsontext.Value(`1.50`), wire.CodeRateLimited, "a\"\n\xff", jsontext.Value(`{"retryAfter":1}`))
	if want := `x{"jsonrpc":"2.0","id":1.50,"error":{"code":-32011,"message":"a\"\n` + "\uFFFD" + `","data":{"retryAfter":1}}}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := wire.AppendError(nil, nil, wire.CodeParse, "m", nil); string(got) != `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}` {
		t.Errorf("got %s", got)
	}
	if m, err := wire.ParseServer(wire.AppendError(nil, nil, wire.CodeParse, "m", nil), wire.Limits{}); err != nil || m.Kind != wire.Error {
		t.Errorf("not read back: %v", err)
	}
}

func TestCodesAreDistinctAndInRange(t *testing.T) {
	seen := map[int]bool{}
	for _, c := range wire.Codes() {
		if seen[c.Code] || c.Status < 400 || c.Meaning == "" {
			t.Errorf("bad row %+v", c)
		}
		seen[c.Code] = true
		if c.Code > -32010 || (c.Code < -32019 && c.Code > -32020) {
			t.Errorf("%d belongs to somebody else", c.Code)
		}
	}
}

func TestMethodTable(t *testing.T) {
	for _, name := range []string{"tools/call", "ping", "server/discover", "notifications/cancelled", "tasks/get"} {
		if !wire.Known(name) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{"", "Tools/Call", "tools/call ", "sampling/createMessage", "roots/list", "notifications/message", "tools/delete", "rpc.discover", "notifications/tools/list_changed"} {
		if wire.Known(name) {
			t.Errorf("%s is known", name)
		}
	}
	if row, ok := wire.Lookup("tools/list"); !ok || row.List != "tools" || !row.Eras.Has(wire.Legacy) || !row.Eras.Has(wire.Modern) || row.Eras.Has(0) {
		t.Errorf("got %+v", row)
	}
	if wire.ModernVersions()[0] <= wire.LegacyVersions()[0] {
		t.Error("revisions are not in order")
	}
}
