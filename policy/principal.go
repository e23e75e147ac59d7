package policy

import "time"

// Principal is an authenticated caller. Issuer and Subject together are its identity; Name is for people.
// It is immutable once made.
type Principal struct {
	Issuer     string    // who vouches: the token's issuer, "key" for API keys, "local" for the admin socket
	Subject    string    // unique within the issuer
	Name       string    // readable name; shown, never compared
	Method     string    // how it authenticated: "api_key", "token", "local", "anonymous"
	Credential string    // identifier of the credential (key id, token id); not secret
	Client     string    // OAuth client identifier; empty when there is none
	Roles      []string  // role names; unknown ones grant nothing
	Scopes     []string  // permission patterns that narrow the roles (token scopes); nil narrows nothing
	Narrow     []string  // permission patterns that narrow the roles (API key); nil narrows nothing
	Expires    time.Time // when the credential ends; zero means never
}

// ID returns the identity as one string, unique among issuers. It is a key for limits and handles, not for display.
func (p *Principal) ID() string { return p.Issuer + "\x00" + p.Subject }

// Target is the kind of thing a call names.
type Target uint8

// Kinds of target. Method is everything that is neither tool, prompt nor resource.
const (
	Method Target = iota
	Tool
	Prompt
	Resource
)

// String returns the MCP word for the kind.
func (t Target) String() string {
	return [...]string{"method", "tool", "prompt", "resource"}[t]
}

// Named is one thing a call names: a tool, a prompt, a resource URI.
type Named struct {
	Kind Target
	Name string
}

// Call is what a principal wants to do on a server. The zero Target is the method itself.
type Call struct {
	Server    string  // configured server name
	Method    string  // JSON-RPC method
	Target    Named   // what the method names; Kind Method and Name "" when nothing
	More      []Named // further things named by the same message (subscriptions); each needs its own permission
	Arguments []byte  // raw JSON object of a tool call or prompt; nil when absent
}
