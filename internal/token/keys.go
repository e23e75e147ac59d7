package token

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	jose "github.com/go-jose/go-jose/v4"
)

// keySet is the one key that signs and those that verify, the signing one first. It never changes.
type keySet struct {
	algorithm jose.SignatureAlgorithm
	signer    jose.Signer
	verify    []verifyKey
	public    jose.JSONWebKeySet
}

// verifyKey is the algorithm's own form of a key: an Ed25519 public key is never used as an HMAC secret, because the
// set has one algorithm and the key one type.
type verifyKey struct {
	id  string
	key any
}

func newKeySet(c *Config) (*keySet, error) {
	if (len(c.Private) > 0) != c.Secret.IsZero() {
		return nil, errors.New("exactly one of an Ed25519 key and an HS256 secret is needed")
	}
	if !c.Secret.IsZero() {
		return symmetric(c)
	}
	return asymmetric(c)
}

func symmetric(c *Config) (*keySet, error) {
	if c.Secret.Len() < MinSecret {
		return nil, fmt.Errorf("HS256 secret has %d bytes; at least %d are needed (RFC 7518 §3.2)", c.Secret.Len(), MinSecret)
	}
	if len(c.Previous) > 0 {
		return nil, errors.New("previous public keys cannot verify HS256 tokens")
	}
	key := []byte(c.Secret.Reveal())
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("sallyport key id"))
	id := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12])
	return (&keySet{algorithm: jose.HS256, verify: []verifyKey{{id, key}}}).withSigner(key, id)
}

func asymmetric(c *Config) (*keySet, error) {
	if len(c.Private) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("Ed25519 private key has %d bytes, not %d", len(c.Private), ed25519.PrivateKeySize)
	}
	if len(c.Previous) >= maxKeys {
		return nil, fmt.Errorf("%d previous keys; at most %d are allowed", len(c.Previous), maxKeys-1)
	}
	set := &keySet{algorithm: jose.EdDSA}
	current, _ := c.Private.Public().(ed25519.PublicKey) // always of this type
	for _, public := range append([]ed25519.PublicKey{current}, c.Previous...) {
		if len(public) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("Ed25519 public key has %d bytes, not %d", len(public), ed25519.PublicKeySize)
		}
		jwk := jose.JSONWebKey{Key: public, Algorithm: string(jose.EdDSA), Use: "sig"}
		sum, err := jwk.Thumbprint(crypto.SHA256) // RFC 7638
		if err != nil {
			return nil, fmt.Errorf("naming a public key: %w", err)
		}
		jwk.KeyID = base64.RawURLEncoding.EncodeToString(sum)
		set.verify = append(set.verify, verifyKey{jwk.KeyID, public})
		set.public.Keys = append(set.public.Keys, jwk)
	}
	return set.withSigner(c.Private, set.verify[0].id)
}

func (k *keySet) withSigner(key any, id string) (*keySet, error) {
	options := (&jose.SignerOptions{}).WithType(headerType).WithHeader("kid", id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.algorithm, Key: key}, options)
	if err != nil {
		return nil, fmt.Errorf("preparing to sign tokens: %w", err)
	}
	k.signer = signer
	return k, nil
}

// candidates returns the keys that may have made a signature: the one that kid names, or every one when there is no kid.
func (k *keySet) candidates(kid *string) []verifyKey {
	if kid == nil {
		return k.verify
	}
	for i, key := range k.verify {
		if key.id == *kid {
			return k.verify[i : i+1]
		}
	}
	return nil
}
