package wire

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// scanner walks over JSON without checking it: whether the bytes are JSON is for jsontext to say, and what was found
// counts only if they are. On other bytes it stops somewhere, and never reads outside them.
type scanner struct {
	b       []byte
	i       int
	depth   int // objects and arrays that are open
	deepest int
	members int // object members and array elements so far; an empty object or array counts as one
}

// field is one member of an object: name and value as sent.
type field struct {
	name  []byte // with its quotes
	value []byte
	at    int // offset of value in the object
}

// fieldsOf calls visit for every member of object, in order, until it returns false. It reports whether the end of the
// object was reached.
func fieldsOf(object []byte, visit func(field) bool) bool {
	s := scanner{b: object}
	return s.object(func(name []byte) bool {
		value, at, ok := s.value()
		return ok && visit(field{name, value, at})
	})
}

// elementsOf calls visit for every element of array, as fieldsOf does.
func elementsOf(array []byte, visit func(value []byte) bool) bool {
	s := scanner{b: array}
	return s.list('[', ']', func() bool {
		value, _, ok := s.value()
		return ok && visit(value)
	})
}

// object walks over the object that comes next. member is called after each name and its colon, and must consume the
// value.
func (s *scanner) object(member func(name []byte) bool) bool {
	return s.list('{', '}', func() bool {
		name, _, ok := s.value()
		return ok && name[0] == '"' && s.take(':') && member(name)
	})
}

// list walks over what is between open and end and parted by commas.
func (s *scanner) list(open, end byte, item func() bool) bool {
	if !s.take(open) {
		return false
	}
	s.enter()
	for first := true; ; first = false {
		if first && s.take(end) {
			break
		}
		if !item() {
			return false
		}
		if s.take(end) {
			break
		}
		if !s.take(',') {
			return false
		}
		s.members++
	}
	s.depth--
	return true
}

func (s *scanner) enter() {
	s.members++
	s.depth++
	s.deepest = max(s.deepest, s.depth)
}

// take skips white space and then c, if it is next.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// value skips one value of any kind and returns it with its offset.
func (s *scanner) value() (raw []byte, at int, ok bool) {
	s.space()
	at = s.i
	if at >= len(s.b) {
		return nil, at, false
	}
	switch s.b[at] {
	case '"':
		ok = s.text()
	case '{', '[':
		ok = s.nested()
	default:
		ok = s.scalar()
	}
	return s.b[at:s.i:s.i], at, ok
}

// shortText is how many characters of a string are looked at one by one, which is faster for most names and values.
const shortText = 24

// text skips a string.
func (s *scanner) text() bool {
	b, start := s.b, s.i+1
	for n := 0; n < shortText && start < len(b); n++ {
		switch b[start] {
		case '"':
			s.i = start + 1
			return true
		case '\\':
			start++
		}
		start++
	}
	return s.longText(min(start, len(b)))
}

// longText skips the rest of a string; no escape is under way at start.
func (s *scanner) longText(start int) bool {
	b := s.b
	for at := start; ; {
		next := bytes.IndexByte(b[at:], '"')
		if next < 0 {
			s.i = len(b)
			return false
		}
		end := at + next
		at = end + 1
		slashes := 0
		for end-slashes > start && b[end-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			s.i = at
			return true
		}
	}
}

// scalar skips a number or a word.
func (s *scanner) scalar() bool {
	start := s.i
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r', ',', '}', ']', ':', '"', '{', '[':
			return s.i > start
		}
		s.i++
	}
	return s.i > start
}

// nested skips an object or array with everything in it. It is the only loop over large arguments, so it keeps its place
// in a local variable.
func (s *scanner) nested() bool {
	outside := s.depth
	b, i := s.b, s.i
	for i < len(b) {
		c := b[i]
		i++
		switch c {
		case '"':
			s.i = i - 1
			if !s.text() {
				return false
			}
			i = s.i
		case ',':
			s.members++
		case '{', '[':
			s.enter()
		case '}', ']':
			if s.depth--; s.depth == outside {
				s.i = i
				return true
			}
		}
	}
	s.i = i
	return false
}

// hasNUL reports whether the name of any member at any level holds U+0000, which some readers take for its end. A
// valid message can spell it in only one way.
func hasNUL(body []byte) bool {
	if !bytes.Contains(body, []byte(`\u0000`)) {
		return false
	}
	s := scanner{b: body}
	for s.i < len(body) {
		if body[s.i] != '"' {
			s.i++
			continue
		}
		start := s.i
		if !s.text() {
			return false
		}
		name := body[start:s.i]
		if s.space(); s.i < len(body) && body[s.i] == ':' && bytes.IndexByte(unquote(name), 0) >= 0 {
			return true
		}
	}
	return false
}

// unquote returns the text of a JSON string that jsontext has accepted. It aliases raw when there is nothing to undo.
func unquote(raw []byte) []byte {
	if len(raw) < 2 || raw[0] != '"' {
		return nil // no string: nothing is equal to it
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return nil
	}
	return text
}

// sniffID finds the id of a message that was refused as JSON, so that its sender can match the answer. It is nil unless
// there is exactly one member "id" before the place where the message breaks, and it is an acceptable id.
func sniffID(body []byte) jsontext.Value {
	var id jsontext.Value
	count := 0
	fieldsOf(body, func(f field) bool {
		if string(unquote(f.name)) == "id" {
			count++
			id = f.value
		}
		return true
	})
	if count != 1 || !acceptableID(id) || !id.IsValid() {
		return nil
	}
	return id
}
