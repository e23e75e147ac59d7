// Package admin is what an administrator may do: one set of verbs for the command line, the console and jobs.
//
// For most uses, get the running guard's [Operations] and call its methods; from another process on the same machine,
// [Dial] its data directory and call those of [Client]. The verbs stand in one table (verbs.go).
//
// It decides nothing about calls and keeps nothing of its own. The one invariant: an act that changes who may do what
// has a record that names who did it, and what cannot be recorded does not take effect.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/internal/report"
	"github.com/sallyport-mcp/sallyport/internal/token"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Recorder keeps records. *audit.Recorder is one.
type Recorder interface {
	Record(ctx context.Context, e *audit.Event) error
}

// Operations are the verbs over the services of one guard. The fields are set once, before the first call; the methods
// are then safe for concurrent use. All fields but Stats, Posture, Now and Log are required.
type Operations struct {
	Keys     *apikey.Service
	Tokens   *token.Service
	Roles    policy.RoleStore
	Alerts   detect.Alerts
	Recorder Recorder

	// Configured returns the roles of the configuration: they can be shown, not changed.
	Configured func() []policy.Role
	// Apply puts the stored roles in force, after one was changed.
	Apply func(ctx context.Context) error
	// Audience returns the resource identifier of a server, for tokens; false when there is no such server.
	Audience func(server string) (string, bool)
	// Report builds the report for a range such as "24h".
	Report func(ctx context.Context, timeRange string) (*report.Report, error)
	// Stats returns figures for metrics. Nil: there are none.
	Stats func() Stats
	// Posture returns findings about the configuration in force. Nil: there are none.
	Posture func() []Finding
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log is told what could be done but not be undone. Nil: slog.Default().
	Log *slog.Logger

	roleChange sync.Mutex // held from the check of all roles to the change of one
}

// Actor is who acts: the identity that the record of the act names.
type Actor = audit.Identity

// Local returns the actor for a process of this machine.
func Local(uid int) Actor {
	id := strconv.Itoa(uid)
	return Actor{Issuer: "local", Subject: id, Name: "local:" + id}
}

// Code classifies an Error.
type Code string

// Codes.
const (
	NotFound Code = "not_found" // what was named does not exist
	Invalid  Code = "invalid"   // what was asked for is not possible as asked
	Refused  Code = "refused"   // the caller may not, or the act could not be recorded
	Internal Code = "internal"  // something broke; the log knows more
)

// Error is an answer of a verb that did not do what was asked. It keeps its Code across the socket.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Fix     string `json:"hint,omitempty"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Hint says what to do about it; it may be empty.
func (e *Error) Hint() string { return e.Fix }

// fault makes an Error.
func fault(code Code, fix, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Fix: fix}
}

// asError turns any error into an Error.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: Internal, Message: err.Error()}
}

func (o *Operations) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

func (o *Operations) log() *slog.Logger {
	if o.Log == nil {
		return slog.Default()
	}
	return o.Log
}

// record keeps the record of an act, or refuses it.
func (o *Operations) record(ctx context.Context, who Actor, e *audit.Event) error {
	e.Time, e.Principal, e.Rule = o.now().UTC(), who, "admin"
	if e.Outcome == "" {
		e.Outcome = audit.Allowed
	}
	if err := o.Recorder.Record(ctx, e); err != nil {
		return fault(Refused, "free the disk or mend the log; nothing was changed", "the act could not be recorded: %v", err)
	}
	return nil
}

// failed records that an act which was recorded before was not done.
func (o *Operations) failed(ctx context.Context, who Actor, e audit.Event, cause error) {
	e.Outcome, e.Ref, e.Seq, e.Reason = audit.Failed, e.Seq, 0, cause.Error()
	if err := o.record(context.WithoutCancel(ctx), who, &e); err != nil {
		o.log().Error("the failure of an act could not be recorded", "kind", e.Kind, "ref", e.Ref, "error", err)
	}
}
