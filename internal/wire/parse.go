package wire

import (
	"bytes"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxID     = 256 // bytes of an id, a progress token or a request id as sent, quotes included
	maxMethod = 256 // bytes of a method name
)

// ParseClient reads one message of a client, in one strict pass. The message owns body from then on. A refusal is a
// *ParseError: not JSON (duplicate names, invalid UTF-8, lone surrogates, anything behind the message, too deep, too
// many members), or JSON that is no acceptable message. Nothing is repaired.
func ParseClient(body []byte, lim Limits) (*Message, error) { return parse(body, lim, FromClient) }

// ParseServer reads one message of an upstream, as strictly as [ParseClient]. An error without an id, or with a null
// one, is accepted and has a nil ID.
func ParseServer(body []byte, lim Limits) (*Message, error) { return parse(body, lim, FromServer) }

func parse(body []byte, lim Limits, from Sides) (*Message, error) {
	lim = lim.orDefaults()
	if int64(len(body)) > lim.Bytes {
		return nil, &ParseError{Code: CodeInvalidRequest, Status: http.StatusRequestEntityTooLarge, Reason: "the message is too large"}
	}
	p := parser{scanner: scanner{b: body}}
	if reason := p.read(lim); reason != "" {
		return nil, &ParseError{CodeParse, http.StatusBadRequest, sniffID(body), reason}
	}
	m, refusal := p.message(from)
	if refusal != nil {
		refusal.Status = http.StatusBadRequest
		if refusal.Code == CodeMethodNotFound {
			refusal.Status = http.StatusNotFound
		}
		if acceptableID(p.id) {
			refusal.ID = p.id
		}
		return nil, refusal
	}
	return m, nil
}

// parser holds the members of the envelope as they were found.
type parser struct {
	scanner
	jsonrpc, id, method, params, result, problem []byte // as sent; nil when absent; problem is "error"

	fields  []field   // of params, when it is an object
	inline  [12]field // first room for fields
	array   bool      // the message is JSON, but an array
	scalar  bool      // it is neither object nor array
	unknown bool      // it has a member that is none of the envelope
}

// read takes the message apart. It returns a reason when it is not JSON as it is taken here, else "". The walk comes
// first, so that what is too much is refused before work is spent on it; what it found counts only because jsontext then
// accepts every byte.
func (p *parser) read(lim Limits) string {
	p.fields = p.inline[:0]
	whole := p.walk()
	if p.deepest > lim.Depth || p.members > lim.Members {
		return "the message is too deep or has too many members"
	}
	if !jsontext.Value(p.b).IsValid() {
		return whyInvalid(p.b)
	}
	if p.space(); !whole || p.i != len(p.b) {
		return "the message cannot be taken apart" // impossible for valid JSON
	}
	if hasNUL(p.b) {
		return "a member name holds a NUL character"
	}
	return ""
}

// walk finds the members of the message and those of params, passing over everything once.
func (p *parser) walk() bool {
	p.space()
	if p.i < len(p.b) && p.b[p.i] == '{' {
		return p.object(p.member)
	}
	p.array = p.i < len(p.b) && p.b[p.i] == '['
	p.scalar = !p.array
	_, _, ok := p.value()
	return ok
}

// member takes one member of the envelope.
func (p *parser) member(name []byte) (ok bool) {
	var value *[]byte
	switch string(unquote(name)) {
	case "jsonrpc":
		value = &p.jsonrpc
	case "id":
		value = &p.id
	case "method":
		value = &p.method
	case "params":
		return p.walkParams()
	case "result":
		value = &p.result
	case "error":
		value = &p.problem
	default:
		p.unknown = true
		_, _, ok = p.value()
		return ok
	}
	*value, _, ok = p.value()
	return ok
}

// walkParams takes the members of params, so that large arguments are passed over only once.
func (p *parser) walkParams() (ok bool) {
	p.space()
	start := p.i
	if start >= len(p.b) || p.b[start] != '{' {
		p.params, _, ok = p.value()
		return ok
	}
	ok = p.object(func(name []byte) bool {
		value, at, ok := p.value()
		p.fields = append(p.fields, field{name, value, at - start})
		return ok
	})
	p.params = p.b[start:p.i:p.i]
	return ok
}

// whyInvalid says in our own words what jsontext refused; its words would quote the message.
func whyInvalid(body []byte) string {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body))
	err := dec.SkipValue()
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "a member name appears twice"
	case err == nil:
		return "something follows the message"
	}
	return "not valid JSON in UTF-8"
}
