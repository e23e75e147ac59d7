package upstream_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// modernCall is a whole tools/call of the modern era.
func modernCall(tool, arguments string) *upstream.Request {
	return &upstream.Request{
		Verb: http.MethodPost, Era: wire.Modern, Version: "2026-07-28",
		Message: &wire.Message{
			Kind: wire.Request, ID: jsontext.Value(`1`), Method: "tools/call", Target: policy.Named{Kind: policy.Tool, Name: tool},
			Params: jsontext.Value(fmt.Sprintf(`{"name":%q,"arguments":%s,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
				`"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}`, tool, arguments)),
		},
	}
}

// parsed is a client's message as the gateway has it.
func parsed(t *testing.T, text string) *wire.Message {
	t.Helper()
	m, err := wire.ParseClient([]byte(text), wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lastMessage reads an answer of either form and returns its last message.
func lastMessage(t *testing.T, resp *upstream.Response) string {
	t.Helper()
	if resp.Stream == nil {
		return string(resp.Body)
	}
	defer resp.Stream.Close()
	last := ""
	for {
		e, err := resp.Stream.Next()
		if errors.Is(err, io.EOF) {
			return last
		}
		if err != nil {
			t.Fatal(err)
		}
		last = string(e.Data)
	}
}
