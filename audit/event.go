package audit

import (
	"net/netip"
	"time"
)

// Kind is what happened. The list is closed; a new kind is one row here and one in the table of kinds.
type Kind string

// The kinds.
const (
	AuthSuccess       Kind = "auth_success"        // a credential was verified (not repeated while it is cached)
	AuthFailed        Kind = "auth_failed"         // a credential was refused
	AuthRequired      Kind = "auth_required"       // nothing was presented: the challenge was sent; counts for nothing
	TokenExpired      Kind = "token_expired"       // a genuine token past its time: normal, counts for nothing
	APIKeyUsed        Kind = "api_key_used"        // an API key was accepted (not repeated while it is cached)
	CallAllowed       Kind = "call_allowed"        // a message may go to its upstream
	CallCompleted     Kind = "call_completed"      // the outcome of the decision in Ref
	PermissionDenied  Kind = "permission_denied"   // a role, scope or rule said no
	RateLimitExceeded Kind = "rate_limit_exceeded" // a bucket was empty
	InputRejected     Kind = "input_rejected"      // malformed message or invalid arguments
	AddressRefused    Kind = "address_refused"     // Host, Origin or an address decision said no
	SessionRefused    Kind = "session_refused"     // a session that is not the caller's, or no longer lives
	UpstreamFailed    Kind = "upstream_failed"     // a call was refused because its upstream could not be asked
	SessionStarted    Kind = "session_started"
	SessionEnded      Kind = "session_ended"
	StreamEnded       Kind = "stream_ended" // a live stream was cut: revoked, expired or blocked
	TokenIssued       Kind = "token_issued"
	TokenRevoked      Kind = "token_revoked"
	KeyCreated        Kind = "key_created"
	KeyRevoked        Kind = "key_revoked"
	RoleChanged       Kind = "role_changed"
	ConfigChanged     Kind = "config_changed"
	ConfigRejected    Kind = "config_rejected"
	AlertRaised       Kind = "alert_raised"
	ServerStarted     Kind = "server_started"
	ServerStopped     Kind = "server_stopped"
	StoreDegraded     Kind = "store_degraded"    // a layer answers with its stated fallback
	StoreRecovered    Kind = "store_recovered"   // and this ends it
	AuditLost         Kind = "audit_lost"        // Count events could not be kept: async mode, or notes in durable mode
	AuditNearlyFull   Kind = "audit_nearly_full" // the log has reached 80 % of its largest size
	LogRecovered      Kind = "log_recovered"     // a torn tail was cut at start
	RecordsDeleted    Kind = "records_deleted"   // bodies past their retention time were deleted; leaf hashes stay
)

// Outcome is how it ended.
type Outcome string

// The outcomes.
const (
	Allowed Outcome = "allowed"
	Denied  Outcome = "denied"
	Failed  Outcome = "failed"  // allowed, but the upstream or the store did not do it
	Unknown Outcome = "unknown" // the outcome was never recorded
	Info    Outcome = "info"
)

// Identity is a verified caller in a record.
type Identity struct {
	Issuer  string
	Subject string
	Name    string // readable
}

// Event is one record. Strings may be attacker-chosen text; Append cuts and escapes them. The zero value of a field
// means that it does not apply and is left out of the record.
type Event struct {
	Seq        uint64    // given by the Recorder; the first record is 1
	Time       time.Time // UTC
	Kind       Kind
	Outcome    Outcome
	Principal  Identity
	Claimed    string // an identity that was claimed and not verified; never the principal
	Credential string // identifier of the credential; never the credential
	Client     string
	IP         netip.Addr
	UserAgent  string
	Session    string // hash of the session id
	Server     string
	Method     string
	Tool       string // tool, prompt or resource named
	Permission string // the permission that was needed
	Rule       string // the layer or rule that decided
	Reason     string // for people
	Ref        uint64 // CallCompleted: the Seq of its decision
	Status     int    // HTTP status
	Duration   time.Duration
	BytesIn    int64
	BytesOut   int64
	Count      int       // how many occurrences a folded record stands for; 0 means 1
	First      time.Time // folded record: the first occurrence; Time is the last
	Repeat     bool      // a client's automatic repetition of a refusal just counted: recorded, counted once
	Details    []Detail  // further facts, in order
}

// Detail is one further fact of an Event.
type Detail struct{ Name, Value string }

// HighRisk reports whether the event is one of the three kinds a report calls high-risk.
func (e *Event) HighRisk() bool {
	return e.Kind == AuthFailed || e.Kind == PermissionDenied || e.Kind == RateLimitExceeded
}

// Occurrences returns how many occurrences the record stands for.
func (e *Event) Occurrences() int { return max(1, e.Count) }
