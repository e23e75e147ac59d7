package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/secret"
)

// Service issues, verifies and revokes tokens. Revocations are in memory: Verify asks no store. It is safe for concurrent
// use.
type Service struct {
	issuer  string
	ttl     time.Duration
	now     func() time.Time
	keys    *keySet
	revoked *revocations
	cache   *cache
}

// New makes a Service and loads the revocations.
func New(ctx context.Context, c Config) (*Service, error) {
	switch {
	case c.Store == nil:
		return nil, errors.New("tokens need a store for revocations")
	case c.Issuer == "":
		return nil, errors.New("tokens need an issuer")
	case c.TTL < 0 || c.TTL > MaxTTL:
		return nil, fmt.Errorf("life of a token %v: must be above 0 and at most %v", c.TTL, MaxTTL)
	case c.CacheSize < 0:
		return nil, fmt.Errorf("size of the token cache %d: must not be negative", c.CacheSize)
	}
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.CacheSize == 0 {
		c.CacheSize = cacheSize
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	keys, err := newKeySet(&c)
	if err != nil {
		return nil, err
	}
	s := &Service{
		issuer: c.Issuer, ttl: c.TTL, now: c.Now, keys: keys, cache: newCache(c.CacheSize),
		revoked: newRevocations(c.Store),
	}
	return s, s.Reload(ctx)
}

// Reload reads the revocations from the store again. When it fails, those in memory stay.
func (s *Service) Reload(ctx context.Context) error { return s.revoked.load(ctx, s.now()) }

// KeySet returns the public keys as a JSON Web Key Set (RFC 7517). It is empty for HS256.
func (s *Service) KeySet() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: append([]jose.JSONWebKey{}, s.keys.public.Keys...)}
}

// Verify accepts a token of ours for one audience at the time now. Errors are *peer.Refusal: Invalid, Revoked, or Expired,
// which is said only of a token whose signature, issuer and audience were good. A token seen before costs one hash; its
// expiry, audience and revocation are checked each time. The context is not used: nothing here waits.
func (s *Service) Verify(_ context.Context, text secret.Text, audience string, now time.Time) (*Verified, error) {
	v, sum, short := s.seen(text)
	if !short {
		return nil, invalid("", fmt.Errorf("longer than %d bytes", maxText))
	}
	if v == nil {
		claims, err := s.open(text.Reveal())
		if err != nil {
			return nil, invalid(claimed(text.Reveal()), err)
		}
		// Remembered whatever the checks below say, so that a client that repeats an expired token costs no signature check.
		v = s.cache.put(sum, &Verified{Claims: *claims}, now)
	}
	if err := s.check(v, audience, now); err != nil {
		return nil, err
	}
	return v, nil
}

// Cached returns a token that Verify accepted before and would accept now. It costs one hash and no signature check.
func (s *Service) Cached(text secret.Text, audience string, now time.Time) (*Verified, bool) {
	v, _, _ := s.seen(text)
	if v == nil || s.check(v, audience, now) != nil {
		return nil, false
	}
	return v, true
}

// Known reports whether a token was verified before, for whichever audience, and is neither expired nor revoked.
func (s *Service) Known(text secret.Text, now time.Time) bool {
	v, _, _ := s.seen(text)
	return v != nil && s.check(v, v.Audience, now) == nil
}

// seen looks a token up in the cache. A text that is too long to be a token is not even hashed.
func (s *Service) seen(text secret.Text) (v *Verified, sum [sha256.Size]byte, short bool) {
	raw := text.Reveal()
	if len(raw) > maxText {
		return nil, sum, false
	}
	var stack [1024]byte // most tokens fit, and then nothing is allocated
	if len(raw) <= len(stack) {
		sum = sha256.Sum256(stack[:copy(stack[:], raw)])
	} else {
		sum = sha256.Sum256([]byte(raw))
	}
	return s.cache.get(sum), sum, true
}

// open returns the claims of a token whose signature is ours. It looks at no clock.
func (s *Service) open(raw string) (*Claims, error) {
	p, err := split(raw)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(p.header)
	if err != nil {
		return nil, err
	}
	if h.Algorithm != string(s.keys.algorithm) {
		return nil, errors.New("alg is not the one of our keys")
	}
	if err := s.verifySignature(raw, h); err != nil {
		return nil, err
	}
	set, err := parsePayload(p.payload)
	if err != nil {
		return nil, err
	}
	if set.Issuer != s.issuer {
		return nil, errors.New("iss is another issuer")
	}
	return set.claims()
}

func (s *Service) verifySignature(raw string, h header) error {
	keys := s.keys.candidates(h.Key)
	if len(keys) == 0 {
		return errors.New("kid names no key of ours")
	}
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{s.keys.algorithm})
	if err != nil {
		return errors.New("not a JWS") // the cause may quote the token
	}
	for _, k := range keys {
		if _, err := jws.Verify(k.key); err == nil {
			return nil
		}
	}
	return errors.New("signature does not match")
}

// check decides on a token whose signature is good. The order matters: Expired and Revoked are said only of a token for
// this audience.
func (s *Service) check(v *Verified, audience string, now time.Time) error {
	switch {
	case audience == "" || v.Audience != audience:
		return invalid(v.Subject, errors.New("aud is another audience"))
	case v.Issued.After(now.Add(skew)):
		return invalid(v.Subject, errors.New("iat lies in the future"))
	case v.NotBefore.After(now.Add(skew)):
		return invalid(v.Subject, errors.New("nbf lies in the future"))
	case v.Expires.After(now.Add(MaxTTL + skew)):
		return invalid(v.Subject, errors.New("exp is farther away than any token of ours"))
	case s.revoked.has(v.ID):
		return &peer.Refusal{Why: peer.Revoked, Claimed: v.Subject, Reason: "token: revoked"}
	case !now.Before(v.Expires):
		return &peer.Refusal{Why: peer.Expired, Claimed: v.Subject, Reason: "token: expired"}
	}
	return nil
}

func invalid(subject string, cause error) error {
	return &peer.Refusal{Why: peer.Invalid, Claimed: subject, Reason: "token: " + cause.Error()}
}

// claimed returns the subject that a refused token claims, for the record only. It may be anything.
func claimed(raw string) string {
	p, err := split(raw)
	if err != nil {
		return ""
	}
	set, err := parsePayload(p.payload)
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(set.Subject[:min(len(set.Subject), maxClaim)], "")
}
