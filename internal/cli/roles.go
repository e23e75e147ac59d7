package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/policy"
)

func (a *app) roleCommand() *cobra.Command {
	return group("role", "Show and change roles", a.roleList(), a.roleShow(), a.roleCreate(), a.roleDelete())
}

func (a *app) roleList() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the roles in force", Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(client *admin.Client) error {
				roles, err := client.Roles(c.Context())
				return firstOf(err, func() error { return a.printRoles(roles, roles) })
			})
		},
	}
	return a.located(a.readable(c))
}

func (a *app) roleShow() *cobra.Command {
	c := &cobra.Command{
		Use: "show NAME", Short: "Show one role", Args: exact(1, "the name of a role"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(client *admin.Client) error {
				role, err := client.Role(c.Context(), args[0])
				return firstOf(err, func() error { return a.printRoles(role, []admin.Role{role}) })
			})
		},
	}
	return a.located(a.readable(c))
}

// printRoles prints rows for people, value for programs.
func (a *app) printRoles(value any, rows []admin.Role) error {
	if a.asJSON {
		return a.printJSON(value)
	}
	t := newTable(a.stdout, "NAME", "PERMISSIONS", "INHERITS", "FROM")
	for _, r := range rows {
		t.row(r.Name, strings.Join(r.Permissions, " "), strings.Join(r.Inherits, " "), string(r.Origin))
	}
	return t.flush()
}

func (a *app) roleCreate() *cobra.Command {
	var role policy.Role
	c := &cobra.Command{
		Use: "create NAME --permission PATTERN", Short: "Make or replace a role, in force at once", Args: exact(1, "the name of a role"),
		RunE: func(c *cobra.Command, args []string) error {
			role.Name = args[0]
			return a.with(c.Context(), func(client *admin.Client) error {
				return a.changed(true, client.PutRole(c.Context(), role), "role "+role.Name+" is in force", "")
			})
		},
	}
	c.Flags().StringSliceVar(&role.Permissions, "permission", nil, "pattern such as files:read_*; may be repeated")
	c.Flags().StringSliceVar(&role.Inherits, "inherit", nil, "role whose permissions are added; may be repeated")
	return a.located(a.readable(c))
}

func (a *app) roleDelete() *cobra.Command {
	c := &cobra.Command{
		Use: "delete NAME", Short: "Delete a role that was made at run time", Args: exact(1, "the name of a role"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(client *admin.Client) error {
				return a.changed(true, client.DeleteRole(c.Context(), args[0]), "role "+args[0]+" is deleted", "")
			})
		},
	}
	return a.located(a.readable(c))
}
