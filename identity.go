package sallyport

import (
	"context"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport-mcp/sallyport/policy"
)

// placeholder stands in the Authorization header of requests to a handler in this process, because the Go SDK accepts
// an identity only beside one. It carries nothing: it is honoured only where the request's context holds a principal,
// which nobody can send over a network.
const placeholder = "sallyport"

// principalKey is the key of the principal in the context of requests to a handler in this process.
type principalKey struct{}

// extraPrincipal is the member of TokenInfo.Extra that holds the principal.
const extraPrincipal = "sallyport.principal"

// PrincipalFrom returns who makes a request, in a tool, prompt or resource handler of the Go SDK behind a Guard. It
// reads the request, never the context: in a stateful session the context stays that of the request that opened it.
// It is false outside of a Guard.
func PrincipalFrom(r mcp.Request) (*policy.Principal, bool) {
	extra := r.GetExtra()
	if extra == nil || extra.TokenInfo == nil {
		return nil, false
	}
	p, ok := extra.TokenInfo.Extra[extraPrincipal].(*policy.Principal)
	return p, ok
}

// withPrincipal and withPlaceholder hand the principal to identified.
func withPrincipal(ctx context.Context, p *policy.Principal) context.Context {
	if p == nil {
		return ctx
	}
	return context.WithValue(ctx, principalKey{}, p)
}

func withPlaceholder(p *policy.Principal) http.Header {
	if p == nil {
		return nil
	}
	return http.Header{"Authorization": {"Bearer " + placeholder}}
}

// identified lets an SDK handler see the principal as its token information. Requests without one (our own probes)
// reach it without identity.
func identified(h http.Handler) http.Handler {
	known := auth.RequireBearerToken(verifyPlaceholder, nil)(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := r.Context().Value(principalKey{}).(*policy.Principal); ok {
			known.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func verifyPlaceholder(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	p, ok := ctx.Value(principalKey{}).(*policy.Principal)
	if !ok || token != placeholder {
		return nil, auth.ErrInvalidToken
	}
	expires := p.Expires
	if expires.IsZero() {
		expires = time.Now().Add(24 * time.Hour) // the SDK wants one; ours is checked on every request before it gets here
	}
	return &auth.TokenInfo{
		UserID:     p.ID(),
		Scopes:     p.Scopes,
		Expiration: expires,
		Extra:      map[string]any{extraPrincipal: p},
	}, nil
}
