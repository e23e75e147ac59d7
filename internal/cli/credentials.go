package cli

import (
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/server"
)

func (a *app) keyCommand() *cobra.Command {
	return group("key", "Make, list and revoke API keys", a.keyCreate(), a.keyList(), a.keyRevoke())
}

func (a *app) keyCreate() *cobra.Command {
	var spec admin.KeySpec
	var ttl string
	c := &cobra.Command{
		Use: "create --name NAME --role ROLE", Short: "Make an API key and print it once", Args: none,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if spec.TTL, err = lifetime(c, ttl); err != nil {
				return err
			}
			if spec.Name == "" || len(spec.Roles) == 0 {
				return usage(c, "a key needs --name and at least one --role")
			}
			return a.with(c.Context(), func(client *admin.Client) error {
				key, err := client.CreateKey(c.Context(), spec)
				if err != nil {
					return err
				}
				if a.asJSON {
					return a.printJSON(key)
				}
				return a.say("%s\n\nKey %s for %s. It is shown this once; send it as \"Authorization: Bearer KEY\" or \"X-API-Key: KEY\".\n",
					key.Text, key.Record.ID, audit.Printable(key.Record.Name))
			})
		},
	}
	c.Flags().StringVar(&spec.Name, "name", "", "who or what holds the key")
	c.Flags().StringSliceVar(&spec.Roles, "role", nil, "role of the key; may be repeated")
	c.Flags().StringSliceVar(&spec.Permissions, "permission", nil, "pattern such as files:read_* that narrows the roles; may be repeated")
	c.Flags().StringSliceVar(&spec.Networks, "network", nil, "network the key may be used from, such as 10.0.0.0/8; may be repeated")
	c.Flags().StringVar(&ttl, "ttl", "90d", `life of the key, such as 24h or 90d, or "never"`)
	return a.located(a.readable(c))
}

// lifetime reads --ttl. Empty is the default of whoever is asked.
func lifetime(c *cobra.Command, text string) (admin.Seconds, error) {
	switch text {
	case "":
		return 0, nil
	case "never":
		return -1, nil
	}
	var d server.Duration
	if err := d.SetScalar(text); err != nil {
		return 0, usage(c, "--ttl: %q %v", text, err)
	}
	return max(1, admin.Seconds(time.Duration(d)/time.Second)), nil
}

func (a *app) keyList() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List all API keys", Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(client *admin.Client) error {
				keys, err := client.Keys(c.Context())
				if err != nil || a.asJSON {
					return firstOf(err, func() error { return a.printJSON(keys) })
				}
				t := newTable(a.stdout, "ID", "NAME", "ROLES", "PERMISSIONS", "CREATED", "EXPIRES", "LAST USED", "STATE")
				now := time.Now()
				for _, k := range keys {
					state := "valid"
					if !k.Revoked.IsZero() {
						state = "revoked"
					} else if !k.Expires.IsZero() && now.After(k.Expires) {
						state = "expired"
					}
					t.row(k.ID, k.Name, strings.Join(k.Roles, " "), strings.Join(k.Permissions, " "), day(k.Created), day(k.Expires), day(k.LastUsed), state)
				}
				return t.flush()
			})
		},
	}
	return a.located(a.readable(c))
}

func (a *app) keyRevoke() *cobra.Command {
	c := &cobra.Command{
		Use: "revoke ID", Short: "Take an API key back, at once", Args: exact(1, "the id of a key (see: sallyport key list)"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(client *admin.Client) error {
				changed, err := client.RevokeKey(c.Context(), args[0])
				return a.changed(changed, err, "revoked", "was revoked before")
			})
		},
	}
	return a.located(a.readable(c))
}

func (a *app) tokenCommand() *cobra.Command {
	return group("token", "Issue and revoke access tokens", a.tokenIssue(), a.tokenRevoke())
}

func (a *app) tokenIssue() *cobra.Command {
	var spec admin.TokenSpec
	var ttl string
	c := &cobra.Command{
		Use: "issue --server SERVER --subject WHO --role ROLE", Short: "Issue an access token for one server and print it once", Args: none,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if spec.TTL, err = lifetime(c, ttl); err != nil {
				return err
			}
			if spec.TTL < 0 || spec.Server == "" || spec.Subject == "" || len(spec.Roles) == 0 {
				return usage(c, "a token needs --server, --subject and at least one --role, and an end")
			}
			return a.with(c.Context(), func(client *admin.Client) error {
				token, err := client.IssueToken(c.Context(), spec)
				if err != nil {
					return err
				}
				if a.asJSON {
					return a.printJSON(token)
				}
				return a.say("%s\n\nToken %s for %s until %s. It is shown this once; send it as \"Authorization: Bearer TOKEN\".\n",
					token.Text, token.ID, token.Audience, stamp(token.Expires))
			})
		},
	}
	c.Flags().StringVar(&spec.Server, "server", "", "the server the token is for")
	c.Flags().StringVar(&spec.Subject, "subject", "", "who holds the token")
	c.Flags().StringVar(&spec.Name, "name", "", "readable name of the subject")
	c.Flags().StringSliceVar(&spec.Roles, "role", nil, "role of the token; may be repeated")
	c.Flags().StringSliceVar(&spec.Scopes, "scope", nil, "pattern such as files:read_* that narrows the roles; may be repeated")
	c.Flags().StringVar(&ttl, "ttl", "", "life of the token, such as 30m (default: as configured)")
	return a.located(a.readable(c))
}

func (a *app) tokenRevoke() *cobra.Command {
	c := &cobra.Command{
		Use: "revoke ID|-", Short: "Take an access token back, by its id or, with -, by its text on standard input",
		Args: exact(1, "a token id, or - to read the token itself from standard input"),
		RunE: func(c *cobra.Command, args []string) error {
			id := args[0]
			if id == "-" {
				text, err := io.ReadAll(io.LimitReader(a.stdin, 16<<10))
				if err != nil {
					return err
				}
				id = strings.TrimSpace(string(text))
			}
			return a.with(c.Context(), func(client *admin.Client) error {
				changed, err := client.RevokeToken(c.Context(), id)
				return a.changed(changed, err, "revoked", "was revoked or had expired before")
			})
		},
	}
	return a.located(a.readable(c))
}

// changed tells what an act did.
func (a *app) changed(changed bool, err error, did, before string) error {
	switch {
	case err != nil:
		return err
	case a.asJSON:
		return a.printJSON(admin.Changed{Changed: changed})
	case changed:
		return a.say("%s\n", did)
	}
	return a.say("%s\n", before)
}

// firstOf returns err, or what next returns when there is none.
func firstOf(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}
