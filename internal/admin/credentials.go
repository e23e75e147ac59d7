package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/token"
)

// KeySpec is what a new API key should be.
type KeySpec struct {
	Name        string   `json:"name"`
	Roles       []string `json:"roles"`
	Permissions []string `json:"permissions,omitzero"` // narrows the roles; nil narrows nothing
	Networks    []string `json:"networks,omitempty"`   // CIDR; empty allows any address
	TTL         Seconds  `json:"ttl,omitempty"`        // 0: 90 days. Negative: never expires
}

// Seconds is a duration as a JSON number.
type Seconds int64

// Duration returns the time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// NewKey is a key that was just made. Text is shown this once.
type NewKey struct {
	Text   string        `json:"key"`
	Record apikey.Record `json:"record"`
}

// CreateKey makes an API key. Its text leaves only after its record is kept; if that fails, the key is revoked again.
func (o *Operations) CreateKey(ctx context.Context, who Actor, in KeySpec) (NewKey, error) {
	text, record, err := o.Keys.Create(ctx, apikey.Spec{
		Name: in.Name, Roles: in.Roles, Permissions: in.Permissions, Networks: in.Networks, TTL: in.TTL.Duration(),
	})
	if err != nil {
		return NewKey{}, fault(Invalid, "", "making the key: %v", err)
	}
	event := &audit.Event{Kind: audit.KeyCreated, Credential: record.ID, Details: []audit.Detail{
		{Name: "name", Value: record.Name}, {Name: "roles", Value: strings.Join(record.Roles, " ")},
	}}
	if err := o.record(ctx, who, event); err != nil {
		if _, undo := o.Keys.Revoke(context.WithoutCancel(ctx), record.ID); undo != nil {
			o.log().Error("a key without record could not be revoked; nobody has its text", "key", record.ID, "error", undo)
		}
		return NewKey{}, err
	}
	return NewKey{Text: text.Reveal(), Record: record}, nil
}

// ListKeys returns all keys, oldest first.
func (o *Operations) ListKeys(context.Context, Actor, struct{}) ([]apikey.Record, error) {
	return o.Keys.List(), nil
}

// ID names a thing by its id or name.
type ID struct {
	ID string `json:"id"`
}

// Changed says whether an act changed anything: false for what was so before.
type Changed struct {
	Changed bool `json:"changed"`
}

// RevokeKey takes a key back, named by its id or by its whole text.
func (o *Operations) RevokeKey(ctx context.Context, who Actor, in ID) (Changed, error) {
	id := in.ID
	if parsed, ok := apikey.ParseID(id); ok {
		id = parsed
	}
	keys := o.Keys.List()
	i := slices.IndexFunc(keys, func(r apikey.Record) bool { return r.ID == id })
	if i < 0 {
		return Changed{}, fault(NotFound, "see: sallyport key list", "there is no API key with this id")
	}
	if !keys[i].Revoked.IsZero() {
		return Changed{}, nil
	}
	event := audit.Event{Kind: audit.KeyRevoked, Credential: id, Details: []audit.Detail{{Name: "name", Value: keys[i].Name}}}
	if err := o.record(ctx, who, &event); err != nil {
		return Changed{}, err
	}
	changed, err := o.Keys.Revoke(ctx, id)
	if err != nil {
		o.failed(ctx, who, event, err)
		return Changed{}, err
	}
	return Changed{changed}, nil
}

// TokenSpec is what a new access token should say.
type TokenSpec struct {
	Subject string   `json:"subject"`
	Name    string   `json:"name,omitempty"`
	Server  string   `json:"server"` // the only server the token is for
	Roles   []string `json:"roles"`
	Scopes  []string `json:"scopes,omitzero"` // permission patterns that narrow the roles; nil narrows nothing
	TTL     Seconds  `json:"ttl,omitempty"`   // 0: the configured one
}

// NewToken is a token that was just issued. Text is shown this once.
type NewToken struct {
	Text     string    `json:"token"`
	ID       string    `json:"id"`
	Audience string    `json:"audience"`
	Expires  time.Time `json:"expires"`
}

// IssueToken signs an access token for one server. Its text leaves only after its record is kept.
func (o *Operations) IssueToken(ctx context.Context, who Actor, in TokenSpec) (NewToken, error) {
	audience, ok := o.Audience(in.Server)
	if !ok {
		return NewToken{}, fault(NotFound, "a token is for one server; name one of the configuration", "there is no server %q", in.Server)
	}
	if err := o.rolesExist(ctx, in.Roles); err != nil {
		return NewToken{}, err
	}
	text, claims, err := o.Tokens.Issue(token.Claims{
		Subject: in.Subject, Name: in.Name, Roles: in.Roles, Scopes: in.Scopes, Audience: audience, TTL: in.TTL.Duration(),
	})
	if err != nil {
		return NewToken{}, fault(Invalid, "", "issuing the token: %v", err)
	}
	event := &audit.Event{Kind: audit.TokenIssued, Credential: claims.ID, Server: in.Server, Details: []audit.Detail{
		{Name: "subject", Value: claims.Subject},
		{Name: "roles", Value: strings.Join(claims.Roles, " ")},
		{Name: "expires", Value: claims.Expires.UTC().Format(time.RFC3339)},
	}}
	if err := o.record(ctx, who, event); err != nil {
		return NewToken{}, err
	}
	return NewToken{Text: text.Reveal(), ID: claims.ID, Audience: claims.Audience, Expires: claims.Expires}, nil
}

// RevokeToken takes one token back, named by its id or by its whole text.
func (o *Operations) RevokeToken(ctx context.Context, who Actor, in ID) (Changed, error) {
	event := audit.Event{Kind: audit.TokenRevoked, Credential: tokenID(in.ID)}
	if event.Credential == "" {
		return Changed{}, fault(Invalid, "give the token's id or its whole text", "this is neither a token nor a token id")
	}
	if o.Tokens.Revoked(event.Credential) {
		return Changed{}, nil
	}
	if err := o.record(ctx, who, &event); err != nil {
		return Changed{}, err
	}
	changed, err := o.Tokens.Revoke(ctx, in.ID)
	if err != nil {
		o.failed(ctx, who, event, err)
		if errors.Is(err, token.ErrNotOurs) {
			return Changed{}, fault(NotFound, "give the token's id or its whole text", "%v", err)
		}
		return Changed{}, err
	}
	return Changed{changed}, nil
}

// tokenID returns the id in a token's text, unverified, so that no record holds the text; of anything else it returns
// the thing itself if it can be an id. Whether the token is ours, the token service says.
func tokenID(text string) string {
	parts := strings.Split(text, ".")
	if len(parts) == 1 && len(text) <= 64 && !strings.HasPrefix(text, apikey.Prefix) {
		return text
	}
	if len(parts) != 3 || len(text) > 8<<10 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		ID string `json:"jti"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || len(claims.ID) > 64 {
		return ""
	}
	return claims.ID
}
