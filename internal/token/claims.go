package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// headerType is the only typ there is (RFC 9068 §2.1): an id token or refresh token is not an access token.
const headerType = "at+jwt"

// header is the JOSE header. What is not named here is not read, jku, jwk, x5u and x5c above all.
type header struct {
	Algorithm string         `json:"alg"`
	Type      string         `json:"typ"`
	Key       *string        `json:"kid"`
	Critical  jsontext.Value `json:"crit"`
	Base64    jsontext.Value `json:"b64"`
}

// payload is the claim set as it is on the wire. Times are kept raw, since a number may be anything.
type payload struct {
	Issuer    string         `json:"iss"`
	Subject   string         `json:"sub"`
	Audience  jsontext.Value `json:"aud"`
	Client    string         `json:"client_id"`
	Expires   jsontext.Value `json:"exp"`
	Issued    jsontext.Value `json:"iat"`
	NotBefore jsontext.Value `json:"nbf,omitzero"`
	ID        string         `json:"jti"`
	Scope     *string        `json:"scope,omitzero"`
	Roles     []string       `json:"roles,omitzero"`
	Name      string         `json:"name,omitzero"`
}

// parts are the three pieces of a compact JWS, decoded.
type parts struct {
	header  []byte
	payload []byte
}

// split takes a compact serialization apart. The length is checked first, so that nothing is done for a huge text. Base64
// that is not canonical is refused: it would give one token many spellings, and each could be revoked apart.
func split(text string) (parts, error) {
	if len(text) > maxText {
		return parts{}, fmt.Errorf("longer than %d bytes", maxText)
	}
	if strings.Count(text, ".") != 2 {
		return parts{}, errors.New("not a JWS in compact serialization")
	}
	h, rest, _ := strings.Cut(text, ".")
	p, s, _ := strings.Cut(rest, ".")
	var out parts
	var err error
	if out.header, err = canonical(h); err != nil {
		return parts{}, fmt.Errorf("header: %w", err)
	}
	if out.payload, err = canonical(p); err != nil {
		return parts{}, fmt.Errorf("payload: %w", err)
	}
	if _, err = canonical(s); err != nil {
		return parts{}, fmt.Errorf("signature: %w", err)
	}
	return out, nil
}

// canonical decodes base64url without padding. Go's decoder skips line breaks, hence the second condition.
func canonical(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") || len(s) == 0 {
		return nil, errors.New("not canonical base64url")
	}
	return b, nil
}

// parseHeader refuses what would have to be understood and is not (RFC 7515 §4.1.11, RFC 7797 §3).
func parseHeader(b []byte) (header, error) {
	var h header
	if err := json.Unmarshal(b, &h); err != nil {
		return header{}, errors.New("header is not strict JSON of the expected form") // the cause may quote the token
	}
	switch {
	case h.Type != headerType:
		return header{}, errors.New("typ is not at+jwt")
	case h.Critical != nil:
		return header{}, errors.New("crit names an extension that is not understood")
	case h.Base64 != nil && string(h.Base64) != "true":
		return header{}, errors.New("b64 is not true")
	}
	return h, nil
}

func parsePayload(b []byte) (*payload, error) {
	p := new(payload)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, errors.New("payload is not strict JSON of the expected form") // the cause may quote the token
	}
	return p, nil
}

// audience returns the one audience: a string, or an array of exactly one (RFC 7519 §4.1.3). A token for two servers
// could be replayed by one against the other.
func (p *payload) audience() (string, bool) {
	switch p.Audience.Kind() {
	case '"':
		var one string
		err := json.Unmarshal(p.Audience, &one)
		return one, err == nil
	case '[':
		var many []string
		if err := json.Unmarshal(p.Audience, &many); err != nil || len(many) != 1 {
			return "", false
		}
		return many[0], true
	}
	return "", false
}

// numericDate reads a NumericDate (RFC 7519 §2): a JSON number, not negative, that a float64 holds to the second.
func numericDate(v jsontext.Value) (time.Time, bool) {
	if v.Kind() != '0' {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.Signbit(f) || f > 1<<38 { // 2^38 s is the year 10680
		return time.Time{}, false
	}
	whole, fraction := math.Modf(f)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true
}

// claims turns a payload into Claims. The required members are those of RFC 9068 §2.2.
func (p *payload) claims() (*Claims, error) {
	c := &Claims{ID: p.ID, Issuer: p.Issuer, Subject: p.Subject, Name: p.Name, Roles: p.Roles, Client: p.Client}
	var ok bool
	if c.Audience, ok = p.audience(); !ok {
		return nil, errors.New("aud is not one string")
	}
	if c.ID == "" || c.Subject == "" || c.Client == "" {
		return nil, errors.New("jti, sub or client_id is missing")
	}
	if c.Expires, ok = numericDate(p.Expires); !ok {
		return nil, errors.New("exp is missing or no time")
	}
	if c.Issued, ok = numericDate(p.Issued); !ok {
		return nil, errors.New("iat is missing or no time")
	}
	if p.NotBefore != nil {
		if c.NotBefore, ok = numericDate(p.NotBefore); !ok {
			return nil, errors.New("nbf is no time")
		}
	}
	if p.Scope != nil {
		c.Scopes = append([]string{}, strings.Fields(*p.Scope)...)
	}
	return c, nil
}
