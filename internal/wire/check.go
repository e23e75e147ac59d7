package wire

import (
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// refuse is a ParseError without the parts that the parser fills in.
func refuse(code int, reason string) *ParseError { return &ParseError{Code: code, Reason: reason} }

// message makes a Message of the envelope, or says why not.
func (p *parser) message(from Sides) (*Message, *ParseError) {
	if refusal := p.checkEnvelope(); refusal != nil {
		return nil, refusal
	}
	m := &Message{ID: p.id, Params: p.params}
	if p.method == nil {
		return m, p.answer(m, from)
	}
	if p.result != nil || p.problem != nil {
		return nil, refuse(CodeInvalidRequest, "a message with a method has a result or an error")
	}
	if refusal := p.call(m, from); refusal != nil {
		return nil, refusal
	}
	return m, nil
}

// checkEnvelope holds the rules that do not depend on the kind of message.
func (p *parser) checkEnvelope() *ParseError {
	switch {
	case p.array:
		return refuse(CodeInvalidRequest, "batches are not accepted: send each message by itself")
	case p.scalar:
		return refuse(CodeInvalidRequest, "a message must be a JSON object")
	case p.unknown:
		return refuse(CodeInvalidRequest, "the message has a member other than jsonrpc, id, method, params, result and error")
	case string(unquote(p.jsonrpc)) != "2.0":
		return refuse(CodeInvalidRequest, `jsonrpc must be "2.0"`)
	case p.params != nil && p.params[0] != '{':
		return refuse(CodeInvalidRequest, "params must be an object")
	}
	return nil
}

// answer fills in a result or an error.
func (p *parser) answer(m *Message, from Sides) *ParseError {
	switch {
	case p.result == nil && p.problem == nil:
		return refuse(CodeInvalidRequest, "the message has neither a method nor a result nor an error")
	case p.result != nil && p.problem != nil:
		return refuse(CodeInvalidRequest, "the message has a result and an error")
	case p.params != nil:
		return refuse(CodeInvalidRequest, "an answer has no params")
	case p.result != nil:
		m.Kind, m.Result = Result, p.result
	default:
		m.Kind, m.Error = Error, p.problem
		if refusal := checkError(p.problem); refusal != nil {
			return refusal
		}
		if from == FromServer && (p.id == nil || string(p.id) == "null") {
			m.ID = nil // JSON-RPC 2.0 §5: the server could not read the id
			return nil
		}
	}
	return checkID(p.id)
}

var errorNames = namesOf("code", "message", "data")

// checkError holds the shape of an error object, JSON-RPC 2.0 §5.1.
func checkError(raw []byte) *ParseError {
	if raw[0] != '{' {
		return refuse(CodeInvalidRequest, "error must be an object")
	}
	var code, message, twin bool
	fieldsOf(raw, func(f field) bool {
		switch name := unquote(f.name); string(name) {
		case "code":
			code = isInteger(f.value)
		case "message":
			message = f.value[0] == '"'
		default:
			twin = twin || errorNames.lookalike(name)
		}
		return true
	})
	if !code || !message || twin {
		return refuse(CodeInvalidRequest, "error must have an integer code and a message")
	}
	return nil
}

// isInteger reports whether raw is a JSON number of digits alone, in the range of 32 bits or little more.
func isInteger(raw []byte) bool {
	digits := strings.TrimPrefix(string(raw), "-")
	return digits != "" && len(digits) <= 10 && strings.Trim(digits, "0123456789") == ""
}

// checkID holds the rules of MCP for ids: a string or a number, never null.
func checkID(id jsontext.Value) *ParseError {
	if id == nil {
		return refuse(CodeInvalidRequest, "the id is missing")
	}
	if !acceptableID(id) {
		return refuse(CodeInvalidRequest, "id must be a string or a number of at most 256 bytes")
	}
	return nil
}

// acceptableID reports whether raw may be an id or a progress token. Any JSON number will do: it is never computed with.
func acceptableID(raw jsontext.Value) bool {
	return len(raw) > 0 && len(raw) <= maxID && (raw.Kind() == '"' || raw.Kind() == '0')
}

// call fills in a request or a notification.
func (p *parser) call(m *Message, from Sides) *ParseError {
	if p.method[0] != '"' {
		return refuse(CodeInvalidRequest, "method must be a string")
	}
	m.Method = string(unquote(p.method))
	if m.Method == "" || len(m.Method) > maxMethod || strings.ContainsFunc(m.Method, unicode.IsControl) {
		return refuse(CodeInvalidRequest, "method must have 1 to 256 bytes and no control characters")
	}
	row := methods[m.Method]
	if row != nil && row.From&from == 0 {
		row = nil // not a method of this side: whoever answers it must not have read anything out of it
	}
	m.Kind = Request
	if p.id == nil {
		m.Kind = Notification
	} else if refusal := checkID(p.id); refusal != nil {
		return refusal
	}
	if notification, known := isNotification(m.Method, row); known && notification != (m.Kind == Notification) {
		if notification {
			return refuse(CodeInvalidRequest, "a notification has no id")
		}
		return refuse(CodeInvalidRequest, "this method is a request and needs an id")
	}
	return m.readParams(row, p.fields)
}

// isNotification reports whether a method is one, and whether that is known.
func isNotification(method string, row *Method) (notification, known bool) {
	if row != nil {
		return row.Notification, true
	}
	return true, strings.HasPrefix(method, "notifications/")
}
