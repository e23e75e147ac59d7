package audit

import "errors"

// ErrNotRecorded means that an event has no durable record, so what it decides must not happen. The error that wraps
// it says why: the queue is full, the log failed, the Recorder is closed.
var ErrNotRecorded = errors.New("not recorded")

// Log keeps records. The Recorder calls Append from one goroutine; NextSeq may be called at any time and must not wait
// for I/O.
type Log interface {
	// Append keeps all of the events or none, and what it kept is durable when it returns nil. events[i].Seq is
	// NextSeq()+i, lines[i] is what AppendJSON wrote for events[i]. Both slices and what they point to are the
	// caller's again when Append returns. After an error NextSeq is what it was before.
	Append(events []*Event, lines [][]byte) error
	// NextSeq returns the sequence number the next record will have; of an empty log it is 1.
	NextSeq() uint64
	// Close ends the log. The Recorder does not call it: who opened the log closes it, after the Recorder.
	Close() error
}

// Room is how much a Log with a bounded size still takes.
type Room int32

// The rooms.
const (
	RoomPlenty Room = iota // everything
	RoomTight              // refusals before authentication only folded: the rest of the room is for callers and administration
	RoomFull               // what is not a call: administration, alerts, outcomes of calls, and the log's own events
)

// Rationer is a Log whose size is bounded. The Recorder asks it before it queues an event, so Room must not wait.
type Rationer interface {
	Log
	Room() Room
}

// useReserve reports whether an event of this kind is still kept when the log is full: what ends, answers or explains,
// never what begins.
func useReserve(e *Event) bool {
	switch e.Kind {
	case CallCompleted, SessionEnded, StreamEnded, TokenIssued, TokenRevoked, KeyCreated, KeyRevoked, RoleChanged, ConfigChanged,
		ConfigRejected, AlertRaised, ServerStarted, ServerStopped, StoreRecovered, AuditLost, AuditNearlyFull, LogRecovered, RecordsDeleted:
		return true
	case StoreDegraded:
		return e.Outcome != Denied
	}
	return false
}
