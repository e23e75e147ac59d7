package policy_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport-mcp/sallyport/policy"
)

func compile(t testing.TB, c policy.Config) *policy.Rules {
	t.Helper()
	rules, err := policy.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func fixture(t testing.TB) *policy.Rules {
	return compile(t, policy.Config{
		Servers: []string{"files", "weather"},
		Roles: append(policy.DefaultRoles()[3:],
			policy.Role{Name: "reader", Permissions: []string{"files:read"}},
			policy.Role{Name: "writer", Permissions: []string{"files:write"}, Inherits: []string{"reader"}},
			policy.Role{Name: "weatherman", Permissions: []string{"weather:*"}},
			policy.Role{Name: "nobody"},
		),
		Rules: []policy.Rule{
			{Server: "files", Tool: "read_*", Require: "files:read"},
			{Server: "files", Tool: "write_file", Require: "files:write"},
			{Server: "files", Resource: "file:///public/*", Require: "files:read"},
			{Server: "files", Method: "logging/setLevel", Require: "files:read"},
		},
	})
}

func tool(server, name string) *policy.Call {
	return &policy.Call{Server: server, Method: "tools/call", Target: policy.Named{Kind: policy.Tool, Name: name}}
}

func TestAllows(t *testing.T) {
	rules := fixture(t)
	who := func(roles ...string) *policy.Principal { return &policy.Principal{Roles: roles} }
	method := func(server, m string) *policy.Call { return &policy.Call{Server: server, Method: m} }
	for _, tc := range []struct {
		name string
		p    *policy.Principal
		c    *policy.Call
		want string // "" allowed, else the missing permission
	}{
		{"mapped", who("reader"), tool("files", "read_file"), ""},
		{"inherited", who("writer"), tool("files", "read_file"), ""},
		{"mapped and missing", who("reader"), tool("files", "write_file"), "files:write"},
		{"unmapped", who("reader"), tool("files", "delete_file"), "files:delete_file"},
		{"unmapped, invented", who("reader"), tool("files", "no_such"), "files:no_such"},
		{"wildcard role", who("weatherman"), tool("weather", "get"), ""},
		{"wildcard role elsewhere", who("weatherman"), tool("files", "get"), "files:get"},
		{"no role", who(), tool("files", "read_file"), "files:read"},
		{"unknown role", who("ghost"), tool("files", "read_file"), "files:read"},
		{"case of the tool", who("reader"), tool("files", "Read_file"), "files:Read_file"},
		{"tool that claims a prompt", who("reader"), tool("files", "prompts/x"), "files:tools/prompts/x"},
		{"unknown server", who("weatherman"), tool("nowhere", "x"), "nowhere:x"},
		{"list with a mapped permission", who("reader"), method("files", "tools/list"), ""},
		{"list without any", who("weatherman"), method("files", "tools/list"), "files:*"},
		{"ping without any", who("nobody"), method("files", "ping"), "files:*"},
		{"mapped method", who("reader"), method("files", "logging/setLevel"), ""},
		{"logging level, mapped elsewhere only", who("weatherman"), method("weather", "logging/setLevel"), ""},
		{"logging level, mapped and missing", who("weatherman"), method("files", "logging/setLevel"), "files:read"},
		{"unmapped method", who("reader"), method("files", "tasks/list"), "files:methods/tasks/list"},
		{"scope narrows", &policy.Principal{Roles: []string{"admin"}, Scopes: []string{"files:read"}}, tool("files", "write_file"), "files:write"},
		{"scope allows", &policy.Principal{Roles: []string{"admin"}, Scopes: []string{"files:*"}}, tool("files", "write_file"), ""},
		{"empty scopes allow nothing", &policy.Principal{Roles: []string{"admin"}, Scopes: []string{}}, tool("files", "read_file"), "files:read"},
		{"scope cannot widen", &policy.Principal{Roles: []string{"reader"}, Scopes: []string{"*"}}, tool("files", "write_file"), "files:write"},
		{"narrow key", &policy.Principal{Roles: []string{"admin"}, Narrow: []string{"weather:*"}}, tool("files", "read_file"), "files:read"},
		{"any, narrowed to elsewhere", &policy.Principal{Roles: []string{"admin"}, Narrow: []string{"weather:*"}}, method("files", "tools/list"), "files:*"},
		{"any, scope and key disjoint", &policy.Principal{Roles: []string{"admin"}, Narrow: []string{"weather:*"}, Scopes: []string{"files:*"}}, method("weather", "tools/list"), "weather:*"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := rules.Allows(tc.p, tc.c)
			if v.Allowed != (tc.want == "") || (!v.Allowed && v.Permission != tc.want) {
				t.Errorf("got %+v, want %q", v, tc.want)
			}
			if !v.Allowed && v.Reason == "" {
				t.Error("a denial without a reason")
			}
		})
	}
}

func TestMoreNamesNeedTheirOwnPermission(t *testing.T) {
	rules := fixture(t)
	p := &policy.Principal{Roles: []string{"reader"}}
	c := &policy.Call{Server: "files", Method: "subscriptions/listen", More: []policy.Named{{Kind: policy.Resource, Name: "file:///public/a"}}}
	if v := rules.Allows(p, c); !v.Allowed {
		t.Fatalf("public resource refused: %+v", v)
	}
	c.More = append(c.More, policy.Named{Kind: policy.Resource, Name: "file:///etc/passwd"})
	if v := rules.Allows(p, c); v.Allowed || v.Permission != "files:resources/file:///etc/passwd" {
		t.Fatalf("got %+v", v)
	}
}

func TestCompileRefuses(t *testing.T) {
	for name, c := range map[string]policy.Config{
		"server named like a resource": {Servers: []string{"metrics"}},
		"server with upper case":       {Servers: []string{"Files"}},
		"server with a colon":          {Servers: []string{"a:b"}},
		"server twice":                 {Servers: []string{"a", "a"}},
		"role twice":                   {Roles: []policy.Role{{Name: "r"}, {Name: "r"}}},
		"role without form":            {Roles: []policy.Role{{Name: "r", Permissions: []string{"files"}}}},
		"role with a space":            {Roles: []policy.Role{{Name: "r", Permissions: []string{"files:a b"}}}},
		"role with unknown built-in":   {Roles: []policy.Role{{Name: "r", Permissions: []string{"metrics:destroy"}}}},
		"qualified where it must not":  {Roles: []policy.Role{{Name: "r", Permissions: []string{"keys:view@a"}}}},
		"inherits nothing":             {Roles: []policy.Role{{Name: "r", Inherits: []string{"q"}}}},
		"inherits itself":              {Roles: []policy.Role{{Name: "r", Inherits: []string{"q"}}, {Name: "q", Inherits: []string{"r"}}}},
		"rule with a pattern":          {Servers: []string{"a"}, Rules: []policy.Rule{{Server: "a", Tool: "x", Require: "a:*"}}},
		"rule with two targets":        {Servers: []string{"a"}, Rules: []policy.Rule{{Server: "a", Tool: "x", Prompt: "y", Require: "a:b"}}},
		"rule with no target":          {Servers: []string{"a"}, Rules: []policy.Rule{{Server: "a", Require: "a:b"}}},
		"rule of an unknown server":    {Rules: []policy.Rule{{Server: "a", Tool: "x", Require: "a:b"}}},
	} {
		if _, err := policy.Compile(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	ok := policy.Config{Roles: []policy.Role{{Name: "r", Permissions: []string{"metrics:view@files", "*", "keys:view"}}}}
	if _, err := policy.Compile(ok); err != nil {
		t.Error(err)
	}
}

// TestListShowsWhatCallAllows holds promise 8: one decision function for list and call.
func TestListShowsWhatCallAllows(t *testing.T) {
	permission := rapid.StringMatching(`[ab]:[ab*]{1,3}`)
	rapid.Check(t, func(t *rapid.T) {
		roles := []policy.Role{{Name: "r", Permissions: rapid.SliceOfN(permission, 0, 3).Draw(t, "role")}}
		var list []policy.Rule
		for range rapid.IntRange(0, 3).Draw(t, "rules") {
			list = append(list, policy.Rule{
				Server:  "a",
				Tool:    rapid.StringMatching(`[ab*]{1,3}`).Draw(t, "pattern"),
				Require: rapid.StringMatching(`[ab]:[ab]{1,2}`).Draw(t, "require"),
			})
		}
		rules, err := policy.Compile(policy.Config{Servers: []string{"a", "b"}, Roles: roles, Rules: list})
		if err != nil {
			t.Fatal(err)
		}
		p := &policy.Principal{Roles: []string{"r"}}
		if rapid.Bool().Draw(t, "narrowed") {
			p.Scopes = rapid.SliceOfN(permission, 1, 2).Draw(t, "scopes")
		}
		name := rapid.StringMatching(`[ab]{1,3}`).Draw(t, "tool")
		call := tool("a", name)
		if rules.Visible(p, "a", call.Target) != rules.Allows(p, call).Allowed {
			t.Fatalf("list and call disagree about %q", name)
		}
		if rules.Allows(p, call).Allowed && !rules.Any(p, "a") {
			t.Fatalf("%q may be called, but the principal has nothing on the server", name)
		}
	})
}

func TestRoleStoreNamesAreClosed(t *testing.T) {
	for _, bad := range []string{"", "a b", "ä", strings.Repeat("x", 65), "a/b", "a\x00"} {
		if _, err := policy.Compile(policy.Config{Roles: []policy.Role{{Name: bad}}}); err == nil {
			t.Errorf("role name %q accepted", bad)
		}
	}
}

// How much does one decision cost, mapped by a rule and by default?
func BenchmarkAllows(b *testing.B) {
	rules := fixture(b)
	p := &policy.Principal{Roles: []string{"writer"}}
	mapped, unmapped := tool("files", "write_file"), tool("files", "unknown")
	b.ReportAllocs()
	for b.Loop() {
		rules.Allows(p, mapped)
		rules.Allows(p, unmapped)
	}
}
