package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
)

// wellKnown is the prefix of protected resource metadata (RFC 9728 §3).
const wellKnown = "/.well-known/oauth-protected-resource"

// Resource returns the resource identifier of a server (RFC 8707): what the audience of its tokens is.
func (g *Gateway) Resource(server string) string {
	routes := g.routes.Load()
	e := routes.byName[server]
	if e == nil {
		return ""
	}
	return routes.base() + e.Path
}

// base is the public origin, without a trailing slash.
func (r *routes) base() string {
	if r.settings.PublicURL == nil {
		return "http://localhost"
	}
	return strings.TrimSuffix(r.settings.PublicURL.String(), "/")
}

func (x *exchange) metadataURL() string { return x.routes.base() + wellKnown + x.endpoint.Path }

// metadata serves the protected resource metadata of a server, in the path-inserted form, and reports whether the
// request was for it.
func (x *exchange) metadata() bool {
	rest, ok := strings.CutPrefix(cleanPath(x.r), wellKnown)
	if !ok {
		return false
	}
	e := x.routes.byPath[rest]
	if e == nil {
		x.fail(errNoSuchPath)
		return true
	}
	x.w.Header().Set("Access-Control-Allow-Origin", "*")
	body, err := json.Marshal(map[string]any{
		"resource":                 x.routes.base() + e.Path,
		"resource_name":            e.Name,
		"bearer_methods_supported": []string{"header"},
	})
	if err != nil {
		x.fail(err)
		return true
	}
	_ = x.write(http.StatusOK, "application/json", body)
	return true
}

// preflight answers the CORS preflight of a listed origin on an endpoint and sets the headers that let its pages read
// the answers. It reports whether the request was a preflight.
func (x *exchange) preflight() bool {
	h, origin := x.w.Header(), x.r.Header.Get("Origin")
	h.Add("Vary", "Origin")
	if origin == "" || x.routes.byPath[cleanPath(x.r)] == nil {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin) // on the list, or enter had refused; never with credentials
	h.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate, Retry-After")
	if x.r.Method != http.MethodOptions || x.r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, Mcp-Protocol-Version, Mcp-Method, Mcp-Name, X-API-Key")
	h.Set("Access-Control-Max-Age", "600")
	_ = x.write(http.StatusNoContent, "", nil)
	return true
}
