// Package peer says who is on the other end of a connection: the client's address behind trusted proxies, its TLS
// certificate and the credential it presented. It proves nothing about identity; that is package authn's work.
//
// [From] is the only reader of forwarding headers in the program, and believes them only from configured proxies.
package peer

import (
	"crypto/x509"
	"net/netip"

	"github.com/sallyport-mcp/sallyport/internal/secret"
)

// Peer is the connection a request came over. It is a plain value, owned by the request.
type Peer struct {
	Addr        netip.Addr        // the client's own address, unmapped and without zone; invalid for a unix socket
	Direct      netip.Addr        // the address of the connection itself: a trusted proxy's, else equal to Addr
	Secure      bool              // the client's leg is TLS: here, or at a proxy listed in Config.TerminatedBy
	Certificate *x509.Certificate // the verified client certificate; nil when there is none
	UserAgent   string            // cut to 256 bytes; attacker-chosen text
	Credential  Credential
}

// CredentialKind says how a credential was presented.
type CredentialKind uint8

// Ways to present a credential. The zero value means that none was presented.
const (
	NoCredential CredentialKind = iota
	Bearer                      // Authorization: Bearer (RFC 6750 §2.1): an access token or an API key
	APIKey                      // X-API-Key
)

// Credential is what the client presented, not yet believed.
type Credential struct {
	Kind  CredentialKind
	Value secret.Text
}

// Refusal is why a credential was not accepted. It is an error; the text is for the log, never for the caller.
type Refusal struct {
	Why     Why
	Claimed string // the identity the credential claims, if it can be read; attacker-chosen text
	Reason  string // for the operator; carries no secret
}

// Why classifies a Refusal.
type Why uint8

// Classes of refusal.
const (
	Missing     Why = iota + 1 // nothing was presented: 401
	Malformed                  // two credentials at once, or one in the query string: 400
	Invalid                    // unknown, forged, or of another audience: 401
	Expired                    // genuine but past its time: 401, counts for no rule
	Revoked                    // genuine but taken back: 401
	Unavailable                // the store could not be asked: 503, never 401
)

// Error returns the reason.
func (r *Refusal) Error() string { return r.Reason }
