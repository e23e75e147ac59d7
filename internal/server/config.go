package server

import "github.com/sallyport-mcp/sallyport/internal/strictyaml"

// File is sallyport.yaml. Its field comments are the reference: docs/configuration.md and the JSON Schema for editors are
// generated from them. Every key is optional unless its comment says otherwise.
type File struct {
	// Address of the MCP listener. Anything but loopback needs tls and authentication.
	Listen string `yaml:"listen" default:"127.0.0.1:8443"`

	// The https origin clients use, such as https://mcp.example.com, without a path. It is the issuer of tokens, the base
	// of every server's resource identifier, and its host may stand in Host and Origin. Without it, the listen address takes
	// its place when that is loopback, else http://localhost.
	PublicURL string `yaml:"public_url"`

	// Directory of keys, the store and the audit log, made with mode 0700. A relative path starts at the directory of this file.
	DataDir string `yaml:"data_dir" default:"./data"`

	// The listener for health, readiness and metrics.
	Admin AdminSection `yaml:"admin"`

	// TLS of the MCP listener.
	TLS TLSSection `yaml:"tls"`

	// Networks or addresses of proxies whose forwarding headers are believed. Without it nobody's are.
	TrustedProxies []Prefix `yaml:"trusted_proxies"`

	// Further names the Host header may have, without a port, beside those of public_url, the listen address and loopback.
	AllowedHosts []string `yaml:"allowed_hosts"`

	// Browser origins that may call, such as https://app.example.com. Requests without Origin always pass, "null" never.
	AllowedOrigins []string `yaml:"allowed_origins"`

	// The guarded MCP servers.
	Servers []ServerSection `yaml:"servers"`

	// Who may come in.
	Auth AuthSection `yaml:"auth"`

	// Which permission a tool, prompt, resource or method needs. The first rule that matches decides. A tool that none
	// matches needs a permission of its own: <server>:<tool>.
	Permissions []PermissionSection `yaml:"permissions"`

	// Roles by name, added to the default roles guest, user, premium and admin; one of the same name replaces the default.
	Roles map[string]RoleSection `yaml:"roles"`

	// Rate limits. Each is written 2000/s, 100/m or 20/15m, as {capacity, refill}, or off.
	Limits LimitsSection `yaml:"limits"`

	// How records are kept.
	Audit AuditSection `yaml:"audit"`

	// When alerts are raised.
	Detect DetectSection `yaml:"detect"`

	sources []string // the file itself and those it takes values from; absolute
}

// AdminSection is the listener for health, readiness and metrics.
type AdminSection struct {
	// Loopback address of /healthz, /readyz and /metrics, or "off".
	Listen string `yaml:"listen" default:"127.0.0.1:9443"`
}

// TLSSection is the TLS of the MCP listener.
type TLSSection struct {
	// PEM file of the certificate chain. Needs key. A changed file is taken up without a restart.
	Cert string `yaml:"cert"`
	// PEM file of the private key.
	Key string `yaml:"key"`
	// Oldest TLS version accepted. Under 1.2 only AEAD cipher suites are.
	MinVersion string `yaml:"min_version" enum:"1.2,1.3" default:"1.2"`
	// Networks of proxies that speak TLS to the client and plain HTTP to us. They are trusted proxies too and must send
	// X-Forwarded-Proto: https. Excludes cert and key.
	TerminatedBy []Prefix `yaml:"terminated_by"`
}

// ServerSection is one guarded MCP server. Exactly one of command and url is set.
type ServerSection struct {
	// Required. 1 to 64 lower-case letters, digits, '-' and '_'; not the name of a built-in resource.
	Name string `yaml:"name"`
	// URL path of the endpoint.
	Path string `yaml:"path" default:"/<name>/mcp"`
	// Program and arguments of a server that speaks MCP over stdio. No shell is involved.
	Command []string `yaml:"command"`
	// Environment of the child, beside PATH, HOME, LANG and TZ. Nothing else is inherited.
	Env map[string]string `yaml:"env"`
	// Working directory of the child.
	Dir string `yaml:"dir" default:"/"`
	// User the child runs as: a name, a user id, or user id:group id. Only a gateway that runs as root can set it. Without
	// it the child runs as the gateway's user.
	User string `yaml:"user"`
	// How the child is kept from the data directory and the configuration: landlock, on Linux. Directories on the way
	// to them cannot be listed or written by the child then. Without it, nothing keeps it from them but user.
	Sandbox string `yaml:"sandbox" enum:"landlock"`
	// Streamable HTTP endpoint of a server that runs elsewhere.
	URL string `yaml:"url"`
	// Longest wait for an answer's first byte and between the events of a stream.
	Timeout Duration `yaml:"timeout" default:"60s"`
	// Largest message of a client.
	MaxRequest Size `yaml:"max_request" default:"4MiB"`
	// Largest answer, or event of a stream.
	MaxResponse Size `yaml:"max_response" default:"16MiB"`
	// How refusals are sent: "http" as status 403 and 429, "jsonrpc" as status 200 with a JSON-RPC error, for clients
	// that take a 4xx for a lost connection.
	Refusals string `yaml:"refusals" enum:"http,jsonrpc" default:"http"`
}

// AuthSection says who may come in.
type AuthSection struct {
	// Let everyone in as anonymous. Only on a loopback listener.
	Disabled bool `yaml:"disabled" default:"false"`
	// Role of everyone when disabled is set.
	AnonymousRole string `yaml:"anonymous_role" default:"guest"`
	// Access tokens issued here.
	Tokens TokensSection `yaml:"tokens"`
}

// TokensSection describes access tokens.
type TokensSection struct {
	// Signature of access tokens.
	Algorithm string `yaml:"algorithm" enum:"EdDSA,HS256" default:"EdDSA"`
	// Key for HS256, at least 32 bytes. Write ${NAME} or ${file:path} rather than the secret itself. Without it a random
	// key is made in the data directory.
	Secret Secret `yaml:"secret"`
	// How long an access token lives.
	AccessTTL Duration `yaml:"access_ttl" default:"30m"`
}

// PermissionSection maps what a call names to the permission it needs. Exactly one of tool, prompt, resource and method is set.
type PermissionSection struct {
	// Required. Name of a server.
	Server string `yaml:"server"`
	// Tool name; * stands for any characters, here and below.
	Tool string `yaml:"tool"`
	// Prompt name.
	Prompt string `yaml:"prompt"`
	// Resource URI.
	Resource string `yaml:"resource"`
	// MCP method that names nothing.
	Method string `yaml:"method"`
	// Required. Permission such as files:write, without *.
	Require string `yaml:"require"`
}

// RoleSection is a named set of permissions.
type RoleSection struct {
	// Permissions such as files:read_* or *; * stands for any characters.
	Permissions []string `yaml:"permissions"`
	// Roles whose permissions are added.
	Inherits []string `yaml:"inherits"`
}

// LimitsSection is the rate limits.
type LimitsSection struct {
	// All requests together.
	Global Limit `yaml:"global" default:"2000/s"`
	// Of one IPv4 address or IPv6 /64; a /48 gets four times as much.
	Address Limit `yaml:"address" default:"{capacity: 300, refill: 50}"`
	// Failed authentications of one address.
	FailedAuth Limit `yaml:"failed_auth" default:"20/15m"`
	// Calls of one tool by all.
	Tool Limit `yaml:"tool" default:"{capacity: 1000, refill: 200}"`
	// Calls of one tool by one principal.
	PrincipalTool Limit `yaml:"principal_tool" default:"{capacity: 100, refill: 10}"`
	// Calls of one principal, by role; the most generous of its roles counts. Defaults: guest 50 at 1/s, user 200 at 5/s,
	// premium 1000 at 20/s, admin 5000 at 100/s.
	Roles map[string]Limit `yaml:"roles"`
}

// AuditSection says how records are kept.
type AuditSection struct {
	// "durable": a call waits until its record is on disk. "async": it does not; what is lost is counted.
	Mode string `yaml:"mode" enum:"durable,async" default:"durable"`
	// How long the bodies of events are kept; their hashes are kept for ever.
	Retention Duration `yaml:"retention" default:"90d"`
	// How many bytes the records may take on disk, such as 20GiB, at least 16MiB; their hashes (64 bytes a record) come on
	// top. At 80 % the log says so; from 90 % on refusals before authentication are kept as sums alone. Without it: half
	// of what is free at start, where what the log takes already counts as free.
	MaxSize DiskSize `yaml:"max_size"`
	// What happens at max_size. "delete": the oldest records go before their time, on record. "refuse": calls are refused
	// until there is room; administration goes on within a tenth of max_size more.
	WhenFull string `yaml:"when_full" enum:"delete,refuse" default:"delete"`
}

// DetectSection says when alerts are raised.
type DetectSection struct {
	// The rules.
	Rules DetectRules `yaml:"rules"`
}

// DetectRules are thresholds: so many events of one key within the window.
type DetectRules struct {
	// Failed authentications that claim one identity.
	FailedAuth ThresholdSection `yaml:"failed_auth" default:"{count: 5, window: 15m}"`
	// Failed authentications from one address.
	FailedAuthAddress ThresholdSection `yaml:"failed_auth_address" default:"{count: 20, window: 15m}"`
	// Permission denials of one principal.
	PermissionDenials ThresholdSection `yaml:"permission_denials" default:"{count: 10, window: 1h}"`
	// Runs of rate-limited calls of one principal or address.
	LimitEpisodes ThresholdSection `yaml:"limit_episodes" default:"{count: 3, window: 10m}"`
}

// ThresholdSection is one threshold; both keys are needed.
type ThresholdSection struct {
	// Number of events, at least 1.
	Count int `yaml:"count"`
	// Time within which they come.
	Window Duration `yaml:"window"`
}

var (
	_ strictyaml.Scalar    = (*Duration)(nil)
	_ strictyaml.Scalar    = (*Size)(nil)
	_ strictyaml.Scalar    = (*DiskSize)(nil)
	_ strictyaml.Scalar    = (*Limit)(nil)
	_ strictyaml.Scalar    = (*Rate)(nil)
	_ strictyaml.Scalar    = (*Prefix)(nil)
	_ strictyaml.Sensitive = (*Secret)(nil)
)
