package peer_test

import (
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/peer"
)

func TestCredential(t *testing.T) {
	for _, test := range []struct {
		name  string
		pairs []string
		kind  peer.CredentialKind
		value string
	}{
		{"none", nil, peer.NoCredential, ""},
		{"bearer", []string{"Authorization", "Bearer abc"}, peer.Bearer, "abc"},
		{"bearer in another case", []string{"Authorization", "bEARER  abc"}, peer.Bearer, "abc"},
		{"key", []string{"X-API-Key", "abc"}, peer.APIKey, "abc"},
		{"key header in another case", []string{"x-api-key", "abc"}, peer.APIKey, "abc"},
		{"cookies are nothing", []string{"Cookie", "token=abc; access_token=abc"}, peer.NoCredential, ""},
		{"other schemes are nothing", []string{"Authorization", "Basic YTpi"}, peer.NoCredential, ""},
		{"scheme by prefix is another", []string{"Authorization", "BearerX abc"}, peer.NoCredential, ""},
		{"harmless query", []string{"?", "tokens=1&session=2&q=token"}, peer.NoCredential, ""},
		{"text for the verifier to refuse", []string{"Authorization", `Bearer {"payload": ""}`}, peer.Bearer, `{"payload": ""}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := peer.From(request(t, test.pairs...), config())
			if err != nil {
				t.Fatal(err)
			}
			if p.Credential.Kind != test.kind || p.Credential.Value.Reveal() != test.value {
				t.Errorf("Credential = %v %q, want %v %q", p.Credential.Kind, p.Credential.Value.Reveal(), test.kind, test.value)
			}
		})
	}
}

func TestCredentialRefused(t *testing.T) {
	for _, test := range []struct {
		name  string
		pairs []string
	}{
		{"two bearers", []string{"Authorization", "Bearer a", "Authorization", "Bearer a"}},
		{"two keys", []string{"X-API-Key", "a", "X-API-Key", "a"}},
		{"bearer and key", []string{"Authorization", "Bearer a", "X-API-Key", "a"}},
		{"other scheme and key", []string{"Authorization", "Basic YTpi", "X-API-Key", "a"}},
		{"empty bearer", []string{"Authorization", "Bearer "}},
		{"bearer without value", []string{"Authorization", "Bearer"}},
		{"empty key", []string{"X-API-Key", " "}},
		{"access_token", []string{"?", "access_token=a"}},
		{"token", []string{"?", "a=b&token=c"}},
		{"api_key", []string{"?", "api_key"}},
		{"another case", []string{"?", "Access_Token=a"}},
		{"escaped", []string{"?", "%74oken=a"}},
		{"after a semicolon", []string{"?", "a=b;token=c"}},
		{"beside a header", []string{"?", "token=a", "Authorization", "Bearer a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := peer.From(request(t, test.pairs...), config())
			wantMalformed(t, err)
			if p.Credential.Kind != peer.NoCredential || !p.Addr.IsValid() {
				t.Errorf("refused peer = %v with credential %v; want the address and no credential", p.Addr, p.Credential.Kind)
			}
		})
	}
}
