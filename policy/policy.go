// Package policy decides whether a principal may make a call. It is pure: no I/O, no clock, no log.
//
// For most uses, [Compile] a [Config] once and ask [Rules.Allows] for every call and [Rules.Visible] for every entry
// of a list. The one invariant: no rule means no, and a list shows a thing exactly when some call of it is allowed.
//
// It does not authenticate, count or record; package guard does that around it.
package policy

import (
	"fmt"
	"slices"
)

// Config is what Rules are compiled from.
type Config struct {
	Servers []string // names of the guarded servers
	Roles   []Role   // all roles; a name twice is an error
	Rules   []Rule   // in order; the first match decides
}

// Rules is a compiled policy. It is immutable and safe for concurrent use.
type Rules struct {
	roles   map[string]*grants
	sources []Role
	servers map[string]*mapping
}

// grants is what one role permits, inheritance resolved.
type grants struct {
	exact    map[string]struct{}
	patterns []string
}

func (g *grants) holds(permission string) bool {
	if _, ok := g.exact[permission]; ok {
		return true
	}
	return matchAny(g.patterns, permission)
}

// mapping holds the rules of one server by kind of target.
type mapping struct {
	byKind [Resource + 1][]mapped
}

type mapped struct {
	pattern string
	require string
	label   string
}

// Compile checks and compiles a policy. Errors name the role or rule that is wrong.
func Compile(c Config) (*Rules, error) {
	r := &Rules{roles: map[string]*grants{}, servers: map[string]*mapping{}}
	for _, name := range c.Servers {
		if _, taken := r.servers[name]; taken {
			return nil, fmt.Errorf("server %q is defined twice", name)
		}
		if err := ValidServer(name); err != nil {
			return nil, err
		}
		r.servers[name] = &mapping{}
	}
	if err := r.compileRoles(c.Roles); err != nil {
		return nil, err
	}
	r.servers[SecurityServer] = securityMapping()
	for i := range c.Rules {
		if err := r.compileRule(i, &c.Rules[i]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Rules) compileRoles(roles []Role) error {
	byName := map[string]Role{}
	for _, role := range roles {
		if !validName(role.Name) {
			return fmt.Errorf("role %q: a name is 1 to 64 letters, digits, '-', '_' or '.'", role.Name)
		}
		if _, twice := byName[role.Name]; twice {
			return fmt.Errorf("role %q is defined twice", role.Name)
		}
		for _, p := range role.Permissions {
			if err := ValidPattern(p); err != nil {
				return fmt.Errorf("role %q: %w", role.Name, err)
			}
		}
		byName[role.Name] = role
		r.sources = append(r.sources, role)
	}
	for _, role := range roles {
		g := &grants{exact: map[string]struct{}{}}
		if err := g.add(byName, role.Name, nil); err != nil {
			return err
		}
		r.roles[role.Name] = g
	}
	return nil
}

// add collects the permissions of a role and of all it inherits; trail is the way here, to find cycles.
func (g *grants) add(byName map[string]Role, name string, trail []string) error {
	if slices.Contains(trail, name) {
		return fmt.Errorf("role %q inherits itself through %q", name, trail[len(trail)-1])
	}
	role, ok := byName[name]
	if !ok {
		return fmt.Errorf("role %q inherits %q, which does not exist", trail[len(trail)-1], name)
	}
	for _, p := range role.Permissions {
		if isPattern(p) {
			g.patterns = append(g.patterns, p)
		} else {
			g.exact[p] = struct{}{}
		}
	}
	trail = append(slices.Clone(trail), name)
	for _, parent := range role.Inherits {
		if err := g.add(byName, parent, trail); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rules) compileRule(i int, rule *Rule) error {
	m, ok := r.servers[rule.Server]
	if !ok {
		return fmt.Errorf("permission rule %d names server %q, which does not exist", i+1, rule.Server)
	}
	if err := ValidPermission(rule.Require); err != nil {
		return fmt.Errorf("permission rule %d: %w", i+1, err)
	}
	set := 0
	for kind, pattern := range [...]string{Method: rule.Method, Tool: rule.Tool, Prompt: rule.Prompt, Resource: rule.Resource} {
		if pattern == "" {
			continue
		}
		set++
		m.byKind[kind] = append(m.byKind[kind], mapped{
			pattern: pattern,
			require: rule.Require,
			label:   fmt.Sprintf("permissions[%d]", i),
		})
	}
	if set != 1 {
		return fmt.Errorf("permission rule %d: set exactly one of tool, prompt, resource and method", i+1)
	}
	return nil
}

// SecurityServer is the name of Sallyport's own MCP server. No other server can have it: it is a built-in resource.
const SecurityServer = "security"

// securityMapping says what each tool of Sallyport's own MCP server needs.
func securityMapping() *mapping {
	m := &mapping{}
	m.byKind[Tool] = []mapped{{pattern: "get_security_audit", require: "metrics:view", label: "built-in"}}
	return m
}

// Roles returns the roles the policy was compiled from, in order.
func (r *Rules) Roles() []Role { return slices.Clone(r.sources) }

// HasRole reports whether a role of that name exists.
func (r *Rules) HasRole(name string) bool { _, ok := r.roles[name]; return ok }
