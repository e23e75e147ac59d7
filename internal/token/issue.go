package token

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/secret"
)

// Issue signs a new token for the claims and returns its text and the claims as they are in it. Times are whole seconds.
func (s *Service) Issue(c Claims) (secret.Text, Claims, error) {
	if err := s.complete(&c); err != nil {
		return secret.Text{}, Claims{}, fmt.Errorf("issuing a token: %w", err)
	}
	aud, err := jsontext.AppendQuote(nil, c.Audience)
	if err != nil {
		return secret.Text{}, Claims{}, fmt.Errorf("issuing a token: audience: %w", err)
	}
	set := payload{
		Issuer: c.Issuer, Subject: c.Subject, Audience: aud, Client: c.Client, ID: c.ID, Roles: c.Roles,
		Name: c.Name, Expires: seconds(c.Expires), Issued: seconds(c.Issued),
	}
	if c.Scopes != nil {
		scope := strings.Join(c.Scopes, " ")
		set.Scope = &scope
	}
	body, err := json.Marshal(set)
	if err != nil {
		return secret.Text{}, Claims{}, fmt.Errorf("issuing a token: %w", err)
	}
	jws, err := s.keys.signer.Sign(body)
	if err != nil {
		return secret.Text{}, Claims{}, fmt.Errorf("signing a token: %w", err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		return secret.Text{}, Claims{}, fmt.Errorf("signing a token: %w", err)
	}
	if len(text) > maxText {
		return secret.Text{}, Claims{}, fmt.Errorf("issuing a token: its %d bytes are more than the %d we accept", len(text), maxText)
	}
	return secret.New(text), c, nil
}

// complete fills in what Issue decides and refuses what Verify would.
func (s *Service) complete(c *Claims) error {
	switch {
	case c.Subject == "":
		return errors.New("no subject")
	case c.Audience == "":
		return errors.New("no audience")
	case c.TTL < 0 || c.TTL > MaxTTL:
		return fmt.Errorf("life of %v: must be above 0 and at most %v", c.TTL, MaxTTL)
	case c.TTL > 0 && c.TTL < time.Second:
		return fmt.Errorf("life of %v: must be at least a second", c.TTL)
	case slices.ContainsFunc(c.Scopes, badScope):
		return errors.New("a scope is empty or contains a space (RFC 6749 §3.3)")
	}
	if c.TTL == 0 {
		c.TTL = s.ttl
	}
	if c.Client == "" {
		c.Client = "sallyport"
	}
	var id [idBytes]byte
	_, _ = rand.Read(id[:]) // never fails: the program ends when the system has no randomness
	c.ID = base64.RawURLEncoding.EncodeToString(id[:])
	c.Issuer, c.NotBefore = s.issuer, time.Time{}
	c.Issued = s.now().UTC().Truncate(time.Second)
	c.Expires = c.Issued.Add(c.TTL).Truncate(time.Second)
	c.Roles, c.Scopes = slices.Clone(c.Roles), slices.Clone(c.Scopes)
	return nil
}

func badScope(s string) bool { return len(strings.Fields(s)) != 1 || strings.Fields(s)[0] != s }

func seconds(t time.Time) jsontext.Value { return strconv.AppendInt(nil, t.Unix(), 10) }
