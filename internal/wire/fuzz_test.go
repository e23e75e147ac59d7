package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Property: what is accepted is JSON for jsontext, is read alike by encoding/json, and is emitted so that it reads the same.
// What is refused is refused by a ParseError with an id that is valid or absent.
func FuzzParseClient(f *testing.F) {
	for i, h := range hostiles() {
		if i%5 == 0 && len(h.body) < 1000 {
			f.Add([]byte(h.body))
		}
	}
	f.Add([]byte(call1))
	f.Add([]byte(`{"params":{"taskId":"t","_meta":{"progressToken":1}},"method":"tasks/get","jsonrpc":"2.0","id":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := wire.ParseClient(bytes.Clone(body), wire.Limits{})
		if err == nil && !jsontext.Value(body).IsValid() {
			t.Fatalf("accepted what is not JSON: %q", body)
		}
		var refusal *wire.ParseError
		if err != nil && (!errors.As(err, &refusal) || (refusal.ID != nil && !refusal.ID.IsValid()) || refusal.Status < 400) {
			t.Fatalf("bad refusal %+v of %q", refusal, body)
		}
		agree(t, body)
	})
}

// Property: what is accepted keeps its result or error byte for byte, and is emitted so that it reads the same.
func FuzzParseServer(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}]}}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":""}}`,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}`, `{"jsonrpc":"2.0","id":"s","method":"roots/list"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := wire.ParseServer(bytes.Clone(body), wire.Limits{})
		if err != nil {
			return
		}
		for _, raw := range []jsontext.Value{m.Params, m.Result, m.Error, m.ID} {
			if raw != nil && (!raw.IsValid() || !bytes.Contains(body, raw)) {
				t.Fatalf("%s is not a part of %q", raw, body)
			}
		}
		again, err := wire.ParseServer(m.Append(nil), wire.Limits{})
		if err != nil {
			t.Fatalf("what was emitted is refused: %v", err)
		}
		if diff := cmp.Diff(m, again, onlyExported); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Property: what was read and written again reads the same, however the stream is cut, and no event is over the bound.
func FuzzSSE(f *testing.F) {
	for _, s := range []string{"data: a\n\n", "\xef\xbb\xbfid: 1\r\ndata: {}\r\n\r\n", "event: x\rretry: 5\rdata\r\r", ": c\n\nid: \x00\ndata: b\n", "data: a\r\n\n\r\ndata:b\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		const bound = 256
		first, err := events(bytes.NewReader(stream), bound)
		if err != io.EOF && !errors.Is(err, wire.ErrSSETooLarge) {
			t.Fatal(err)
		}
		cut, cutErr := events(&halves{stream}, bound)
		if diff := cmp.Diff(first, cut); diff != "" || !errors.Is(cutErr, err) {
			t.Fatalf("read differently in parts: %v, %v\n%s", err, cutErr, diff)
		}
		var out []byte
		for _, e := range first {
			if len(e.Data) > bound {
				t.Fatalf("event of %d bytes", len(e.Data))
			}
			out = wire.AppendSSE(out, e)
		}
		again, err := events(bytes.NewReader(out), 10*bound+len(out))
		if diff := cmp.Diff(first, again); diff != "" || err != io.EOF {
			t.Fatalf("written and read again: %v\n%s", err, diff)
		}
	})
}

// halves gives a third of what is left on each read.
type halves struct{ b []byte }

func (h *halves) Read(p []byte) (int, error) {
	if len(h.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, h.b[:(len(h.b)+2)/3])
	h.b = h.b[n:]
	return n, nil
}

// Property: for readers that fold case or take the last of duplicates, no entry passes that is not kept, no cursor
// passes unsealed, and what passes is JSON.
func FuzzFilterResult(f *testing.F) {
	for _, s := range []string{
		`{"tools":[{"name":"ok"},{"name":"no"}],"nextCursor":"c"}`, `{"tools":[{"name":"ok","Name":"no"}],"Tools":[]}`, `{"tools":null,"ttlMs":1e9,"cacheScope":"public"}`,
		`{"tools":[{"n\u0061me":"\u006fk"}]}`, `{"requestState":"s","task":{"taskId":"t"}}`,
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, result string, private bool) {
		seal := func(s string) string { return "sealed:" + s }
		got, err := wire.FilterResult("tools/list", jsontext.Value(result), wire.Filter{Keep: keepOnly(policy.Tool), SealCursor: seal, SealState: seal, SealTask: seal, Private: private})
		if err != nil {
			return
		}
		if !got.IsValid() {
			t.Fatalf("not JSON: %s", got)
		}
		var lenient struct {
			Tools []struct {
				Name json.RawMessage
			}
			NextCursor *string
			CacheScope any
			TTLMs      any `json:"ttlMs"`
			ResultType any
		}
		if err := json.Unmarshal(got, &lenient); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		for _, tool := range lenient.Tools {
			var name string
			if err := json.Unmarshal(tool.Name, &name); err != nil || !strings.HasPrefix(name, "ok") {
				t.Fatalf("%s passed in %s", tool.Name, got)
			}
		}
		if c := lenient.NextCursor; c != nil && !strings.HasPrefix(*c, "sealed:") {
			t.Fatalf("cursor passed: %s", got)
		}
		if private && lenient.ResultType != "input_required" {
			if ms, ok := lenient.TTLMs.(float64); lenient.CacheScope != "private" || !ok || ms > 60000 || ms < 0 {
				t.Fatalf("may be cached: %s", got)
			}
		}
	})
}

// Property: what is sealed opens for its owner until it expires, for nobody else ever, and no other text opens.
func FuzzSealOpen(f *testing.F) {
	f.Add("iss", "sub", "srv", "value", int64(1), "x")
	f.Add("", "", "", "", int64(7200), "AQ")
	s := sealer(f, strings.Repeat("k", 32))
	f.Fuzz(func(t *testing.T, issuer, subject, server, value string, seconds int64, other string) {
		b := wire.Bound{Issuer: issuer, Subject: subject, Server: server, Kind: wire.Cursor}
		expires := sealNow.Add(time.Duration(seconds%1_000_000) * time.Second)
		handle := s.Seal(b, value, expires)
		if s.Seal(b, value, expires) != handle {
			t.Fatal("equal values give different handles")
		}
		got, until, err := s.Open(b, handle, expires.Add(-time.Second))
		if err != nil || got != value || until.Before(expires) || until.Sub(expires) >= time.Hour {
			t.Fatalf("got %q until %v, %v", got, until, err)
		}
		if _, _, err := s.Open(b, handle, until); !errors.Is(err, wire.ErrHandle) {
			t.Fatalf("open behind its end: %v", err)
		}
		for _, foreign := range []wire.Bound{{issuer + "x", subject, server, wire.Cursor}, {issuer, subject + "x", server, wire.Cursor}, {issuer, subject, server + "x", wire.Cursor}, {issuer, subject, server, wire.Session}} {
			if _, _, err := s.Open(foreign, handle, expires.Add(-time.Second)); !errors.Is(err, wire.ErrHandle) {
				t.Fatalf("opened for %+v", foreign)
			}
		}
		if _, _, err := s.Open(b, other, sealNow); err == nil && other != handle {
			t.Fatalf("%q opened", other)
		}
	})
}

// Property: what passes has exactly one header of each kind, and they say what the body says; the era is never both.
func FuzzHeaders(f *testing.F) {
	f.Add("2026-07-28", "tools/call", "a", "a", true, false)
	f.Add("2026-07-28", "tools/call", "=?base64?YQ==?=", "a", true, false)
	f.Add("2025-06-18", "tools/call", " a ", "a", false, true)
	f.Fuzz(func(t *testing.T, version, method, name, tool string, inMeta, session bool) {
		params := `"name":` + quoted(tool)
		if inMeta {
			params += "," + meta
		}
		m, err := wire.ParseClient([]byte(request("tools/call", params)), wire.Limits{})
		if err != nil {
			return
		}
		h := http.Header{"Mcp-Protocol-Version": {version}, "Mcp-Method": {method}, "Mcp-Name": {name}}
		era, err := wire.DecideEra(h, m, session)
		if (err == nil) != (era != 0) || (era == wire.Modern && session) || (era == wire.Legacy && inMeta) {
			t.Fatalf("era %d, %v", era, err)
		}
		if era != wire.Modern || wire.CheckHeaders(h, m) != nil {
			return
		}
		if strings.Trim(method, " \t") != "tools/call" || strings.Trim(version, " \t") != "2026-07-28" {
			t.Fatalf("passed with %q and %q", method, version)
		}
		if seen := strings.Trim(name, " \t"); seen != m.Target.Name && !strings.HasPrefix(seen, "=?base64?") {
			t.Fatalf("name %q passed for %q", name, m.Target.Name)
		}
	})
}
