package token_test

import (
	"crypto/sha256"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/internal/token"
)

// Asks what a call with a token that was seen before costs, to be compared with the one hash below.
func BenchmarkVerifyCached(b *testing.B) {
	s := service(b, edDSA())
	text, _ := issue(b, s, token.Claims{Roles: []string{"user"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify(b.Context(), text, audience, start); err != nil {
			b.Fatal(err)
		}
	}
}

// Asks what the hash alone costs: the floor of a cache keyed by it.
func BenchmarkOneHash(b *testing.B) {
	text, _ := issue(b, service(b, edDSA()), token.Claims{Roles: []string{"user"}})
	raw := []byte(text.Reveal())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		_ = sha256.Sum256(raw)
	}
}

// Asks what the first call with a token costs, per algorithm.
func BenchmarkVerifyMiss(b *testing.B) {
	for name, config := range map[string]token.Config{"EdDSA": edDSA(), "HS256": hs256()} {
		b.Run(name, func(b *testing.B) {
			config.CacheSize = 1
			s := service(b, config)
			var texts [2]secret.Text
			for i := range texts {
				texts[i], _ = issue(b, s, token.Claims{Roles: []string{"user"}})
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if _, err := s.Verify(b.Context(), texts[n%2], audience, start); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestCacheHitAllocatesNothing(t *testing.T) {
	s := service(t, edDSA())
	text, _ := issue(t, s, token.Claims{})
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := s.Verify(ctx, text, audience, start); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a hit", n)
	}
}
