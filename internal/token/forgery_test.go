package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/secret"
)

const (
	goodHeader = `{"alg":"EdDSA","typ":"at+jwt"}`
	goodClaims = `{"iss":"https://mcp.example.com","sub":"alice","aud":"https://mcp.example.com/files/mcp","client_id":"c","exp":1800000060,"iat":1800000000,"jti":"j"}`
)

func b64(b string) string { return base64.RawURLEncoding.EncodeToString([]byte(b)) }

// signed makes a token of any header and payload with our own key, so that only what is tested can refuse it.
func signed(header, payload string) string {
	input := b64(header) + "." + b64(payload)
	return input + "." + b64(string(ed25519.Sign(private('k'), []byte(input))))
}

func mac(header, payload string, key []byte) string {
	input := b64(header) + "." + b64(payload)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(input))
	return input + "." + b64(string(m.Sum(nil)))
}

// TestAccepted shows that the tokens below fail for their defect alone.
func TestAccepted(t *testing.T) {
	kid := service(t, edDSA()).KeySet().Keys[0].KeyID
	for name, text := range map[string]string{
		"plain":                  signed(goodHeader, goodClaims),
		"kid":                    signed(fmt.Sprintf(`{"alg":"EdDSA","typ":"at+jwt","kid":%q}`, kid), goodClaims),
		"b64 true":               signed(`{"alg":"EdDSA","typ":"at+jwt","b64":true}`, goodClaims),
		"unknown header":         signed(`{"alg":"EdDSA","typ":"at+jwt","foo":{"a":1}}`, goodClaims),
		"header names by case":   signed(`{"alg":"EdDSA","ALG":"none","typ":"at+jwt"}`, goodClaims),
		"unknown claim":          signed(goodHeader, with("foo", `{"a":[1]}`)),
		"audience in an array":   signed(goodHeader, with("aud", `["`+audience+`"]`)),
		"exp with fraction":      signed(goodHeader, with("exp", `1800000060.5`)),
		"exp with exponent":      signed(goodHeader, with("exp", `1.80000006e9`)),
		"iat 60 s ahead":         signed(goodHeader, with("iat", `1800000060`)),
		"nbf 60 s ahead":         signed(goodHeader, with("nbf", `1800000060`)),
		"escaped claim, one aud": signed(goodHeader, strings.Replace(goodClaims, `"aud"`, `"a\u0075d"`, 1)),
	} {
		t.Run(name, func(t *testing.T) { refused(t, service(t, edDSA()), secret.New(text), start, 0) })
	}
	key := []byte(secret32)
	refused(t, service(t, hs256()), secret.New(mac(`{"alg":"HS256","typ":"at+jwt"}`, goodClaims, key)), start, 0)
}

// with returns the good claims with one replaced or added; an empty value takes it out.
func with(claim, value string) string {
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(goodClaims), &members); err != nil {
		panic(err) // goodClaims is a constant of this file
	}
	delete(members, claim)
	out := "{"
	for _, name := range []string{"iss", "sub", "aud", "client_id", "exp", "iat", "jti"} {
		if v, ok := members[name]; ok {
			out += fmt.Sprintf("%q:%s,", name, v)
		}
	}
	if value != "" {
		return out + fmt.Sprintf("%q:%s}", claim, value)
	}
	return strings.TrimSuffix(out, ",") + "}"
}

func TestHeaderMustNot(t *testing.T) {
	public, _ := private('k').Public().(ed25519.PublicKey)
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	hs := `{"alg":"HS256","typ":"at+jwt"}`
	for name, text := range map[string]string{
		"none":                    b64(`{"alg":"none","typ":"at+jwt"}`) + "." + b64(goodClaims) + ".",
		"none with a signature":   signed(`{"alg":"none","typ":"at+jwt"}`, goodClaims),
		"None":                    signed(`{"alg":"None","typ":"at+jwt"}`, goodClaims),
		"nOnE":                    signed(`{"alg":"nOnE","typ":"at+jwt"}`, goodClaims),
		"eddsa":                   signed(`{"alg":"eddsa","typ":"at+jwt"}`, goodClaims),
		"Ed25519":                 signed(`{"alg":"Ed25519","typ":"at+jwt"}`, goodClaims),
		"empty alg":               signed(`{"alg":"","typ":"at+jwt"}`, goodClaims),
		"no alg":                  signed(`{"typ":"at+jwt"}`, goodClaims),
		"alg null":                signed(`{"alg":null,"typ":"at+jwt"}`, goodClaims),
		"alg in another case":     signed(`{"ALG":"EdDSA","typ":"at+jwt"}`, goodClaims),
		"alg twice":               signed(`{"alg":"EdDSA","alg":"EdDSA","typ":"at+jwt"}`, goodClaims),
		"alg twice, escaped":      signed(`{"alg":"EdDSA","\u0061lg":"none","typ":"at+jwt"}`, goodClaims),
		"HS256 by public key":     mac(hs, goodClaims, public),
		"HS256 by public PEM":     mac(hs, goodClaims, block),
		"HS256 by base64 key":     mac(hs, goodClaims, []byte(b64(string(public)))),
		"HS256 by nothing":        mac(hs, goodClaims, nil),
		"EdDSA label on a MAC":    mac(goodHeader, goodClaims, public),
		"no typ":                  signed(`{"alg":"EdDSA"}`, goodClaims),
		"typ JWT":                 signed(`{"alg":"EdDSA","typ":"JWT"}`, goodClaims),
		"typ AT+JWT":              signed(`{"alg":"EdDSA","typ":"AT+JWT"}`, goodClaims),
		"typ of an id token":      signed(`{"alg":"EdDSA","typ":"id+jwt"}`, goodClaims),
		"crit unknown":            signed(`{"alg":"EdDSA","typ":"at+jwt","crit":["exp"],"exp":1}`, goodClaims),
		"crit empty":              signed(`{"alg":"EdDSA","typ":"at+jwt","crit":[]}`, goodClaims),
		"crit null":               signed(`{"alg":"EdDSA","typ":"at+jwt","crit":null}`, goodClaims),
		"crit b64":                signed(`{"alg":"EdDSA","typ":"at+jwt","crit":["b64"],"b64":true}`, goodClaims),
		"b64 false":               signed(`{"alg":"EdDSA","typ":"at+jwt","b64":false}`, goodClaims),
		"b64 false, critical":     signed(`{"alg":"EdDSA","typ":"at+jwt","crit":["b64"],"b64":false}`, goodClaims),
		"b64 of another type":     signed(`{"alg":"EdDSA","typ":"at+jwt","b64":"false"}`, goodClaims),
		"kid unknown":             signed(`{"alg":"EdDSA","typ":"at+jwt","kid":"x"}`, goodClaims),
		"kid empty":               signed(`{"alg":"EdDSA","typ":"at+jwt","kid":""}`, goodClaims),
		"kid path":                signed(`{"alg":"EdDSA","typ":"at+jwt","kid":"../../../../dev/null"}`, goodClaims),
		"kid SQL":                 signed(`{"alg":"EdDSA","typ":"at+jwt","kid":"' OR 1=1 --"}`, goodClaims),
		"kid number":              signed(`{"alg":"EdDSA","typ":"at+jwt","kid":1}`, goodClaims),
		"kid huge":                signed(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+strings.Repeat("k", 1<<20)+`"}`, goodClaims),
		"header no object":        signed(`["EdDSA"]`, goodClaims),
		"header with a BOM":       signed("\ufeff"+goodHeader, goodClaims),
		"header with a second":    signed(goodHeader+goodHeader, goodClaims),
		"header in broken UTF-8":  signed(`{"alg":"EdDSA","typ":"at+jwt","x":"`+"\xff"+`"}`, goodClaims),
		"header name lone escape": signed(`{"alg":"EdDSA","typ":"at+jwt","\ud800":1}`, goodClaims),
	} {
		t.Run(name, func(t *testing.T) { refused(t, service(t, edDSA()), secret.New(text), start, peer.Invalid) })
	}
	weak := mac(hs, goodClaims, []byte(secret32[:31]))
	refused(t, service(t, hs256()), secret.New(weak), start, peer.Invalid)
	refused(t, service(t, hs256()), secret.New(signed(goodHeader, goodClaims)), start, peer.Invalid)
}

func TestClaimsMustNot(t *testing.T) {
	other := `"https://mcp.example.com/weather/mcp"`
	for name, claims := range map[string]string{
		"no iss": with("iss", ""), "other iss": with("iss", `"https://evil.example.com"`), "iss with slash": with("iss", `"`+issuer+`/"`),
		"iss in capitals": with("iss", `"HTTPS://MCP.EXAMPLE.COM"`), "iss array": with("iss", `["`+issuer+`"]`), "iss null": with("iss", `null`),
		"no aud": with("aud", ""), "other aud": with("aud", other), "aud null": with("aud", "null"), "aud number": with("aud", "1"),
		"aud prefix": with("aud", `"https://mcp.example.com/files"`), "aud longer": with("aud", `"`+audience+`/x"`),
		"aud with slash": with("aud", `"`+audience+`/"`), "aud in capitals": with("aud", `"`+strings.ToUpper(audience)+`"`),
		"two audiences": with("aud", `["`+audience+`",`+other+`]`), "twice the same": with("aud", `["`+audience+`","`+audience+`"]`),
		"no audience in array": with("aud", `[]`), "nested array": with("aud", `[["`+audience+`"]]`), "empty aud": with("aud", `""`),
		"aud object": with("aud", `{"`+audience+`":1}`), "aud with NUL": with("aud", `"`+audience+`\u0000"`),
		"no exp": with("exp", ""), "exp string": with("exp", `"1800000060"`), "exp 1e400": with("exp", "1e400"), "exp negative": with("exp", "-1"),
		"exp minus zero": with("exp", "-0"), "exp null": with("exp", "null"), "exp true": with("exp", "true"), "exp array": with("exp", "[1800000060]"),
		"exp in milliseconds": with("exp", "1800000060000"), "exp beyond any of ours": with("exp", "1807776061"), "exp 1e30": with("exp", "1e30"),
		"no iat": with("iat", ""), "iat string": with("iat", `"1800000000"`), "iat 61 s ahead": with("iat", "1800000061"), "iat negative": with("iat", "-1"),
		"nbf 61 s ahead": with("nbf", "1800000061"), "nbf string": with("nbf", `"0"`), "nbf null": with("nbf", `null`), "nbf 1e400": with("nbf", "1e400"),
		"no sub": with("sub", ""), "sub empty": with("sub", `""`), "sub number": with("sub", "1"), "sub null": with("sub", "null"),
		"no jti": with("jti", ""), "jti number": with("jti", "1"), "no client_id": with("client_id", ""),
		"roles string": with("roles", `"admin"`), "scope array": with("scope", `["*"]`), "name number": with("name", "1"),
		"sub twice": strings.Replace(goodClaims, "{", `{"sub":"alice",`, 1), "aud twice": strings.Replace(goodClaims, "{", `{"aud":`+other+`,`, 1),
		"exp twice, escaped":  strings.Replace(goodClaims, "{", `{"\u0065xp":1,`, 1),
		"unknown twice":       strings.Replace(goodClaims, "{", `{"x":1,"x":1,`, 1),
		"nested twice":        with("x", `{"a":1,"a":2}`),
		"broken UTF-8":        with("x", "\"\xff\""),
		"lone surrogate":      with("x", `"\ud800"`),
		"trailing data":       goodClaims + "x",
		"second document":     goodClaims + goodClaims,
		"array of claims":     "[" + goodClaims + "]",
		"null":                "null",
		"empty":               "",
		"claim names by case": strings.Replace(goodClaims, `"exp"`, `"Exp"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, service(t, edDSA()), secret.New(signed(goodHeader, claims)), start, peer.Invalid)
		})
	}
	past := secret.New(signed(goodHeader, with("exp", "1799999999")))
	refused(t, service(t, edDSA()), past, start, peer.Expired)
	refused(t, service(t, edDSA()), secret.New(signed(goodHeader, with("exp", "0"))), start, peer.Expired)
}

func TestShapeMustNot(t *testing.T) {
	good := signed(goodHeader, goodClaims)
	h, rest, _ := strings.Cut(good, ".")
	p, s, _ := strings.Cut(rest, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(s)
	sum := sha256.Sum256([]byte(h + "." + p))
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := ecdsa.SignASN1(rand.Reader, curve, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "dots": "..", "two parts": h + "." + p, "four parts": good + ".", "five parts": good + "." + p + "." + s,
		"no signature": h + "." + p + ".", "no payload": h + ".." + s, "no header": "." + p + "." + s,
		"space before": " " + good, "space after": good + " ", "line break": good + "\n", "inner break": h + "." + p + ".\n" + s, "tab": h + ".\t" + p + "." + s,
		"padding": good + "==", "standard alphabet": h + "." + p + "." + base64.RawStdEncoding.EncodeToString(raw[:63]) + "+A",
		"loose last bits": good[:len(good)-1] + next(good[len(good)-1]), "JSON": fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, p, h, s),
		"JSON general":    fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, p, h, s),
		"signature short": h + "." + p + "." + b64(string(raw[:63])), "signature long": h + "." + p + "." + b64(string(raw)+"\x00"),
		"r zero": h + "." + p + "." + b64(strings.Repeat("\x00", 32)+string(raw[32:])), "s zero": h + "." + p + "." + b64(string(raw[:32])+strings.Repeat("\x00", 32)),
		"all zero": h + "." + p + "." + b64(strings.Repeat("\x00", 64)), "DER": h + "." + p + "." + b64(string(der)),
		"s plus the group order": h + "." + p + "." + b64(string(raw[:32])+plusOrder(raw[32:])),
		"bit of payload":         signedOther(p, h, s), "JWE": jwe(t),
		"other key's": h + "." + p + "." + b64(string(ed25519.Sign(private('x'), []byte(h+"."+p)))),
		"over 8 KB":   signed(goodHeader, with("x", `"`+strings.Repeat("x", 8<<10)+`"`)), "a million dots": strings.Repeat(".", 1<<20),
		"a megabyte": strings.Repeat("A", 1<<20),
	} {
		t.Run(name, func(t *testing.T) { refused(t, service(t, edDSA()), secret.New(text), start, peer.Invalid) })
	}
}

// next returns the base64url digit after c, which differs in bits that a signature of 64 bytes does not use.
func next(c byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(digits[strings.IndexByte(digits, c)+1])
}

// signedOther keeps the signature and changes one letter of the claims.
func signedOther(p, h, s string) string {
	claims, _ := base64.RawURLEncoding.DecodeString(p)
	return h + "." + b64(strings.Replace(string(claims), "alice", "alicf", 1)) + "." + s
}

// plusOrder adds the order of the group to the second half of a signature, which some verifiers take for the same one.
func plusOrder(s []byte) string {
	order := [32]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	out, carry := make([]byte, 32), 0
	for i := range out {
		carry += int(s[i]) + int(order[i])
		out[i], carry = byte(carry), carry>>8
	}
	return string(out)
}

func jwe(t *testing.T) string {
	e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: []byte(secret32)},
		(&jose.EncrypterOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	object, err := e.Encrypt([]byte(goodClaims))
	if err != nil {
		t.Fatal(err)
	}
	text, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestHeaderURLsAreNotFetched points every header that names a key's place at a listener, signed by the key it would serve.
func TestHeaderURLsAreNotFetched(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls <- c.RemoteAddr().String()
			_ = c.Close()
		}
	}()
	public, _ := private('x').Public().(ed25519.PublicKey)
	jwk, err := json.Marshal(jose.JSONWebKey{Key: public, Algorithm: "EdDSA"})
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://%s/keys", l.Addr())
	for _, extra := range []string{
		`"jku":"` + url + `"`, `"x5u":"` + url + `"`, `"jwk":` + string(jwk), `"x5c":["AAAA"]`,
		`"kid":"` + url + `"`, `"jku":"` + url + `","jwk":` + string(jwk), `"jwk":{"kty":"oct","k":"` + b64(secret32) + `"}`,
	} {
		input := b64(`{"alg":"EdDSA","typ":"at+jwt",`+extra+`}`) + "." + b64(goodClaims)
		forged := input + "." + b64(string(ed25519.Sign(private('x'), []byte(input))))
		refused(t, service(t, edDSA()), secret.New(forged), start, peer.Invalid)
	}
	time.Sleep(20 * time.Millisecond) // a request would be on its way, in real time, over a real socket
	_ = l.Close()
	<-done
	if len(calls) != 0 {
		t.Errorf("%d connections were made to the address in a header", len(calls))
	}
}

// TestForgedTokenClaimsNobody holds that what is claimed is bounded and for the record only.
func TestForgedTokenClaimsNobody(t *testing.T) {
	s := service(t, edDSA())
	forged := signed(goodHeader, with("sub", `"`+strings.Repeat("é", 100)+`"`))
	forged = forged[:len(forged)-8] + "AAAAAAAA"
	r := refused(t, s, secret.New(forged), start, peer.Invalid)
	if r.Claimed != strings.Repeat("é", 64) {
		t.Errorf("claimed %d bytes: %q", len(r.Claimed), r.Claimed)
	}
	odd := signed(goodHeader, with("sub", `"`+"a"+strings.Repeat("é", 100)+`"`))
	r = refused(t, s, secret.New(odd[:len(odd)-8]+"AAAAAAAA"), start, peer.Invalid)
	if r.Claimed != "a"+strings.Repeat("é", 63) {
		t.Errorf("claimed text was cut inside a character: %q", r.Claimed)
	}
}

// FuzzVerify holds that of all texts in the neighbourhood of a token only the token itself is accepted. The token is the
// same in every process, which signatures of Ed25519 allow.
func FuzzVerify(f *testing.F) {
	s, good := service(f, edDSA()), signed(goodHeader, goodClaims)
	f.Add(good)
	f.Add("..")
	f.Add(`{"payload":""}`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := s.Verify(t.Context(), secret.New(text), audience, start)
		if (v == nil) == (err == nil) {
			t.Fatalf("Verify = %v, %v", v, err)
		}
		if err == nil && text != good {
			t.Fatalf("accepted %q", text)
		}
	})
}
