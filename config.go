package sallyport

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/internal/token"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Config is everything a guard can be told. The zero value of every field means the default its comment states.
type Config struct {
	// PublicURL is the https origin clients use, such as https://mcp.example.com. It is the issuer of our tokens, the
	// base of every server's resource identifier, and its host is in the Host allow-list. Empty: tokens are issued by
	// and for "http://localhost".
	PublicURL string

	// DataDir holds keys and the audit log, files 0600. Required.
	DataDir string

	// Servers are the guarded MCP servers. At least one is needed for Handler to serve anything but /security/mcp.
	Servers []Server

	Auth   Auth
	Limits Limits
	Audit  Audit
	Detect Detect

	// Permissions map tools, prompts, resources and methods to the permission they need. The first match decides; what
	// nothing matches needs a permission of its own, "<server>:<tool>".
	Permissions []policy.Rule

	// Roles are added to the default roles (guest, user, premium, admin); one of the same name replaces the default.
	Roles []policy.Role

	// TrustedProxies may say in forwarding headers whose request they carry. Empty: nobody may.
	TrustedProxies []netip.Prefix

	// TLSTerminatedBy are proxies that speak TLS to the client and plain HTTP to us. They are trusted proxies too, and
	// must send X-Forwarded-Proto: https. Empty: we terminate TLS ourselves or listen on loopback only.
	TLSTerminatedBy []netip.Prefix

	// AllowedHosts are the names and addresses, without port, that a Host header may have beside PublicURL's host and
	// loopback names.
	AllowedHosts []string

	// AllowedOrigins are the browser origins that may call, such as https://app.example.com. Empty: only PublicURL's
	// and loopback origins. Requests without Origin (native clients) always pass, "null" never.
	AllowedOrigins []string

	// Store keeps keys, revocations, roles and alerts. Nil: in memory.
	Store Store

	// ChildExec is the argument list that starts the sandbox of a child, such as {"/usr/bin/sallyport", "__child"};
	// Command servers are started through it. What the sandbox needs to know and the command are put behind it. Empty:
	// Command servers are refused.
	ChildExec []string

	// Hidden are files and directories, beside DataDir, that no child may open where the system can confine it.
	Hidden []string

	// Purpose is the reason in the records of start and stop: what this process is for. Empty: none is given.
	Purpose string

	// Log is the process log. Nil: slog.Default().
	Log *slog.Logger

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Store keeps what is not the audit log. store/sqlite and store/redis open one.
type Store interface {
	apikey.Store
	token.Revocations
	policy.RoleStore
	detect.Alerts
	io.Closer
	// Ping reports whether the store answers.
	Ping(ctx context.Context) error
}

// Server is one guarded MCP server. Exactly one of Command, URL and Handler is set.
type Server struct {
	Name    string            // lower-case letters, digits, - and _; not one of the built-in resources
	Path    string            // URL path of the endpoint, such as /files/mcp. Empty: "/<name>/mcp"
	Command []string          // program and arguments of a child that speaks MCP over stdio
	Env     map[string]string // environment of the child, beside PATH, HOME, LANG and TZ; nothing else is inherited
	Dir     string            // working directory of the child. Empty: DataDir's parent is not used; "/" is
	User    string            // whom the child runs as: a name, uid or uid:gid; needs root. Empty: our user
	Sandbox string            // "landlock" keeps the child from Config.Hidden and DataDir where the kernel can. Empty: nothing does
	URL     string            // Streamable HTTP endpoint of a remote server
	Handler http.Handler      // Streamable HTTP handler in this process

	Timeout     time.Duration // longest wait for an answer's first byte and between stream events. 0: 60 s
	MaxRequest  int64         // bytes of a client message. 0: 4 MiB
	MaxResponse int64         // bytes of an answer or stream event. 0: 16 MiB

	// JSONRPCRefusals answers refusals with HTTP 200 and a JSON-RPC error, for clients that take a 4xx for a lost
	// connection. False: 403 and 429 as the specification says.
	JSONRPCRefusals bool
}

// Auth says who may come in.
type Auth struct {
	// Disabled lets everyone in as the principal "anonymous" with role AnonymousRole. Only for loopback.
	Disabled bool
	// AnonymousRole is used when Disabled is set. Empty: "guest".
	AnonymousRole string
	// Algorithm signs the access tokens issued here: "EdDSA" or "HS256". Empty: EdDSA.
	Algorithm string
	// HS256Secret is used with Algorithm HS256: at least 32 bytes. Empty: a random key in DataDir.
	HS256Secret Secret
	// AccessTTL is how long an issued access token lives. 0: 30 min.
	AccessTTL time.Duration
}

// Limit is a token bucket: Capacity tokens at most, Refill tokens a second.
type Limit = ratelimit.Limit

// Limits are the token buckets. A zero Limit in a field means its default.
type Limits = ratelimit.Limits

// Threshold is how many events within which time raise an alert.
type Threshold = detect.Threshold

// Secret is a value that cannot be printed.
type Secret = secret.Text

// NewSecret wraps a secret value.
func NewSecret(value string) Secret { return secret.New(value) }

// Audit says how records are kept.
type Audit struct {
	// Mode is "durable" (default: a call waits until its record is on disk) or "async" (it does not; loss is counted).
	Mode string
	// Retention is how long event bodies are kept. 0: 90 days.
	Retention time.Duration
	// MaxSize is how many bytes the records may take on disk, their hashes (64 bytes a record) not counted. At 80 % an
	// event says so; from 90 % on refusals before authentication are kept as sums alone. 0: half of what is free at
	// start, what the log takes already counted as free.
	MaxSize int64
	// WhenFull says what happens at MaxSize: "delete" (default: the oldest records go before their time, on record) or
	// "refuse" (calls are refused until there is room; administration goes on within a tenth of MaxSize more).
	WhenFull string
	// Log replaces the segment files in DataDir; then it is for Log to bound and to delete. Nil: those.
	Log audit.Log
}

// Detect tunes the threshold rules. A zero Threshold in a field means its default.
type Detect = detect.Thresholds
