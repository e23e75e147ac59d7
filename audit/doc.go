// Package audit is the record of what the gateway decided: the Event, its one-line JSON form, the Recorder that puts
// events into a Log in order, and the arithmetic by which a stranger checks a log (chain, tree, checkpoints).
//
// For most uses, build a Recorder over a Log and call Record before acting on a decision: when it returns nil the
// record is durable (in durable mode) and has its sequence number.
//
// It does no file I/O, decides nothing, and knows no rule of detection: files are the business of a Log
// implementation, and what events mean together is the business of whoever is given to RecorderConfig.Observe.
//
// The invariant: one event is one line, whatever text an attacker put into it, and the order of lines is the order of
// sequence numbers, without gaps.
package audit
