package guard

import (
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// Denial is a no, with its because. It is an error; only Kind, Status, Permission, Scope, RetryAfter and Pointer may
// reach the caller, Rule and Reason are for the operator.
type Denial struct {
	Kind       audit.Kind
	Status     int           // HTTP status
	Permission string        // PermissionDenied: the one permission that is missing
	Scope      bool          // a wider token scope would cure it (RFC 6750 §3.1 insufficient_scope)
	RetryAfter time.Duration // when trying again can help; 0 when it cannot
	Pointer    string        // InputRejected: JSON pointer (RFC 6901) of the argument
	Detail     string        // InputRejected: what was expected there; holds no value of the caller
	Rule       string        // layer or rule that decided
	Reason     string
	Seq        uint64 // of the record; 0 when it was recorded without waiting
}

// Error returns the reason, for logs.
func (d *Denial) Error() string { return string(d.Kind) + ": " + d.Reason }
