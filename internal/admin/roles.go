package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/internal/report"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Origin says where a role is defined.
type Origin string

// Origins, strongest first: of two roles with one name the first counts.
const (
	FromConfig  Origin = "config"
	FromStore   Origin = "store"
	FromDefault Origin = "default"
)

// Role is a role and where it is defined.
type Role struct {
	Name        string   `json:"name"`
	Permissions []string `json:"permissions"`
	Inherits    []string `json:"inherits,omitempty"`
	Origin      Origin   `json:"origin"`
}

// ListRoles returns the roles in force.
func (o *Operations) ListRoles(ctx context.Context, _ Actor, _ struct{}) ([]Role, error) {
	stored, err := o.Roles.StoredRoles(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the stored roles: %w", err)
	}
	return merge(o.Configured(), stored), nil
}

// merge lists roles in the order of their Origins; of two with one name the first counts.
func merge(configured, stored []policy.Role) []Role {
	var all []Role
	for _, source := range []struct {
		origin Origin
		roles  []policy.Role
	}{{FromConfig, configured}, {FromStore, stored}, {FromDefault, policy.DefaultRoles()}} {
		for _, r := range source.roles {
			if !slices.ContainsFunc(all, func(have Role) bool { return have.Name == r.Name }) {
				all = append(all, Role{Name: r.Name, Permissions: r.Permissions, Inherits: r.Inherits, Origin: source.origin})
			}
		}
	}
	return all
}

// ShowRole returns one role.
func (o *Operations) ShowRole(ctx context.Context, who Actor, in ID) (Role, error) {
	roles, err := o.ListRoles(ctx, who, struct{}{})
	if err != nil {
		return Role{}, err
	}
	if i := slices.IndexFunc(roles, func(r Role) bool { return r.Name == in.ID }); i >= 0 {
		return roles[i], nil
	}
	return Role{}, fault(NotFound, "see: sallyport role list", "there is no role %q", in.ID)
}

func (o *Operations) rolesExist(ctx context.Context, names []string) error {
	for _, name := range names {
		if _, err := o.ShowRole(ctx, Actor{}, ID{name}); err != nil {
			return err
		}
	}
	return nil
}

// PutRole creates or replaces a stored role. One of the configuration cannot be replaced here.
func (o *Operations) PutRole(ctx context.Context, who Actor, in policy.Role) (Changed, error) {
	change := func() error { return o.Roles.PutRole(ctx, in) }
	return o.changeRole(ctx, who, in.Name, "put", change, func(stored []policy.Role) []policy.Role {
		return append(without(stored, in.Name), in)
	}, audit.Detail{Name: "permissions", Value: strings.Join(in.Permissions, " ")}, audit.Detail{Name: "inherits", Value: strings.Join(in.Inherits, " ")})
}

// DeleteRole removes a stored role. Keys and tokens that name it keep the name, which then grants nothing, or what a
// default role of that name grants.
func (o *Operations) DeleteRole(ctx context.Context, who Actor, in ID) (Changed, error) {
	stored, err := o.Roles.StoredRoles(ctx)
	if err != nil {
		return Changed{}, fmt.Errorf("reading the stored roles: %w", err)
	}
	role, err := o.ShowRole(ctx, who, in)
	if err != nil {
		return Changed{}, err
	}
	if role.Origin == FromDefault && len(without(stored, in.ID)) == len(stored) {
		return Changed{}, fault(Refused, "a role of the same name, made here or in the configuration, replaces it", "role %q is built in and cannot be deleted", in.ID)
	}
	change := func() error { _, err := o.Roles.DeleteRole(ctx, in.ID); return err }
	return o.changeRole(ctx, who, in.ID, "delete", change, func(stored []policy.Role) []policy.Role { return without(stored, in.ID) })
}

// changeRole checks that the roles are sound after a change, records it, makes it and puts it in force.
func (o *Operations) changeRole(ctx context.Context, who Actor, name, act string, change func() error, after func([]policy.Role) []policy.Role, details ...audit.Detail) (Changed, error) {
	o.roleChange.Lock()
	defer o.roleChange.Unlock()
	configured := o.Configured()
	if slices.ContainsFunc(configured, func(r policy.Role) bool { return r.Name == name }) {
		return Changed{}, fault(Refused, "change it there; the file is taken up without a restart", "role %q is defined in the configuration", name)
	}
	stored, err := o.Roles.StoredRoles(ctx)
	if err != nil {
		return Changed{}, fmt.Errorf("reading the stored roles: %w", err)
	}
	if err := sound(merge(configured, after(slices.Clone(stored)))); err != nil {
		return Changed{}, fault(Invalid, "a permission has the form resource:action, such as files:read_*", "%v", err)
	}
	event := audit.Event{Kind: audit.RoleChanged, Details: append([]audit.Detail{{Name: "role", Value: name}, {Name: "act", Value: act}}, details...)}
	if err := o.record(ctx, who, &event); err != nil {
		return Changed{}, err
	}
	if err := change(); err != nil {
		o.failed(ctx, who, event, err)
		return Changed{}, fmt.Errorf("storing the role: %w", err)
	}
	if err := o.Apply(ctx); err != nil {
		o.failed(ctx, who, event, err)
		return Changed{}, fmt.Errorf("the role is stored, but putting it in force: %w", err)
	}
	return Changed{true}, nil
}

// sound reports whether roles make a policy: names and patterns are valid and inheritance ends.
func sound(roles []Role) error {
	c := policy.Config{Roles: make([]policy.Role, len(roles))}
	for i, r := range roles {
		c.Roles[i] = policy.Role{Name: r.Name, Permissions: r.Permissions, Inherits: r.Inherits}
	}
	_, err := policy.Compile(c)
	return err
}

func without(roles []policy.Role, name string) []policy.Role {
	return slices.DeleteFunc(slices.Clone(roles), func(r policy.Role) bool { return r.Name == name })
}

// Span is a time range; a zero From or To is open.
type Span struct {
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
}

// ListAlerts returns the alerts of a range, newest first.
func (o *Operations) ListAlerts(ctx context.Context, _ Actor, in Span) ([]detect.Alert, error) {
	if in.To.IsZero() {
		in.To = o.now().Add(time.Minute)
	}
	return o.Alerts.AlertsBetween(ctx, in.From, in.To)
}

// Range names the time a report covers: "1h", "24h" (also ""), "7d", "30d" or "FROM/TO" in RFC 3339.
type Range struct {
	Range string `json:"range,omitempty"`
}

// BuildReport builds the security report.
func (o *Operations) BuildReport(ctx context.Context, _ Actor, in Range) (*report.Report, error) {
	r, err := o.Report(ctx, in.Range)
	if err != nil {
		return nil, fault(Invalid, "", "%v", err)
	}
	return r, nil
}

// RejectConfig records that a changed configuration was not taken up, and why.
func (o *Operations) RejectConfig(ctx context.Context, reason string) error {
	return o.record(ctx, Actor{Issuer: "local", Subject: "gateway", Name: "local:gateway"},
		&audit.Event{Kind: audit.ConfigRejected, Outcome: audit.Denied, Reason: reason})
}
