// Package authn turns the credential a peer presents into a principal: an API key or an access token issued here.
//
// For most uses make an [Authenticator] with [New] and call [Authenticator.Authenticate]. It does not decide what the
// principal may do. Its invariant: a principal is returned only for a credential that is good at this moment; caches spare
// signature checks and allocations, never the look at expiry and revocation.
package authn

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/internal/token"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Values of Principal.Method, and the Issuer of keys.
const (
	MethodKey       = "api_key"
	MethodToken     = "token"
	MethodAnonymous = "anonymous"
	MethodLocal     = "local" // the admin socket; made elsewhere

	IssuerKey = "key"
)

// Config is what an Authenticator needs.
type Config struct {
	// Keys checks API keys. Nil: no key is accepted.
	Keys *apikey.Service
	// Tokens verifies access tokens issued here. Nil: no token is accepted.
	Tokens *token.Service
	// Audience returns the resource identifier of a configured server, which its tokens must name. Required with Tokens.
	Audience func(server string) string
	// Anonymous is the principal of who presents nothing. Nil: presenting nothing is refused. A credential that is
	// presented and bad is refused either way.
	Anonymous *policy.Principal
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Authenticator judges credentials. It asks no store and is safe for concurrent use.
type Authenticator struct {
	config Config

	mu         sync.RWMutex
	principals map[string]*policy.Principal // by key id, only of keys that exist; guarded by mu
}

// New makes an Authenticator.
func New(c Config) (*Authenticator, error) {
	if c.Tokens != nil && c.Audience == nil {
		return nil, errors.New("authenticating tokens needs the audience of each server")
	}
	if a := c.Anonymous; a != nil && a.Method != MethodAnonymous {
		return nil, errors.New("the anonymous principal must have the method " + MethodAnonymous)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Authenticator{config: c, principals: make(map[string]*policy.Principal)}, nil
}

// Authenticate says who presents the credential of p to a server. Cached reports that it was accepted
// before, and only its expiry and revocation were looked at now. The
// principal is shared by all calls with the same credential. The error is always a *peer.Refusal.
//
// The order is fixed: what has the form of an API key is one, however it was presented; else a Bearer value is an access
// token. No credential is tried as another kind after it failed.
func (a *Authenticator) Authenticate(ctx context.Context, p peer.Peer, server string) (_ *policy.Principal, cached bool, _ error) {
	switch {
	case p.Credential.Kind == peer.NoCredential && a.config.Anonymous != nil:
		return a.config.Anonymous, true, nil
	case p.Credential.Kind == peer.NoCredential:
		return nil, false, &peer.Refusal{Why: peer.Missing, Reason: "no credential was presented"}
	case isKey(&p.Credential):
		return a.byKey(ctx, p.Credential.Value, p.Addr)
	default:
		return a.byToken(ctx, p.Credential.Value, server)
	}
}

// isKey tells an API key from a token by how it starts; X-API-Key never carries a token.
func isKey(c *peer.Credential) bool {
	return c.Kind == peer.APIKey || strings.HasPrefix(c.Value.Reveal(), apikey.Prefix)
}

func (a *Authenticator) byKey(ctx context.Context, text secret.Text, from netip.Addr) (_ *policy.Principal, cached bool, _ error) {
	if a.config.Keys == nil {
		return nil, false, &peer.Refusal{Why: peer.Invalid, Reason: "API key: none is accepted here"}
	}
	r, err := a.config.Keys.Check(ctx, text, from, a.config.Now())
	if err != nil {
		return nil, false, refusal(text, r, err)
	}
	a.mu.RLock()
	p := a.principals[r.ID]
	a.mu.RUnlock()
	if p != nil && same(p, &r) {
		return p, true, nil
	}
	p = &policy.Principal{
		Issuer: IssuerKey, Subject: r.ID, Name: r.Name, Method: MethodKey, Credential: r.ID,
		Roles: r.Roles, Narrow: r.Permissions, Expires: r.Expires,
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.principals[r.ID] = p
	return p, false, nil
}

// same reports whether a principal still says what its record says, which may have been loaded anew.
func same(p *policy.Principal, r *apikey.Record) bool {
	return p.Name == r.Name && p.Expires.Equal(r.Expires) && slices.Equal(p.Roles, r.Roles) &&
		slices.Equal(p.Narrow, r.Permissions) && (p.Narrow == nil) == (r.Permissions == nil)
}

// refusal classifies what Check said. The claimed identity is the key's name where the secret was right, else the id.
func refusal(text secret.Text, r apikey.Record, err error) *peer.Refusal {
	out := &peer.Refusal{Why: peer.Invalid, Claimed: r.Name, Reason: "API key: " + err.Error()}
	if id, ok := apikey.ParseID(text.Reveal()); ok && r.ID == "" {
		out.Claimed = IssuerKey + ":" + id
	}
	switch {
	case errors.Is(err, apikey.ErrExpired):
		out.Why = peer.Expired
	case errors.Is(err, apikey.ErrRevoked):
		out.Why = peer.Revoked
	}
	return out
}

func (a *Authenticator) byToken(ctx context.Context, text secret.Text, server string) (*policy.Principal, bool, error) {
	if a.config.Tokens == nil {
		return nil, false, &peer.Refusal{Why: peer.Invalid, Reason: "token: none is accepted here"}
	}
	audience, now := a.config.Audience(server), a.config.Now()
	v, cached := a.config.Tokens.Cached(text, audience, now)
	if !cached {
		var err error
		if v, err = a.config.Tokens.Verify(ctx, text, audience, now); err != nil {
			return nil, false, err
		}
	}
	p, _ := v.Derived(principal).(*policy.Principal) // always of this type
	return p, cached, nil
}

func principal(c *token.Claims) any {
	name := c.Name
	if name == "" {
		name = c.Subject
	}
	return &policy.Principal{
		Issuer: c.Issuer, Subject: c.Subject, Name: name, Method: MethodToken, Credential: c.ID,
		Client: c.Client, Roles: c.Roles, Scopes: c.Scopes, Expires: c.Expires,
	}
}

// Cached reports whether p presents a credential that is known to be good: a key in memory, or a token accepted before.
// It costs one hash, checks no signature and asks no store, so that it may stand before the limits.
func (a *Authenticator) Cached(p peer.Peer) bool {
	switch {
	case p.Credential.Kind == peer.NoCredential:
		return false
	case isKey(&p.Credential):
		return a.config.Keys != nil && a.config.Keys.Peek(p.Credential.Value, p.Addr, a.config.Now())
	default:
		return a.config.Tokens != nil && a.config.Tokens.Known(p.Credential.Value, a.config.Now())
	}
}

// Valid reports whether a principal of an earlier Authenticate would still be accepted: its key exists and is not
// revoked, its token is not revoked, neither has expired. It is cheap enough to ask twice a second for every open stream.
// A method it does not know is not valid.
func (a *Authenticator) Valid(_ context.Context, p *policy.Principal, now time.Time) bool {
	if p == nil || !p.Expires.IsZero() && !now.Before(p.Expires) {
		return false
	}
	switch p.Method {
	case MethodKey:
		return a.config.Keys != nil && a.config.Keys.Active(p.Credential, now)
	case MethodToken:
		return a.config.Tokens != nil && !a.config.Tokens.Revoked(p.Credential)
	case MethodAnonymous:
		return a.config.Anonymous != nil
	case MethodLocal:
		return true
	}
	return false
}
