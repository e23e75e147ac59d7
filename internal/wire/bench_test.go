package wire_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

// call returns a tools/call of about size bytes whose arguments look like what clients send: an object of short strings,
// numbers and one long text.
func call(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"`)
	if size > 128 {
		b.WriteString(`,"arguments":{"path":"/srv/data","text":"`)
		for b.Len() < size/2 {
			b.WriteString("A line of ordinary text, as files have it.\\n")
		}
		b.WriteString(`","rows":[`)
		for b.Len() < size-64 {
			fmt.Fprintf(&b, `{"key":"k%d","value":%d,"ok":true},`, b.Len(), b.Len())
		}
		b.WriteString(`null]}`)
	}
	b.WriteString("}}")
	return b.Bytes()
}

// What does the strict parse of one call cost, and how near is it to a single pass of jsontext over the same bytes?
func BenchmarkParseClient(b *testing.B) {
	for _, size := range []int{64, 64 << 10} {
		body := call(size)
		b.Run(fmt.Sprint(size, "/wire"), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := wire.ParseClient(body, wire.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(size, "/jsontext"), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if !jsontext.Value(body).IsValid() {
					b.Fatal("not valid")
				}
			}
		})
	}
}

// What does emitting cost once the message is parsed?
func BenchmarkAppend(b *testing.B) {
	m, err := wire.ParseClient(call(64<<10), wire.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = m.Append(dst[:0])
	}
}

// What does hiding half of fifty tools cost?
func BenchmarkFilterResult(b *testing.B) {
	var tools []string
	for i := range 50 {
		tools = append(tools, fmt.Sprintf(`{"name":"tool_%d","description":%q,"inputSchema":{"type":"object","properties":{"a":{"type":"string"}}}}`, i, strings.Repeat("words ", 40)))
	}
	result := jsontext.Value(`{"tools":[` + strings.Join(tools, ",") + `]}`)
	keep := func(_ policy.Target, name string) bool { return name[len(name)-1]%2 == 0 }
	b.ReportAllocs()
	b.SetBytes(int64(len(result)))
	for b.Loop() {
		if _, err := wire.FilterResult("tools/list", result, wire.Filter{Keep: keep}); err != nil {
			b.Fatal(err)
		}
	}
}

// What do sealing and opening a session id cost?
func BenchmarkSeal(b *testing.B) {
	sealer, err := wire.NewSealer(secret.New(strings.Repeat("k", 32)))
	if err != nil {
		b.Fatal(err)
	}
	bound := wire.Bound{Issuer: "https://issuer.example", Subject: "user-1", Server: "files", Kind: wire.Session}
	now := time.Unix(1_800_000_000, 0)
	handle := sealer.Seal(bound, "0123456789abcdef0123456789abcdef", now.Add(time.Hour))
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = sealer.Seal(bound, "0123456789abcdef0123456789abcdef", now.Add(time.Hour))
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := sealer.Open(bound, handle, now); err != nil {
				b.Fatal(err)
			}
		}
	})
}
