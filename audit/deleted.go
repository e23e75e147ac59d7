package audit

import "strconv"

// RecordsDeletedEvent returns the event that must be recorded before the bodies of the records up to through are
// deleted: verification accepts missing bodies only if a later record says so.
func RecordsDeletedEvent(through uint64) *Event {
	return &Event{
		Kind: RecordsDeleted, Outcome: Info, Rule: "retention",
		Reason:  "bodies past their retention time are deleted; their hashes stay",
		Details: []Detail{{throughDetail, strconv.FormatUint(through, 10)}},
	}
}

// DeletedThrough returns up to which record bodies were deleted, if e is such an event.
func DeletedThrough(e *Event) (through uint64, ok bool) {
	if e.Kind != RecordsDeleted {
		return 0, false
	}
	for _, d := range e.Details {
		if d.Name == throughDetail {
			n, err := strconv.ParseUint(d.Value, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

const throughDetail = "through"
