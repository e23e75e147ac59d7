package wire

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Headers of the Streamable HTTP transport, in Go's canonical spelling.
const (
	headerVersion = "Mcp-Protocol-Version"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
)

// isModern reports whether a version claims the modern era; an unknown one does when it sorts behind the first.
func isModern(version string) bool { return version >= firstModern }

// refuseHeaders is a ParseError about headers; m may be nil.
func refuseHeaders(m *Message, code, status int, reason string) *ParseError {
	var id jsontext.Value
	if m != nil {
		id = m.ID
	}
	return &ParseError{Code: code, Status: status, ID: id, Reason: reason}
}

func mismatch(m *Message, reason string) *ParseError {
	return refuseHeaders(m, CodeHeaderMismatch, http.StatusBadRequest, reason)
}

// DecideEra says which era a request belongs to. A protocol version in _meta, or a modern one in the header, means
// modern; initialize, or a session, means legacy; both is refused, and so is a method that the era does not have, and,
// in the legacy era, a mirrored header that differs from the body. m is nil for GET and DELETE. Errors are *ParseError.
func DecideEra(h http.Header, m *Message, hasSession bool) (Era, error) {
	header, err := single(h, headerVersion, m)
	if err != nil {
		return 0, err
	}
	inMeta := m != nil && m.MetaVersion != ""
	modern := inMeta || isModern(header)
	switch {
	case modern && hasSession:
		return 0, mismatch(m, "a session belongs to the legacy era, the protocol version to the modern one")
	case modern && m != nil && m.Method == "initialize":
		if inMeta && header == m.MetaVersion {
			return 0, refuseHeaders(m, CodeMethodNotFound, http.StatusNotFound, "this method does not exist in this protocol revision")
		}
		return 0, mismatch(m, "initialize belongs to the legacy era, the protocol version to the modern one")
	case modern:
		return Modern, nil
	case m == nil:
		return Legacy, nil
	}
	if row := methods[m.Method]; row != nil && !row.Eras.Has(Legacy) {
		return 0, refuseHeaders(m, CodeMethodNotFound, http.StatusOK, "this method does not exist in this protocol revision")
	}
	if refusal := mirrored(h, m, false); refusal != nil {
		return 0, refusal
	}
	return Legacy, nil
}

// CheckHeaders holds the rules of the modern era for one message: MCP-Protocol-Version, Mcp-Method and, for methods that
// name a thing, Mcp-Name are each present once and equal the body (2026-07-28, transports, server validation). A
// notification may leave them out, but not lie. A method that this era does not have is -32601. Errors are *ParseError.
func CheckHeaders(h http.Header, m *Message) error {
	if m == nil || m.Method == "" {
		return nil
	}
	header, err := single(h, headerVersion, m)
	if err != nil {
		return err
	}
	switch {
	case header == "" && m.Kind == Request:
		return mismatch(m, "the MCP-Protocol-Version header is missing")
	case m.MetaVersion == "" && m.Kind == Request:
		return refuseHeaders(m, CodeInvalidParams, http.StatusBadRequest, "_meta lacks "+metaVersion)
	case m.MetaVersion != "" && header != "" && m.MetaVersion != header:
		return mismatch(m, "the MCP-Protocol-Version header differs from _meta")
	}
	if refusal := mirrored(h, m, m.Kind == Request); refusal != nil {
		return refusal
	}
	if row := methods[m.Method]; row != nil && !row.Eras.Has(Modern) {
		return refuseHeaders(m, CodeMethodNotFound, http.StatusNotFound, "this method does not exist in this protocol revision")
	}
	return nil
}

// mirrored compares Mcp-Method and Mcp-Name with the body; required says whether they may be absent.
func mirrored(h http.Header, m *Message, required bool) *ParseError {
	for _, c := range []struct {
		header, body string
		required     bool
	}{
		{headerMethod, m.Method, required},
		{headerName, m.named(), required && mirrorsName(m.Method)},
	} {
		values := h.Values(c.header)
		switch {
		case len(values) == 0 && !c.required:
			continue
		case len(values) == 0:
			return mismatch(m, "the "+c.header+" header is missing")
		case len(values) > 1:
			return mismatch(m, "the "+c.header+" header is present more than once")
		}
		text, ok := strings.Trim(values[0], " \t"), true
		if c.header == headerName {
			text, ok = decodeHeader(text) // method names are visible ASCII and never encoded
		}
		if !ok || text != c.body || text == "" {
			return mismatch(m, "the "+c.header+" header differs from the body")
		}
	}
	return nil
}

// named returns what Mcp-Name mirrors.
func (m *Message) named() string {
	if m.Task != nil {
		return *m.Task
	}
	return m.Target.Name
}

// MirroredName returns what the Mcp-Name header of a modern request repeats from its body; false for a method that has no
// such header (MCP 2026-07-28, transports).
func (m *Message) MirroredName() (name string, ok bool) {
	return m.named(), mirrorsName(m.Method) && m.named() != ""
}

func mirrorsName(method string) bool {
	row := methods[method]
	return row != nil && row.NameHeader
}

// single returns the only value of a header, "" when it is absent, and refuses a second one even if it is equal.
func single(h http.Header, name string, m *Message) (string, error) {
	values := h.Values(name)
	if len(values) > 1 {
		return "", mismatch(m, "the MCP-Protocol-Version header is present more than once")
	}
	if len(values) == 0 {
		return "", nil
	}
	return strings.Trim(values[0], " \t"), nil
}

// decodeHeader undoes the encoding of a mirrored value (2026-07-28, transports, value encoding): optional white space is
// no part of it (RFC 9110 §5.5), and =?base64?...?= holds standard base64 with padding. A value with only one of the two
// marks is literal.
func decodeHeader(value string) (string, bool) {
	value = strings.Trim(value, " \t")
	encoded, ok := strings.CutPrefix(value, "=?base64?")
	if !ok {
		return value, true
	}
	if encoded, ok = strings.CutSuffix(encoded, "?="); !ok {
		return value, true
	}
	text, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return "", false
	}
	return string(text), true
}

// EncodeHeader writes a value for a mirrored header: as it is when it is visible ASCII with inner spaces, else in base64.
func EncodeHeader(value string) string {
	plain := value == strings.Trim(value, " \t") && !strings.HasPrefix(value, "=?base64?")
	for i := range len(value) {
		plain = plain && value[i] >= 0x20 && value[i] <= 0x7e
	}
	if plain {
		return value
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(value)) + "?="
}
