package audit

// KindInfo is one row of the table of kinds.
type KindInfo struct {
	Kind     Kind
	HighRisk bool   // counted as high-risk by reports
	Meaning  string // one line for people
}

// Kinds returns the table of all kinds in the order of their declaration. The slice is the caller's own. Adding a kind
// is one constant and one row here.
func Kinds() []KindInfo {
	return []KindInfo{
		{AuthSuccess, false, "a credential was verified"},
		{AuthFailed, true, "a credential was refused"},
		{AuthRequired, false, "nothing was presented; the challenge was sent"},
		{TokenExpired, false, "a genuine token was past its time"},
		{APIKeyUsed, false, "an API key was accepted"},
		{CallAllowed, false, "a message may go to its upstream"},
		{CallCompleted, false, "the outcome of a call allowed before"},
		{PermissionDenied, true, "a role, scope or rule said no"},
		{RateLimitExceeded, true, "a rate limit was reached"},
		{InputRejected, false, "a malformed message or invalid arguments"},
		{AddressRefused, false, "the host, origin or address was refused"},
		{SessionRefused, false, "a session that is another's or no longer lives was refused"},
		{UpstreamFailed, false, "a call was refused because its upstream could not be asked"},
		{SessionStarted, false, "a session began"},
		{SessionEnded, false, "a session ended"},
		{StreamEnded, false, "a live stream was cut"},
		{TokenIssued, false, "a token was issued"},
		{TokenRevoked, false, "a token was revoked"},
		{KeyCreated, false, "an API key was created"},
		{KeyRevoked, false, "an API key was revoked"},
		{RoleChanged, false, "a role was changed"},
		{ConfigChanged, false, "a new configuration is in force"},
		{ConfigRejected, false, "an invalid configuration was refused"},
		{AlertRaised, false, "a pattern of events raised an alert"},
		{ServerStarted, false, "the gateway started"},
		{ServerStopped, false, "the gateway stopped"},
		{StoreDegraded, false, "a store failed and its fallback answers"},
		{StoreRecovered, false, "a store works again"},
		{AuditLost, false, "events could not be kept"},
		{AuditNearlyFull, false, "the log has reached 80 % of its largest size"},
		{LogRecovered, false, "an incomplete last record was cut at start"},
		{RecordsDeleted, false, "records past their retention time were deleted"},
	}
}

// Known reports whether k is in the table of kinds.
func (k Kind) Known() bool {
	switch k {
	case AuthSuccess, AuthFailed, AuthRequired, TokenExpired, APIKeyUsed, CallAllowed, CallCompleted, PermissionDenied,
		RateLimitExceeded, InputRejected, AddressRefused, SessionRefused, UpstreamFailed, SessionStarted, SessionEnded, StreamEnded, TokenIssued,
		TokenRevoked, KeyCreated, KeyRevoked, RoleChanged, ConfigChanged, ConfigRejected, AlertRaised, ServerStarted,
		ServerStopped, StoreDegraded, StoreRecovered, AuditLost, AuditNearlyFull, LogRecovered, RecordsDeleted:
		return true
	}
	return false
}
