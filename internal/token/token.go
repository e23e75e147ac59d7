// Package token issues and verifies the access tokens of this program: signed JWTs of RFC 9068, one audience each.
//
// For most uses make a [Service] with [New], and call [Service.Verify] with the audience of the server that is called.
// It does not verify tokens of other issuers and does not say what a token may do. Its invariant: a token is accepted only
// as the exact text that was issued, for the exact audience, before its expiry and until it is revoked; nothing a token
// says about its own verification (alg, jku, jwk, x5u, x5c) is followed.
package token

import (
	"crypto/ed25519"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/secret"
)

const (
	// DefaultTTL is the life of a token when neither Config nor Claims say.
	DefaultTTL = 30 * time.Minute
	// MaxTTL is the longest life a token can have. A revocation by id alone is kept for this long, since the expiry of the
	// token it names is not known.
	MaxTTL = 90 * 24 * time.Hour
	// MinSecret is the least length of an HS256 secret in bytes (RFC 7518 §3.2).
	MinSecret = 32

	maxText   = 8 << 10          // bytes of a token
	skew      = 60 * time.Second // how far in the future iat and nbf may lie; exp has no leeway
	idBytes   = 16               // of a jti
	maxClaim  = 128              // bytes of an identity that is merely claimed
	maxKeys   = 16               // keys of a set
	cacheSize = 10_000           // verified tokens that are remembered
)

// Config is what a Service needs. Exactly one of Private and Secret is set.
type Config struct {
	// Issuer is the value of iss, an URL without a trailing slash. Required.
	Issuer string
	// Private signs with EdDSA (Ed25519).
	Private ed25519.PrivateKey
	// Secret signs with HS256. At least 32 bytes; fewer are an error.
	Secret secret.Text
	// Previous are public keys that verify tokens signed before a rotation. Only beside Private; at most 15.
	Previous []ed25519.PublicKey
	// Store keeps revocations. Required.
	Store Revocations
	// TTL is the life of an issued token whose Claims do not say. 0: 30 min. At most MaxTTL.
	TTL time.Duration
	// CacheSize is how many verified tokens are remembered. 0: 10,000.
	CacheSize int
	// Now is the clock for Issue and Revoke. Nil: time.Now.
	Now func() time.Time
}

// Claims is what a token says.
type Claims struct {
	ID       string // jti; made by Issue
	Issuer   string // set by Issue
	Subject  string // required
	Name     string // readable
	Roles    []string
	Scopes   []string // permission patterns that narrow the roles; nil narrows nothing, empty but not nil leaves nothing
	Audience string   // the resource identifier of one server; required
	Client   string   // OAuth client identifier. Empty in Issue: "sallyport"

	TTL       time.Duration // for Issue only. 0: Config.TTL
	Issued    time.Time     // iat; set by Issue
	NotBefore time.Time     // nbf; zero means none, not used by Issue
	Expires   time.Time     // exp; set by Issue
}

// Verified is a token that was accepted. It is shared by all calls that present the token and must not be changed.
type Verified struct {
	Claims
	derived derived
}
