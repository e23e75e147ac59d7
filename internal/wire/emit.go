package wire

import "github.com/go-json-experiment/json/jsontext"

// Append appends the message as JSON: jsonrpc, id, method and params, or result or error, and nothing else. Params,
// result and error are emitted as they came, byte for byte, except for what Set methods replaced.
func (m *Message) Append(dst []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0"`...)
	if m.ID != nil || m.Kind == Error {
		dst = appendID(append(dst, `,"id":`...), m.ID)
	}
	if m.Method != "" {
		dst = appendQuoted(append(dst, `,"method":`...), m.Method)
	}
	for _, part := range [...]struct {
		name  string
		value jsontext.Value
	}{{`,"params":`, m.Params}, {`,"result":`, m.Result}, {`,"error":`, m.Error}} {
		if part.value != nil {
			dst = append(append(dst, part.name...), part.value...)
		}
	}
	return append(dst, '}')
}

// AppendLine appends the message and a line feed, on one line: the framing of stdio (MCP, transports). A line end between
// two tokens of params becomes a space; inside a string JSON has none.
func (m *Message) AppendLine(dst []byte) []byte {
	start := len(dst)
	dst = m.Append(dst)
	for i, c := range dst[start:] {
		if c == '\n' || c == '\r' {
			dst[start+i] = ' '
		}
	}
	return append(dst, '\n')
}

// SetID replaces the id. The raw value must be a JSON string or number; it is not copied.
func (m *Message) SetID(raw jsontext.Value) { m.ID = raw }

// SetCursor replaces params.cursor. It does nothing when there is none.
func (m *Message) SetCursor(cursor string) {
	if m.splice(cursorSpan, appendQuoted(nil, cursor)) {
		m.Cursor = &cursor
	}
}

// SetTask replaces params.taskId. It does nothing when there is none.
func (m *Message) SetTask(id string) {
	if m.splice(taskSpan, appendQuoted(nil, id)) {
		m.Task = &id
	}
}

// SetRequestState replaces params.requestState. It does nothing when there is none.
func (m *Message) SetRequestState(state string) {
	if m.splice(stateSpan, appendQuoted(nil, state)) {
		m.RequestState = &state
	}
}

// SetProgressToken replaces the progress token, wherever this method has it. It does nothing when there is none.
func (m *Message) SetProgressToken(raw jsontext.Value) {
	if m.splice(tokenSpan, raw) {
		m.ProgressToken = raw
	}
}

// SetCancels replaces params.requestId of notifications/cancelled. It does nothing when there is none.
func (m *Message) SetCancels(raw jsontext.Value) {
	if m.splice(cancelsSpan, raw) {
		m.Cancels = raw
	}
}

// SetSubscriptionID replaces the subscription a notification belongs to. It does nothing when there is none.
func (m *Message) SetSubscriptionID(raw jsontext.Value) {
	if m.splice(subscriptionSpan, raw) {
		m.SubscriptionID = raw
	}
}

// splice replaces one value in a copy of Params and moves the spans behind it. Every other byte stays as it is; raw values
// read earlier keep their old, equal bytes.
func (m *Message) splice(which int, value []byte) bool {
	at := m.spans[which]
	if at.end == 0 {
		return false
	}
	grown := make([]byte, 0, len(m.Params)-(at.end-at.start)+len(value))
	grown = append(grown, m.Params[:at.start]...)
	grown = append(grown, value...)
	m.Params = append(grown, m.Params[at.end:]...)
	shift := len(value) - (at.end - at.start)
	for i := range m.spans {
		if m.spans[i].start > at.start {
			m.spans[i].start += shift
			m.spans[i].end += shift
		}
	}
	m.spans[which].end += shift
	return true
}
