package policy

import "context"

// RoleStore keeps roles made at run time, beside those of the configuration. Implementations are safe for concurrent use.
type RoleStore interface {
	// StoredRoles returns all stored roles, by name.
	StoredRoles(ctx context.Context) ([]Role, error)
	// PutRole creates or replaces a role.
	PutRole(ctx context.Context, r Role) error
	// DeleteRole removes a role and reports whether it was there.
	DeleteRole(ctx context.Context, name string) (bool, error)
}
