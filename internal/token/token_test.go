package token_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/memstore"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/internal/token"
)

const (
	issuer   = "https://mcp.example.com"
	audience = "https://mcp.example.com/files/mcp"
	secret32 = "q8Zt2xW5vB9nM4kL7jH1gF6dS3aP0oIu"
)

var start = time.Unix(1_800_000_000, 0).UTC()

// private returns a key that is the same in every run.
func private(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
}

func edDSA() token.Config { return token.Config{Private: private('k')} }
func hs256() token.Config { return token.Config{Secret: secret.New(secret32)} }

func service(t testing.TB, c token.Config) *token.Service {
	t.Helper()
	if c.Store == nil {
		c.Store = memstore.New()
	}
	if c.Now == nil {
		c.Now = func() time.Time { return start }
	}
	if c.Issuer == "" {
		c.Issuer = issuer
	}
	s, err := token.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func issue(t testing.TB, s *token.Service, c token.Claims) (secret.Text, token.Claims) {
	t.Helper()
	if c.Subject == "" {
		c.Subject = "alice"
	}
	if c.Audience == "" {
		c.Audience = audience
	}
	text, claims, err := s.Issue(c)
	if err != nil {
		t.Fatal(err)
	}
	return text, claims
}

// refused verifies and wants a refusal of one class; none is 0. A refusal never shows a piece of the token.
func refused(t *testing.T, s *token.Service, text secret.Text, now time.Time, want peer.Why) *peer.Refusal {
	t.Helper()
	v, err := s.Verify(t.Context(), text, audience, now)
	if _, cached := s.Cached(text, audience, now); cached != (want == 0) {
		t.Errorf("Cached = %v after Verify said %v", cached, err)
	}
	if want == 0 {
		if err != nil {
			t.Fatalf("Verify = %v", err)
		}
		return nil
	}
	var r *peer.Refusal
	if !errors.As(err, &r) || v != nil {
		t.Fatalf("Verify = %v, %v; want a refusal", v, err)
	}
	if r.Why != want {
		t.Errorf("refused as %d (%s), want %d", r.Why, r.Reason, want)
	}
	for piece := range strings.SplitSeq(text.Reveal(), ".") {
		if len(piece) > 20 && strings.Contains(r.Reason, piece[:20]) {
			t.Errorf("the reason shows the token: %s", r.Reason)
		}
	}
	return r
}

func TestIssueAndVerify(t *testing.T) {
	for name, config := range map[string]token.Config{"EdDSA": edDSA(), "HS256": hs256()} {
		t.Run(name, func(t *testing.T) {
			s := service(t, config)
			given := token.Claims{
				Subject: "alice", Name: "Alice Ä", Roles: []string{"user"}, Scopes: []string{"files:*", "b:c"},
				Audience: audience, Client: "client-1", TTL: time.Hour,
			}
			text, claims := issue(t, s, given)
			given.ID, given.Issuer, given.Issued, given.Expires = claims.ID, issuer, start, start.Add(time.Hour)
			if diff := cmp.Diff(given, claims); diff != "" || len(claims.ID) != 22 {
				t.Errorf("Issue gives id %q and (-want +got):\n%s", claims.ID, diff)
			}
			v, err := s.Verify(t.Context(), text, audience, start)
			if err != nil {
				t.Fatal(err)
			}
			given.TTL = 0 // of issuing only
			if diff := cmp.Diff(given, v.Claims); diff != "" {
				t.Errorf("Verify differs (-want +got):\n%s", diff)
			}
			again, err := s.Verify(t.Context(), text, audience, start)
			if again != v || err != nil {
				t.Errorf("a second Verify gave another value, %v", err)
			}
			restarted := service(t, config)
			refused(t, restarted, text, start, 0)
		})
	}
}

func TestDefaults(t *testing.T) {
	s := service(t, edDSA())
	text, c := issue(t, s, token.Claims{})
	if c.Expires.Sub(c.Issued) != 30*time.Minute || c.Client != "sallyport" || c.Scopes != nil {
		t.Errorf("defaults are %v, client %q, scopes %v", c.Expires.Sub(c.Issued), c.Client, c.Scopes)
	}
	v, err := s.Verify(t.Context(), text, audience, start)
	if err != nil || v.Scopes != nil {
		t.Errorf("no scope became %v, %v", v.Scopes, err)
	}
	text, _ = issue(t, s, token.Claims{Scopes: []string{}})
	v, err = s.Verify(t.Context(), text, audience, start)
	if err != nil || v.Scopes == nil {
		t.Errorf("an empty scope became none: it would narrow nothing, %v", err)
	}
}

func TestExpiryHasNoLeeway(t *testing.T) {
	s := service(t, edDSA())
	text, c := issue(t, s, token.Claims{TTL: time.Minute})
	refused(t, s, text, c.Expires.Add(-1), 0) // remembered from here on
	if r := refused(t, s, text, c.Expires, peer.Expired); r.Claimed != "alice" {
		t.Errorf("claimed %q", r.Claimed)
	}
	refused(t, service(t, edDSA()), text, c.Expires, peer.Expired)
	refused(t, s, text, start, 0) // a clock set back
	refused(t, s, text, start.Add(-61*time.Second), peer.Invalid)
}

func TestAudienceIsCheckedOnEveryHit(t *testing.T) {
	s := service(t, edDSA())
	text, c := issue(t, s, token.Claims{})
	refused(t, s, text, start, 0)
	for _, other := range []string{"", audience + "/", audience[:len(audience)-1], strings.ToUpper(audience), audience + "/x", "https://mcp.example.com"} {
		var r *peer.Refusal
		if _, err := s.Verify(t.Context(), text, other, start); !errors.As(err, &r) || r.Why != peer.Invalid {
			t.Errorf("Verify for %q = %v, want Invalid", other, err)
		}
		if _, err := s.Verify(t.Context(), text, other, c.Expires); !errors.As(err, &r) || r.Why != peer.Invalid {
			t.Errorf("Verify for %q after expiry = %v, want Invalid, not Expired", other, err)
		}
	}
	if !s.Known(text, start) || s.Known(text, c.Expires) || s.Known(secret.New("x"), start) {
		t.Error("Known is wrong")
	}
}

func TestRotation(t *testing.T) {
	old, fresh := private('o'), private('n')
	public, _ := old.Public().(ed25519.PublicKey)
	text, _ := issue(t, service(t, token.Config{Private: old}), token.Claims{})
	both := service(t, token.Config{Private: fresh, Previous: []ed25519.PublicKey{public}})
	refused(t, both, text, start, 0)
	refused(t, service(t, token.Config{Private: fresh}), text, start, peer.Invalid)
	if n := len(both.KeySet().Keys); n != 2 {
		t.Errorf("%d public keys, want 2", n)
	}
	for _, k := range both.KeySet().Keys {
		if !k.IsPublic() || k.KeyID == "" || k.Use != "sig" {
			t.Errorf("key %q is public: %v, use %q", k.KeyID, k.IsPublic(), k.Use)
		}
	}
	if n := len(service(t, hs256()).KeySet().Keys); n != 0 {
		t.Errorf("%d keys of HS256 are published", n)
	}
}

func TestNewRefuses(t *testing.T) {
	store := memstore.New()
	for name, c := range map[string]token.Config{
		"no key":             {Issuer: issuer, Store: store},
		"two keys":           {Issuer: issuer, Store: store, Private: private('k'), Secret: secret.New(secret32)},
		"short secret":       {Issuer: issuer, Store: store, Secret: secret.New(secret32[:31])},
		"short private key":  {Issuer: issuer, Store: store, Private: private('k')[:63]},
		"short public key":   {Issuer: issuer, Store: store, Private: private('k'), Previous: []ed25519.PublicKey{make([]byte, 31)}},
		"too many keys":      {Issuer: issuer, Store: store, Private: private('k'), Previous: make([]ed25519.PublicKey, 16)},
		"previous of HS256":  {Issuer: issuer, Store: store, Secret: secret.New(secret32), Previous: make([]ed25519.PublicKey, 1)},
		"no issuer":          {Store: store, Private: private('k')},
		"no store":           {Issuer: issuer, Private: private('k')},
		"life too long":      {Issuer: issuer, Store: store, Private: private('k'), TTL: token.MaxTTL + 1},
		"negative life":      {Issuer: issuer, Store: store, Private: private('k'), TTL: -1},
		"negative cache":     {Issuer: issuer, Store: store, Private: private('k'), CacheSize: -1},
		"store out of order": {Issuer: issuer, Store: closed(t), Private: private('k')},
	} {
		if _, err := token.New(t.Context(), c); err == nil {
			t.Errorf("%s: New succeeded", name)
		} else if strings.Contains(err.Error(), secret32[:16]) {
			t.Errorf("%s: the error shows the secret", name)
		}
	}
}

func closed(t *testing.T) *memstore.Store {
	s := memstore.New()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestIssueRefuses(t *testing.T) {
	s := service(t, edDSA())
	for name, c := range map[string]token.Claims{
		"no subject":  {Audience: audience},
		"no audience": {Subject: "alice"},
		"negative":    {Subject: "alice", Audience: audience, TTL: -1},
		"too long":    {Subject: "alice", Audience: audience, TTL: token.MaxTTL + 1},
		"too short":   {Subject: "alice", Audience: audience, TTL: time.Millisecond},
		"empty scope": {Subject: "alice", Audience: audience, Scopes: []string{""}},
		"two in one":  {Subject: "alice", Audience: audience, Scopes: []string{"a:b c:d"}},
		"broken text": {Subject: "a\xff", Audience: audience},
		"over 8 KB":   {Subject: "alice", Audience: audience, Name: strings.Repeat("n", 8<<10)},
	} {
		if text, _, err := s.Issue(c); err == nil || !text.IsZero() {
			t.Errorf("%s: Issue succeeded", name)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := edDSA()
	c.CacheSize = 10
	s := service(t, c)
	var texts []secret.Text
	for range 50 {
		text, _ := issue(t, s, token.Claims{})
		refused(t, s, text, start, 0)
		texts = append(texts, text)
	}
	known := 0
	for _, text := range texts {
		if s.Known(text, start) {
			known++
		}
	}
	if known != 10 {
		t.Errorf("%d tokens are remembered, want 10", known)
	}
}

func TestDerivedIsMadeOnce(t *testing.T) {
	s := service(t, edDSA())
	text, _ := issue(t, s, token.Claims{})
	v, err := s.Verify(t.Context(), text, audience, start)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := v.Derived(func(c *token.Claims) any { return c }); got != any(&v.Claims) {
				t.Error("Derived gave another value")
			}
		})
	}
	wg.Wait()
}

// TestConcurrent is for the race detector, and holds that a token is refused from the moment Revoke has returned.
func TestConcurrent(t *testing.T) {
	c := edDSA()
	c.CacheSize = 3
	s := service(t, c)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			text, claims := issue(t, s, token.Claims{Subject: fmt.Sprint("user", n)})
			for range 20 {
				if v, err := s.Verify(t.Context(), text, audience, start); err != nil || v.Subject != claims.Subject {
					t.Errorf("Verify = %v, %v", v, err)
				}
			}
			if _, err := s.Revoke(t.Context(), claims.ID); err != nil {
				t.Error(err)
			}
			if err := s.Reload(t.Context()); err != nil {
				t.Error(err)
			}
			refused(t, s, text, start, peer.Revoked)
		})
	}
	wg.Wait()
}
