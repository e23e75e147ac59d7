package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/secret"
)

const canary = "canary-7f3a9c"

func TestTextIsNeverPrinted(t *testing.T) {
	s := secret.New(canary)
	nested := struct{ S secret.Text }{s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb, s)
		fmt.Fprintf(&out, verb, nested)
		fmt.Fprintf(&out, verb, &nested)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "n", nested)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "n", nested)
	b, err := json.Marshal(nested)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	hex := fmt.Sprintf("%x", canary)
	if got := out.String(); strings.Contains(got, canary) || strings.Contains(strings.ToLower(got), hex) {
		t.Fatalf("the secret was printed: %s", got)
	}
}

func TestEqual(t *testing.T) {
	if !secret.New("a").Equal(secret.New("a")) || secret.New("a").Equal(secret.New("b")) || secret.New("a").Equal(secret.New("aa")) {
		t.Fatal("Equal is wrong")
	}
}
