package server

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/policy"
)

func (c *checker) permissions() {
	for i := range c.file.Permissions {
		p, at := &c.file.Permissions[i], fmt.Sprintf("permissions[%d]", i)
		if !slices.ContainsFunc(c.file.Servers, func(s ServerSection) bool { return s.Name == p.Server }) {
			c.fail(at+".server", fmt.Sprintf("%s: there is no server %q", at, p.Server), "name a server of the servers list")
		}
		set := 0
		for _, pattern := range []string{p.Tool, p.Prompt, p.Resource, p.Method} {
			if pattern != "" {
				set++
			}
		}
		if set != 1 {
			c.fail(at, at+": exactly one of tool, prompt, resource and method is needed", "write one rule for each")
		}
		if err := policy.ValidPermission(p.Require); err != nil {
			c.fail(at+".require", fmt.Sprintf("%s: %v", at, err), "write resource:action, such as files:write")
		}
	}
}

func (c *checker) roles() {
	sound := true
	for _, name := range slices.Sorted(maps.Keys(c.file.Roles)) {
		role, at := c.file.Roles[name], "roles."+name
		for i, p := range role.Permissions {
			if err := policy.ValidPattern(p); err != nil {
				sound = false
				c.fail(fmt.Sprintf("%s.permissions[%d]", at, i), fmt.Sprintf("role %q: %v", name, err), "write resource:action, such as files:read_*, or * for everything")
			}
		}
		for i, parent := range role.Inherits {
			if !c.knownRole(parent) {
				sound = false
				c.fail(fmt.Sprintf("%s.inherits[%d]", at, i), fmt.Sprintf("role %q inherits %q, which does not exist", name, parent), "define it under roles")
			}
		}
	}
	if !sound {
		return
	}
	if _, err := policy.Compile(policy.Config{Roles: mergeRoles(policy.DefaultRoles(), c.file.roles())}); err != nil {
		c.fail("roles", "roles: "+err.Error(), "")
	}
}

// mergeRoles returns base with more added; a role of the same name replaces the earlier one.
func mergeRoles(base, more []policy.Role) []policy.Role {
	merged := slices.Clone(base)
	for _, r := range more {
		if i := slices.IndexFunc(merged, func(m policy.Role) bool { return m.Name == r.Name }); i >= 0 {
			merged[i] = r
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

func (c *checker) limits() {
	l := &c.file.Limits
	all := map[string]Limit{
		"limits.global": l.Global, "limits.address": l.Address, "limits.failed_auth": l.FailedAuth,
		"limits.tool": l.Tool, "limits.principal_tool": l.PrincipalTool,
	}
	for name, limit := range l.Roles {
		all["limits.roles."+name] = limit
	}
	for _, at := range slices.Sorted(maps.Keys(all)) {
		if limit := all[at]; !limit.valid() || c.places.Has(at) && limit == (Limit{}) {
			c.fail(at, at+": capacity must be at least 1 and refill above 0", "write both, such as {capacity: 100, refill: 10}, or off")
			return
		}
	}
	if _, err := ratelimit.NewTable(c.file.limits()); err != nil {
		c.fail("limits", err.Error(), "")
	}
}

func (c *checker) thresholds() {
	r := &c.file.Detect.Rules
	for at, t := range map[string]ThresholdSection{
		"detect.rules.failed_auth": r.FailedAuth, "detect.rules.failed_auth_address": r.FailedAuthAddress,
		"detect.rules.permission_denials": r.PermissionDenials, "detect.rules.limit_episodes": r.LimitEpisodes,
	} {
		if c.places.Has(at) && (t.Count < 1 || t.Count > maxCount || t.Window == 0) {
			c.fail(at, fmt.Sprintf("%s: count from 1 to %d and window are both needed", at, maxCount), "write both, such as {count: 5, window: 15m}")
		}
	}
}

// maxCount bounds a threshold: that many times are kept for every key.
const maxCount = 10_000
