package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/server"
	"github.com/sallyport-mcp/sallyport/internal/strictyaml"
)

const canary = "canary-3f9a"

func parse(t testing.TB, src string) (*server.File, error) {
	t.Helper()
	return server.ParseFile([]byte(src), "/etc/s.yaml", func(name string) (string, bool) {
		v, ok := map[string]string{"SECRET": canary + strings.Repeat("x", 40), "SHORT": canary, "PORT": "8443"}[name]
		return v, ok
	})
}

func TestReadsDesignExample(t *testing.T) {
	f, err := parse(t, `
listen: 127.0.0.1:${PORT}
public_url: https://mcp.example.com
data_dir: ./data
trusted_proxies: [10.0.0.0/8, 192.0.2.1]
servers:
  - {name: files, path: /files/mcp, command: [npx, -y, "@modelcontextprotocol/server-filesystem", /srv]}
  - {name: weather, url: "http://127.0.0.1:3001/mcp", timeout: 90s, max_request: 1MiB, refusals: jsonrpc}
auth:
  tokens: {algorithm: HS256, secret: "${SECRET}", access_ttl: 30m}
permissions:
  - {server: files, tool: "write_*", require: "files:write"}
roles:
  user: {permissions: ["weather:*", "files:read_*"]}
  lead: {inherits: [user, premium]}
limits: {global: 2000/s, address: {capacity: 300, refill: 50}, tool: off, failed_auth: 20/15m, roles: {user: 100/m}}
audit: {mode: durable, retention: 90d}
detect:
  rules:
    failed_auth: {count: 5, window: 15m}
`)
	if err != nil {
		t.Fatal(err)
	}
	if f.Listen != "127.0.0.1:8443" || f.DataDir != "/etc/data" || f.Auth.Tokens.Secret.Len() != 51 {
		t.Errorf("listen %q, data_dir %q, secret of %d bytes", f.Listen, f.DataDir, f.Auth.Tokens.Secret.Len())
	}
	if s := f.Servers[1]; time.Duration(s.Timeout) != 90*time.Second || s.MaxRequest != 1<<20 || s.Refusals != "jsonrpc" {
		t.Errorf("server %+v", s)
	}
	if time.Duration(f.Audit.Retention) != 90*24*time.Hour || f.Limits.Address != (server.Limit{Capacity: 300, Refill: 50}) {
		t.Errorf("audit %+v, limits %+v", f.Audit, f.Limits)
	}
	if got := float64(f.Limits.FailedAuth.Refill); got < 0.02222 || got > 0.02223 {
		t.Errorf("20/15m refills %v a second", got)
	}
}

func TestConfigRefuses(t *testing.T) {
	const files = "servers: [{name: files, url: \"http://a/mcp\"}]\n"
	for _, c := range []struct{ name, src, want string }{
		{"unknown key", "lisetn: x", `1:1: unknown key "lisetn" | did you mean "listen"?`},
		{"later feature", "tls: {client_ca: x}", `1:7: unknown key "client_ca" in tls | known keys here: cert, key, min_version, terminated_by`},
		{"short secret", "auth:\n  tokens: {algorithm: HS256, secret: short}", `2:30: auth.tokens.secret: the secret has 5 bytes, at least 32 are needed | make one with: openssl rand -base64 32`},
		{"short secret from the environment", "auth: {tokens: {algorithm: HS256, secret: \"${SHORT}\"}}", `1:35: auth.tokens.secret: the secret has 11 bytes, at least 32 are needed | make one with: openssl rand -base64 32`},
		{"empty secret", "auth: {tokens: {algorithm: HS256, secret: \"\"}}", `1:35: auth.tokens.secret: the secret has 0 bytes, at least 32 are needed | make one with: openssl rand -base64 32`},
		{"secret for EdDSA", "auth: {tokens: {secret: \"${SECRET}\"}}", `1:17: auth.tokens.secret: the value of ${SECRET} cannot be used here | set auth.tokens.algorithm: HS256, or remove the secret`},
		{"public without TLS", "listen: 0.0.0.0:8443", `1:1: listen: 0.0.0.0:8443 can be reached from other machines, and TLS is not set up | set tls.cert and tls.key, or tls.terminated_by when a proxy speaks TLS, or listen on 127.0.0.1`},
		{"every interface", "listen: \":8443\"", `1:1: listen: :8443 can be reached from other machines, and TLS is not set up | set tls.cert and tls.key, or tls.terminated_by when a proxy speaks TLS, or listen on 127.0.0.1`},
		{"public without authentication", "listen: 192.0.2.1:443\ntls: {cert: a, key: b}\nauth: {disabled: true}", `3:8: auth.disabled: 192.0.2.1:443 can be reached from other machines, so authentication must be on | remove auth.disabled, or listen on 127.0.0.1`},
		{"terminated without authentication", "listen: 192.0.2.1:443\ntls: {terminated_by: [192.0.2.0/24]}\nauth: {disabled: true}", `3:8: auth.disabled: 192.0.2.1:443 can be reached from other machines, so authentication must be on | remove auth.disabled, or listen on 127.0.0.1`},
		{"name for an address", "listen: example.com:80", `1:1: listen: "example.com:80" is not an address | write an address and a port, such as 127.0.0.1:8443`},
		{"no port", "listen: 127.0.0.1", `1:1: listen: "127.0.0.1" is not an address | write an address and a port, such as 127.0.0.1:8443`},
		{"port too high", "listen: 127.0.0.1:65536", `1:1: listen: "127.0.0.1:65536" is not an address | write an address and a port, such as 127.0.0.1:8443`},
		{"cert without key", "tls: {cert: a}", `1:1: tls: cert and key are needed together | set both, or neither`},
		{"cert and proxy", "tls: {cert: a, key: b, terminated_by: [10.0.0.0/8]}", `1:24: tls: cert and terminated_by exclude each other | keep cert and key when we speak TLS, terminated_by when a proxy does`},
		{"proxy is everybody", "tls: {terminated_by: [0.0.0.0/0]}", `1:23: tls.terminated_by: this network contains every address | name the proxies alone`},
		{"trusting everybody", "trusted_proxies: [\"::/0\"]", `1:19: trusted_proxies: this network contains every address | name the proxies alone`},
		{"host bits", "trusted_proxies: [10.0.0.1/8]", `1:19: trusted_proxies[0]: "10.0.0.1/8" has bits set after its prefix length | `},
		{"admin not loopback", "admin: {listen: \"0.0.0.0:9443\"}", `1:9: admin.listen: "0.0.0.0:9443" is not a loopback address | write 127.0.0.1:9443, or off`},
		{"public_url http", "public_url: http://mcp.example.com", `1:1: public_url: "http://mcp.example.com" is not https | write https://; http is for loopback names only`},
		{"public_url with path", "public_url: https://a.example/x", `1:1: public_url: "https://a.example/x" is not an origin | write scheme and host alone, such as https://mcp.example.com`},
		{"origin null", "allowed_origins: [\"null\"]", `1:19: allowed_origins: "null" is not an origin | write scheme and host alone, such as https://app.example.com`},
		{"origin star", "allowed_origins: [\"*\"]", `1:19: allowed_origins: "*" is not an origin | write scheme and host alone, such as https://app.example.com`},
		{"host with port", "allowed_hosts: [\"a.example:443\"]", `1:17: allowed_hosts: "a.example:443" is not a host | write the name alone; the port does not matter`},
		{"no name", "servers: [{url: \"http://a/mcp\"}]", `1:11: servers[0]: name is missing | give the server a name, such as files`},
		{"built-in name", "servers:\n  - name: metrics\n    url: http://a/mcp", `2:5: server "metrics" has the name of a built-in resource | choose another name; built-in are alerts, audit, clients, config, decisions, keys, metrics, roles, security, tokens, tools, users`},
		{"same path", "servers:\n  - {name: a, path: /x, url: \"http://a\"}\n  - {name: b, path: /x, url: \"http://b\"}", `3:15: servers "a" and "b" have the same path /x | give one of them another path`},
		{"same name", "servers:\n  - {name: a, path: /x, url: \"http://a\"}\n  - {name: a, path: /y, url: \"http://b\"}", `3:6: server "a" is defined twice; first in line 2 | rename one`},
		{"path under another", "servers:\n  - {name: a, path: /x, url: \"http://a\"}\n  - {name: b, path: /x/y, url: \"http://b\"}", `3:15: server "b": path /x/y and path /x of server "a" contain one another | choose paths of which none lies under the other`},
		{"path over another", "servers:\n  - {name: a, path: /x/y, url: \"http://a\"}\n  - {name: b, path: /x, url: \"http://b\"}", `3:15: server "b": path /x and path /x/y of server "a" contain one another | choose paths of which none lies under the other`},
		{"reserved path", "servers: [{name: a, path: /console/mcp, url: \"http://a\"}]", `1:21: server "a": path /console/mcp collides with /console, which is Sallyport's own | choose another path, such as /a/mcp`},
		{"reserved by its name", "servers: [{name: oauth, url: \"http://a\"}]", `1:12: server "oauth": path /oauth/mcp collides with /oauth, which is Sallyport's own | choose another path, such as /oauth/mcp`},
		{"reserved in capitals", "servers: [{name: a, path: /Console, url: \"http://a\"}]", `1:21: server "a": path /Console collides with /console, which is Sallyport's own | choose another path, such as /a/mcp`},
		{"root path", "servers: [{name: a, path: /, url: \"http://a\"}]", `1:21: server "a": "/" is not a clean path | begin with /, use letters, digits, and . _ ~ -, and do not end with /`},
		{"encoded path", "servers: [{name: a, path: /a%2fb, url: \"http://a\"}]", `1:21: server "a": "/a%2fb" is not a clean path | begin with /, use letters, digits, and . _ ~ -, and do not end with /`},
		{"dots in path", "servers: [{name: a, path: /a/../b, url: \"http://a\"}]", `1:21: server "a": "/a/../b" is not a clean path | begin with /, use letters, digits, and . _ ~ -, and do not end with /`},
		{"neither", "servers: [{name: a}]", `1:11: server "a" needs exactly one of command and url | set command for a program, url for a server that runs elsewhere`},
		{"both", "servers: [{name: a, url: \"http://a\", command: [x]}]", `1:11: server "a" needs exactly one of command and url | set command for a program, url for a server that runs elsewhere`},
		{"env without command", "servers: [{name: a, url: \"http://a\", env: {A: b}}]", `1:11: server "a": env, dir and user need a command | remove them`},
		{"upstream with password", "servers: [{name: a, url: \"http://u:p@a/\"}]", `1:21: servers[0].url: this is not an http or https URL without user and fragment | write the server's MCP endpoint, such as http://127.0.0.1:3001/mcp`},
		{"command as text", "servers: [{name: a, command: npx x}]", "1:30: servers[0].command: a list is needed here, not a string | write [a, b] or one \"- item\" a line"},
		{"bad pattern", "roles:\n  user:\n    permissions: [\"files:*\", everything]", `3:30: role "user": "everything" is not a permission: it has the form resource:action, such as "files:write" | write resource:action, such as files:read_*, or * for everything`},
		{"built-in action", "roles: {user: {permissions: [\"metrics:delete\"]}}", `1:30: role "user": "metrics:delete": the built-in resource "metrics" has the permissions view | write resource:action, such as files:read_*, or * for everything`},
		{"unknown parent", "roles: {user: {inherits: [boss]}}", `1:27: role "user" inherits "boss", which does not exist | define it under roles`},
		{"inherits itself", "roles: {a: {inherits: [b]}, b: {inherits: [a]}}", `1:1: roles: role "a" inherits itself through "b" | `},
		{"bad role name", "roles: {\"a b\": {permissions: [\"x:y\"]}}", `1:1: roles: role "a b": a name is 1 to 64 letters, digits, '-', '_' or '.' | `},
		{"anonymous role", "auth: {disabled: true, anonymous_role: boss}", `1:24: auth.anonymous_role: there is no role "boss" | define it under roles, or use guest, user, premium or admin`},
		{"rule of no server", "permissions: [{server: files, tool: a, require: \"x:y\"}]", `1:16: permissions[0]: there is no server "files" | name a server of the servers list`},
		{"rule for a pattern", files + "permissions: [{server: files, tool: a, require: \"x:*\"}]", `2:40: permissions[0]: "x:*" is a pattern; a literal permission such as "files:write" is needed here | write resource:action, such as files:write`},
		{"rule for two", files + "permissions: [{server: files, tool: a, prompt: b, require: \"x:y\"}]", `2:15: permissions[0]: exactly one of tool, prompt, resource and method is needed | write one rule for each`},
		{"limit", "limits: {global: fast}", `1:18: limits.global: "fast" is not a limit such as 2000/s, 100/m, {capacity: 100, refill: 10} or off | `},
		{"limit without refill", "limits: {global: {capacity: 5}}", `1:10: limits.global: capacity must be at least 1 and refill above 0 | write both, such as {capacity: 100, refill: 10}, or off`},
		{"empty limit", "limits: {global: {}}", `1:10: limits.global: capacity must be at least 1 and refill above 0 | write both, such as {capacity: 100, refill: 10}, or off`},
		{"zero limit", "limits: {global: 0/s}", `1:18: limits.global: "0/s" is not a limit such as 2000/s, 100/m, {capacity: 100, refill: 10} or off | `},
		{"octal limit", "limits: {global: 0123/s}", `1:18: limits.global: "0123/s" is not a limit such as 2000/s, 100/m, {capacity: 100, refill: 10} or off | `},
		{"retention", "audit: {retention: 90}", `1:20: audit.retention: "90" is not a positive duration such as 30s, 15m, 24h or 90d | `},
		{"octal days", "audit: {retention: 090d}", `1:20: audit.retention: "090d" is not a positive duration such as 30s, 15m, 24h or 90d | `},
		{"mode", "audit: {mode: off}", `1:15: audit.mode: "off" is not one of durable, async | `},
		{"size", "servers: [{name: a, url: \"http://a\", max_request: 4MB}]", `1:51: servers[0].max_request: "4MB" is not a size such as 65536, 64KiB or 4MiB, at most 2GiB | `},
		{"small log", "audit: {max_size: 15MiB}", `1:19: audit.max_size: "15MiB" is not a size such as 500MiB, 20GiB or 1TiB, from 16MiB to 1024TiB | `},
		{"log of overflowing size", "audit: {max_size: 9223372036854775807TiB}", `1:19: audit.max_size: "9223372036854775807TiB" is not a size such as 500MiB, 20GiB or 1TiB, from 16MiB to 1024TiB | `},
		{"when full", "audit: {when_full: ignore}", `1:20: audit.when_full: "ignore" is not one of delete, refuse | `},
		{"threshold", "detect: {rules: {failed_auth: {count: 5}}}", `1:18: detect.rules.failed_auth: count from 1 to 10000 and window are both needed | write both, such as {count: 5, window: 15m}`},
		{"octal count", "detect: {rules: {failed_auth: {count: 010, window: 1m}}}", `1:39: detect.rules.failed_auth.count: "010" is not a whole decimal number | write digits only, without a leading zero`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, c.src)
			got := flatten(err)
			if diff := cmp.Diff(c.want, strings.ReplaceAll(got, "/etc/s.yaml:", "")); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(got, canary) {
				t.Error("the error shows a secret")
			}
		})
	}
}

func flatten(err error) string {
	var ps strictyaml.Problems
	if !errors.As(err, &ps) {
		return ""
	}
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error() + " | " + p.Hint()
	}
	return strings.Join(lines, "\n")
}

func TestSeveralAtOnce(t *testing.T) {
	_, err := parse(t, "listen: 0.0.0.0:1\nservers:\n  - {name: keys, url: \"http://a\"}\nroles: {r: {permissions: [x]}}")
	if n := strings.Count(flatten(err), "\n") + 1; n != 3 {
		t.Errorf("%d problems, want 3:\n%s", n, flatten(err))
	}
}

func TestMissingFile(t *testing.T) {
	_, err := server.ReadFile(filepath.Join(t.TempDir(), "no.yaml"), nil)
	var m *server.Mistake
	if !errors.As(err, &m) || !errors.Is(err, os.ErrNotExist) || m.Hint() != "make one with: sallyport init" {
		t.Errorf("got %v", err)
	}
}

func FuzzConfig(f *testing.F) {
	for _, s := range []string{"listen: a", "servers: [{name: a, url: b}]", "limits: {global: 1/s}", "roles: {a: {inherits: [a]}}", "permissions:\n- server: a\n  tool: b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		file, err := parse(t, src)
		if (file == nil) == (err == nil) {
			t.Fatalf("file %v with error %v", file, err)
		}
		if err != nil && flatten(err) == "" {
			t.Fatalf("error without a position: %v", err)
		}
	})
}
