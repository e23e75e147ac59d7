package authn_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/authn"
	"github.com/sallyport-mcp/sallyport/internal/memstore"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/internal/token"
	"github.com/sallyport-mcp/sallyport/policy"
)

const issuer = "https://mcp.example.com"

var start = time.Unix(1_800_000_000, 0).UTC()

func audience(server string) string { return issuer + "/" + server + "/mcp" }

// house is an Authenticator with all it asks, and a clock that can be moved.
type house struct {
	*authn.Authenticator
	keys   *apikey.Service
	tokens *token.Service
	store  *memstore.Store
	now    time.Time
}

func build(t testing.TB, anonymous *policy.Principal) *house {
	t.Helper()
	h := &house{store: memstore.New(), now: start}
	clock := func() time.Time { return h.now }
	var err error
	if h.keys, err = apikey.New(t.Context(), apikey.Config{Store: h.store, Now: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.keys.Close() })
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if h.tokens, err = token.New(t.Context(), token.Config{Issuer: issuer, Private: private, Store: h.store, Now: clock}); err != nil {
		t.Fatal(err)
	}
	h.Authenticator, err = authn.New(authn.Config{Keys: h.keys, Tokens: h.tokens, Anonymous: anonymous, Audience: audience, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) key(t testing.TB, spec apikey.Spec) (secret.Text, apikey.Record) {
	t.Helper()
	spec.Name, spec.Roles = "ci", []string{"user"}
	text, r, err := h.keys.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return text, r
}

func (h *house) token(t testing.TB, c token.Claims) (secret.Text, token.Claims) {
	t.Helper()
	c.Subject, c.Audience = "alice", audience("files")
	text, claims, err := h.tokens.Issue(c)
	if err != nil {
		t.Fatal(err)
	}
	return text, claims
}

func with(kind peer.CredentialKind, text secret.Text) peer.Peer {
	return peer.Peer{Addr: netip.MustParseAddr("192.0.2.7"), Credential: peer.Credential{Kind: kind, Value: text}}
}

func (h *house) accept(t *testing.T, p peer.Peer, server string) (*policy.Principal, bool) {
	t.Helper()
	got, cached, err := h.Authenticate(t.Context(), p, server)
	if err != nil {
		t.Fatalf("Authenticate = %v", err)
	}
	if !h.Valid(t.Context(), got, h.now) {
		t.Error("an accepted principal is not valid")
	}
	return got, cached
}

func (h *house) refuse(t *testing.T, p peer.Peer, server string, want peer.Why) *peer.Refusal {
	t.Helper()
	got, cached, err := h.Authenticate(t.Context(), p, server)
	var r *peer.Refusal
	if !errors.As(err, &r) || got != nil || cached {
		t.Fatalf("Authenticate = %v, %v, %v; want a refusal", got, cached, err)
	}
	if r.Why != want {
		t.Errorf("refused as %d (%s), want %d", r.Why, r.Reason, want)
	}
	if text := p.Credential.Value.Reveal(); len(text) > 20 && strings.Contains(r.Reason+r.Claimed, text[16:]) {
		t.Error("the refusal shows the credential")
	}
	return r
}

func TestKey(t *testing.T) {
	h := build(t, nil)
	text, r := h.key(t, apikey.Spec{Permissions: []string{"files:read_*"}})
	want := &policy.Principal{
		Issuer: "key", Subject: r.ID, Name: "ci", Method: "api_key", Credential: r.ID, Roles: []string{"user"},
		Narrow: []string{"files:read_*"}, Expires: r.Expires,
	}
	var first *policy.Principal
	for _, p := range []peer.Peer{with(peer.APIKey, text), with(peer.Bearer, text)} {
		got, cached := h.accept(t, p, "files")
		if diff := cmp.Diff(want, got); diff != "" || cached != (first != nil) {
			t.Errorf("cached %v, principal (-want +got):\n%s", cached, diff)
		}
		if first != nil && first != got {
			t.Error("the same key gave two principals")
		}
		first = got
		if !h.Cached(p) {
			t.Error("a good key is not cached")
		}
	}
}

func TestToken(t *testing.T) {
	h := build(t, nil)
	text, c := h.token(t, token.Claims{Name: "Alice", Roles: []string{"user"}, Scopes: []string{"files:*"}, Client: "client-1"})
	p := with(peer.Bearer, text)
	if h.Cached(p) {
		t.Error("a token never seen is cached")
	}
	want := &policy.Principal{
		Issuer: issuer, Subject: "alice", Name: "Alice", Method: "token", Credential: c.ID, Client: "client-1",
		Roles: []string{"user"}, Scopes: []string{"files:*"}, Expires: c.Expires,
	}
	first, cached := h.accept(t, p, "files")
	if diff := cmp.Diff(want, first); diff != "" || cached {
		t.Errorf("cached %v, principal (-want +got):\n%s", cached, diff)
	}
	second, cached := h.accept(t, p, "files")
	if second != first || !cached || !h.Cached(p) {
		t.Errorf("second call: same %v, cached %v", second == first, cached)
	}
	plain, _ := h.token(t, token.Claims{})
	if got, _ := h.accept(t, with(peer.Bearer, plain), "files"); got.Name != "alice" || got.Scopes != nil {
		t.Errorf("principal without name and scope: %+v", got)
	}
}

func TestMustNot(t *testing.T) {
	h, other := build(t, nil), build(t, nil)
	key, r := h.key(t, apikey.Spec{Networks: []string{"192.0.2.0/24"}})
	jwt, _ := h.token(t, token.Claims{})
	foreign, fr := other.key(t, apikey.Spec{})
	h.accept(t, with(peer.Bearer, jwt), "files")
	h.refuse(t, peer.Peer{}, "files", peer.Missing)
	h.refuse(t, with(peer.Bearer, jwt), "weather", peer.Invalid)
	h.refuse(t, with(peer.Bearer, jwt), "", peer.Invalid)
	h.refuse(t, with(peer.APIKey, jwt), "files", peer.Invalid)
	h.refuse(t, with(peer.Bearer, secret.New("")), "files", peer.Invalid)
	h.refuse(t, with(peer.Bearer, secret.New("sp_")), "files", peer.Invalid)
	h.refuse(t, with(peer.Bearer, secret.New("sp_"+jwt.Reveal())), "files", peer.Invalid)
	h.refuse(t, with(peer.APIKey, secret.New(key.Reveal()+"x")), "files", peer.Invalid)
	if got := h.refuse(t, with(peer.APIKey, foreign), "files", peer.Invalid); got.Claimed != "key:"+fr.ID {
		t.Errorf("claimed %q", got.Claimed)
	}
	elsewhere := with(peer.APIKey, key)
	elsewhere.Addr = netip.MustParseAddr("198.51.100.1")
	if got := h.refuse(t, elsewhere, "files", peer.Invalid); got.Claimed != r.Name || h.Cached(elsewhere) {
		t.Errorf("claimed %q, cached %v", got.Claimed, h.Cached(elsewhere))
	}
}

func TestRevocationBitesAtOnce(t *testing.T) {
	h := build(t, nil)
	key, r := h.key(t, apikey.Spec{})
	jwt, c := h.token(t, token.Claims{})
	byKey, _ := h.accept(t, with(peer.APIKey, key), "files")
	byToken, _ := h.accept(t, with(peer.Bearer, jwt), "files")
	if _, err := h.keys.Revoke(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := h.tokens.Revoke(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	h.refuse(t, with(peer.APIKey, key), "files", peer.Revoked)
	h.refuse(t, with(peer.Bearer, jwt), "files", peer.Revoked)
	if h.Cached(with(peer.APIKey, key)) || h.Cached(with(peer.Bearer, jwt)) {
		t.Error("a revoked credential is cached")
	}
	if h.Valid(t.Context(), byKey, h.now) || h.Valid(t.Context(), byToken, h.now) {
		t.Error("a principal outlives its credential")
	}
}

func TestExpiryBitesAtOnce(t *testing.T) {
	h := build(t, nil)
	key, _ := h.key(t, apikey.Spec{TTL: time.Minute})
	jwt, _ := h.token(t, token.Claims{TTL: time.Minute})
	byKey, _ := h.accept(t, with(peer.APIKey, key), "files")
	byToken, _ := h.accept(t, with(peer.Bearer, jwt), "files")
	h.now = start.Add(time.Minute - 1)
	h.accept(t, with(peer.APIKey, key), "files")
	h.accept(t, with(peer.Bearer, jwt), "files")
	h.now = start.Add(time.Minute)
	h.refuse(t, with(peer.APIKey, key), "files", peer.Expired)
	h.refuse(t, with(peer.Bearer, jwt), "files", peer.Expired)
	if h.Valid(t.Context(), byKey, h.now) || h.Valid(t.Context(), byToken, h.now) || h.Cached(with(peer.APIKey, key)) || h.Cached(with(peer.Bearer, jwt)) {
		t.Error("an expired credential is still good")
	}
}

// TestRemovedKey loads the keys again after one has vanished from the store, and after one has changed.
func TestRemovedKey(t *testing.T) {
	h := build(t, nil)
	key, _ := h.key(t, apikey.Spec{})
	p, _ := h.accept(t, with(peer.APIKey, key), "files")
	vanishing := &vanishing{Store: h.store}
	keys, err := apikey.New(t.Context(), apikey.Config{Store: vanishing, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	a, err := authn.New(authn.Config{Keys: keys, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	first, _, err := a.Authenticate(t.Context(), with(peer.APIKey, key), "files")
	if err != nil {
		t.Fatal(err)
	}
	vanishing.roles = []string{"guest"}
	if err := keys.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, _, err := a.Authenticate(t.Context(), with(peer.APIKey, key), "files")
	if err != nil || !cmp.Equal(second.Roles, []string{"guest"}) || !cmp.Equal(first.Roles, []string{"user"}) {
		t.Errorf("after the key's roles changed: %v and %v, %v", first.Roles, second, err)
	}
	vanishing.gone = true
	if err := keys.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Authenticate(t.Context(), with(peer.APIKey, key), "files"); err == nil || a.Valid(t.Context(), p, start) || a.Cached(with(peer.APIKey, key)) {
		t.Errorf("a removed key is still good: %v", err)
	}
}

type vanishing struct {
	*memstore.Store
	roles []string
	gone  bool
}

func (v *vanishing) Keys(ctx context.Context) ([]apikey.Record, error) {
	records, err := v.Store.Keys(ctx)
	if v.gone {
		return nil, err
	}
	for i := range records {
		if v.roles != nil {
			records[i].Roles = v.roles
		}
	}
	return records, err
}

func TestAnonymous(t *testing.T) {
	guest := &policy.Principal{Issuer: "anonymous", Subject: "anonymous", Method: authn.MethodAnonymous, Roles: []string{"guest"}}
	h := build(t, guest)
	if got, _ := h.accept(t, peer.Peer{}, "files"); got != guest {
		t.Errorf("nothing presented gave %+v", got)
	}
	if h.Cached(peer.Peer{}) {
		t.Error("nobody's credential is cached")
	}
	h.refuse(t, with(peer.Bearer, secret.New("x")), "files", peer.Invalid)
	h.refuse(t, with(peer.APIKey, secret.New("x")), "files", peer.Invalid)
	if closed := build(t, nil); closed.Valid(t.Context(), guest, start) {
		t.Error("an anonymous principal is valid where nobody may be anonymous")
	}
}

func TestValidMustNot(t *testing.T) {
	h := build(t, nil)
	for name, p := range map[string]*policy.Principal{"nil": nil, "zero": {}, "unknown method": {Method: "mtls"}, "key of nobody": {Method: authn.MethodKey, Credential: "x"}} {
		if h.Valid(t.Context(), p, start) {
			t.Errorf("%s is valid", name)
		}
	}
	if !h.Valid(t.Context(), &policy.Principal{Method: authn.MethodLocal}, start) {
		t.Error("a local principal is not valid")
	}
}

func TestWithoutKeysAndTokens(t *testing.T) {
	full := build(t, nil)
	key, _ := full.key(t, apikey.Spec{})
	jwt, _ := full.token(t, token.Claims{})
	a, err := authn.New(authn.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{Authenticator: a, now: start}
	h.refuse(t, with(peer.APIKey, key), "files", peer.Invalid)
	h.refuse(t, with(peer.Bearer, jwt), "files", peer.Invalid)
	if a.Cached(with(peer.APIKey, key)) || a.Cached(with(peer.Bearer, jwt)) {
		t.Error("cached without services")
	}
	if _, err := authn.New(authn.Config{Tokens: full.tokens}); err == nil {
		t.Error("New with tokens and no audience succeeded")
	}
	if _, err := authn.New(authn.Config{Anonymous: &policy.Principal{Method: authn.MethodLocal}}); err == nil {
		t.Error("New with an anonymous principal of another method succeeded")
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	h := build(t, nil)
	key, _ := h.key(t, apikey.Spec{})
	jwt, _ := h.token(t, token.Claims{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for _, p := range []peer.Peer{with(peer.APIKey, key), with(peer.Bearer, jwt)} {
					got, _, err := h.Authenticate(t.Context(), p, "files")
					if err != nil || !h.Valid(t.Context(), got, h.now) {
						t.Errorf("Authenticate = %v", err)
					}
					h.Cached(p)
				}
			}
		})
	}
	wg.Wait()
}

func TestCachedCredentialAllocatesNothing(t *testing.T) {
	h := build(t, nil)
	key, _ := h.key(t, apikey.Spec{})
	jwt, _ := h.token(t, token.Claims{})
	name := audience("files")
	a, err := authn.New(authn.Config{Keys: h.keys, Tokens: h.tokens, Audience: func(string) string { return name }, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for kind, p := range map[string]peer.Peer{"key": with(peer.APIKey, key), "token": with(peer.Bearer, jwt)} {
		if n := testing.AllocsPerRun(100, func() {
			if _, _, err := a.Authenticate(ctx, p, "files"); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a call", kind, n)
		}
	}
}

// Asks what it costs to know a caller who was there before.
func BenchmarkAuthenticateCached(b *testing.B) {
	h := build(b, nil)
	key, _ := h.key(b, apikey.Spec{})
	jwt, _ := h.token(b, token.Claims{})
	for kind, p := range map[string]peer.Peer{"key": with(peer.APIKey, key), "token": with(peer.Bearer, jwt)} {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := h.Authenticate(b.Context(), p, "files"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
