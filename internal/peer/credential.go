package peer

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport-mcp/sallyport/internal/secret"
)

// queryCredentials are the query parameters in which a credential is refused: addresses end up in logs, histories and
// Referer headers (OAuth 2.1 §5.1.1, RFC 9700 §4.3.2).
var queryCredentials = [...]string{"access_token", "token", "api_key"}

// credential returns what the request presents. Cookies are never read. A scheme other than Bearer is no credential of
// ours and counts as none, but not beside an API key.
func credential(r *http.Request) (Credential, error) {
	if name := queryCredential(r.URL); name != "" {
		return Credential{}, refuse("a credential in the query string (%s); hint: send it as Authorization: Bearer", name)
	}
	auth, keys := r.Header["Authorization"], r.Header["X-Api-Key"]
	switch {
	case len(auth) == 0 && len(keys) == 0:
		return Credential{}, nil
	case len(auth)+len(keys) > 1:
		return Credential{}, refuse("more than one credential: %d Authorization and %d X-API-Key headers", len(auth), len(keys))
	case len(keys) == 1:
		return presented(APIKey, keys[0])
	}
	scheme, value, _ := strings.Cut(auth[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Credential{}, nil
	}
	return presented(Bearer, value)
}

func presented(kind CredentialKind, value string) (Credential, error) {
	value = strings.Trim(value, " \t")
	if value == "" {
		return Credential{}, refuse("an empty credential")
	}
	return Credential{Kind: kind, Value: secret.New(value)}, nil
}

// queryCredential returns the first query parameter that is meant to carry a credential, or "".
func queryCredential(u *url.URL) string {
	if u == nil || u.RawQuery == "" {
		return ""
	}
	for field := range strings.FieldsFuncSeq(u.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(field, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		for _, q := range queryCredentials {
			if strings.EqualFold(name, q) {
				return q
			}
		}
	}
	return ""
}
