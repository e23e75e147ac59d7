package wire

import (
	"bytes"
	"errors"
	"io"
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
	if !within(body, lim) {
		return nil, &ParseError{CodeParse, http.StatusBadRequest, sniffID(body), "the message is too deep or has too many members"}
	}
	var p parser
	if reason := p.read(body); reason != "" {
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

// parser holds the members of the envelope as they were read.
type parser struct {
	body []byte
	dec  *jsontext.Decoder

	jsonrpc, id, method, params, result, problem []byte // as sent; nil when absent; problem is "error"

	fields  []field   // of params, when it is an object
	inline  [12]field // first room for fields
	notMap  bool      // the message is JSON, but no object
	batch   bool      // it is an array
	unknown bool      // it has a member that is none of the envelope
}

// read takes the message apart. It returns a reason when it is not JSON as it is taken here, else "".
func (p *parser) read(body []byte) string {
	p.body, p.fields = body, p.inline[:0]
	p.dec = jsontext.NewDecoder(bytes.NewBuffer(body))
	var err error
	switch p.dec.PeekKind() {
	case '{':
		err = p.envelope()
	case '[':
		p.notMap, p.batch = true, true
		err = p.dec.SkipValue()
	default:
		p.notMap = true
		err = p.dec.SkipValue()
	}
	if err == nil {
		if _, err = p.dec.ReadToken(); err == io.EOF {
			if hasNUL(body) {
				return "a member name holds a NUL character"
			}
			return ""
		}
		return "something follows the message"
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return "a member name appears twice"
	}
	return "not valid JSON in UTF-8"
}

// envelope reads the members of the message.
func (p *parser) envelope() error {
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	for p.dec.PeekKind() == '"' {
		name, _, err := p.value()
		if err == nil {
			err = p.member(name)
		}
		if err != nil {
			return err
		}
	}
	_, err := p.dec.ReadToken() // its end, or what is wrong instead
	return err
}

// value reads the value that comes next, as a slice of the body, and its offset there.
func (p *parser) value() (raw []byte, at int, err error) {
	v, err := p.dec.ReadValue()
	if err != nil {
		return nil, 0, err
	}
	end := int(p.dec.InputOffset())
	at = end - len(v)
	return p.body[at:end:end], at, nil
}

// member reads one member of the envelope.
func (p *parser) member(name []byte) (err error) {
	var value *[]byte
	switch string(unquote(name)) {
	case "jsonrpc":
		value = &p.jsonrpc
	case "id":
		value = &p.id
	case "method":
		value = &p.method
	case "params":
		return p.readParams()
	case "result":
		value = &p.result
	case "error":
		value = &p.problem
	default:
		p.unknown = true
		return p.dec.SkipValue()
	}
	*value, _, err = p.value()
	return err
}

// readParams reads params member by member, so that large arguments are passed over only once.
func (p *parser) readParams() (err error) {
	if p.dec.PeekKind() != '{' {
		p.params, _, err = p.value()
		return err
	}
	if _, err = p.dec.ReadToken(); err != nil {
		return err
	}
	start := int(p.dec.InputOffset()) - 1
	for p.dec.PeekKind() == '"' {
		name, _, err := p.value()
		if err != nil {
			return err
		}
		value, at, err := p.value()
		if err != nil {
			return err
		}
		p.fields = append(p.fields, field{name, value, at - start})
	}
	if _, err = p.dec.ReadToken(); err != nil {
		return err
	}
	end := int(p.dec.InputOffset())
	p.params = p.body[start:end:end]
	return nil
}
