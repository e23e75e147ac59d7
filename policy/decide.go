package policy

import "strings"

// Verdict is the answer to one call.
type Verdict struct {
	Allowed    bool
	Permission string // the permission that was needed, or, when denied, the first one missing
	Rule       string // what mapped the call to the permission: "permissions[3]" or "default"
	Reason     string // why not, for the operator; empty when allowed
}

// Reasons of a denial.
const (
	ReasonRole   = "no role of the principal grants the permission"
	ReasonScope  = "a role grants the permission, the token's scopes do not"
	ReasonNarrow = "a role grants the permission, the API key is narrower"
	ReasonServer = "the principal has no permission on the server"
)

// Allows decides one call. Everything the call names must be allowed.
func (r *Rules) Allows(p *Principal, c *Call) Verdict {
	v := r.one(p, c.Server, c.Method, c.Target)
	for i := 0; v.Allowed && i < len(c.More); i++ {
		v = r.one(p, c.Server, c.Method, c.More[i])
	}
	return v
}

func (r *Rules) one(p *Principal, server, method string, n Named) Verdict {
	permission, rule := r.Wanted(server, method, n)
	if n.Kind == Method && rule == ruleDefault && general(method) {
		if r.Any(p, server) {
			return Verdict{Allowed: true, Permission: server + ":*", Rule: "any"}
		}
		return Verdict{Permission: server + ":*", Rule: "any", Reason: ReasonServer}
	}
	reason := r.missing(p, permission)
	return Verdict{Allowed: reason == "", Permission: permission, Rule: rule, Reason: reason}
}

// ruleDefault is what Wanted names when no rule of the configuration maps a thing.
const ruleDefault = "default"

// general reports whether a method that no rule maps needs any permission on the server rather than one of its own.
// logging/setLevel is among them: it touches only the caller's own session, and clients that are refused it give up.
func general(method string) bool {
	switch method {
	case "initialize", "server/discover", "ping", "logging/setLevel", "tools/list", "prompts/list", "resources/list",
		"resources/templates/list", "subscriptions/listen", MethodStream, MethodEnd, MethodReply:
		return true
	}
	return strings.HasPrefix(method, "notifications/")
}

// Names for acts of the Streamable HTTP transport that carry no JSON-RPC method of their own.
const (
	MethodStream = "stream"  // GET: the session's stream (MCP 2025-11-25, transports)
	MethodEnd    = "end"     // DELETE: the end of the session
	MethodReply  = "respond" // POST of a response to a request of the server
)

// Visible reports whether an entry of a list is shown: exactly when some call of it would be allowed.
func (r *Rules) Visible(p *Principal, server string, n Named) bool {
	permission, _ := r.Wanted(server, "", n)
	return r.Holds(p, permission)
}

// Holds reports whether the principal has the permission: a role grants it, and neither scopes nor key are narrower.
func (r *Rules) Holds(p *Principal, permission string) bool { return r.missing(p, permission) == "" }

// missing returns why the principal lacks the permission, or "".
func (r *Rules) missing(p *Principal, permission string) string {
	granted := false
	for _, name := range p.Roles {
		if g, ok := r.roles[name]; ok && g.holds(permission) {
			granted = true
			break
		}
	}
	switch {
	case !granted:
		return ReasonRole
	case p.Scopes != nil && !matchAny(p.Scopes, permission):
		return ReasonScope
	case p.Narrow != nil && !matchAny(p.Narrow, permission):
		return ReasonNarrow
	}
	return ""
}

// Wanted returns the literal permission that the thing named needs on the server, and what said so.
func (r *Rules) Wanted(server, method string, n Named) (permission, rule string) {
	name := n.Name
	if n.Kind == Method {
		name = method
	}
	if m, ok := r.servers[server]; ok {
		for i := range m.byKind[n.Kind] {
			if candidate := &m.byKind[n.Kind][i]; match(candidate.pattern, name) {
				return candidate.require, candidate.label
			}
		}
	}
	return server + ":" + unmapped(n.Kind, name), ruleDefault
}

// unmapped is the action part of the permission of a thing that no rule maps.
func unmapped(kind Target, name string) string {
	switch kind {
	case Tool:
		if strings.Contains(name, "/") { // a tool must not be able to claim the permission of a prompt or resource
			return "tools/" + name
		}
		return name
	case Prompt:
		return "prompts/" + name
	case Resource:
		return "resources/" + name
	}
	return "methods/" + name
}

// Any reports whether the principal has any permission on the server: one that a rule of the server requires, or one
// of the server's own.
func (r *Rules) Any(p *Principal, server string) bool {
	m, ok := r.servers[server]
	if !ok {
		return false
	}
	for kind := range m.byKind {
		for i := range m.byKind[kind] {
			if r.Holds(p, m.byKind[kind][i].require) {
				return true
			}
		}
	}
	own := server + ":*"
	for _, name := range p.Roles {
		g, ok := r.roles[name]
		if !ok {
			continue
		}
		for _, pattern := range g.patterns {
			if overlapAll(p, own, pattern) {
				return true
			}
		}
		for permission := range g.exact {
			if match(own, permission) && r.Holds(p, permission) {
				return true
			}
		}
	}
	return false
}

// overlapAll reports whether some permission of the server matches a role's pattern and one pattern each of what
// narrows the principal.
func overlapAll(p *Principal, own, pattern string) bool {
	for _, scope := range orEverything(p.Scopes) {
		for _, narrow := range orEverything(p.Narrow) {
			if overlap(own, pattern, scope, narrow) {
				return true
			}
		}
	}
	return false
}

func orEverything(patterns []string) []string {
	if patterns == nil {
		return []string{"*"}
	}
	return patterns
}
