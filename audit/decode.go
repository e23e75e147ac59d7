package audit

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Decode reads one line of a log, with or without the members seq and prev in front and without its newline. It accepts
// only the form AppendJSON writes: members in their order, none twice, none unknown, no white space, no trailing data,
// no lone surrogates, no invalid UTF-8. Seq is set if the line has one; prev is checked for its form only (Chain
// checks what it says).
func Decode(line []byte) (Event, error) {
	p := parser{rest: line}
	var e Event
	if bytes.HasPrefix(line, []byte(seqPrefix)) {
		seq, _, n, err := parseHead(line)
		if err != nil {
			return Event{}, fmt.Errorf("decoding audit record: %w", err)
		}
		e.Seq, p.rest = seq, line[n:]
	} else {
		p.want("{")
	}
	p.event(&e)
	if p.want(""); p.err == nil && len(p.rest) > 0 {
		p.fail("trailing data")
	}
	if p.err != nil {
		return Event{}, fmt.Errorf("decoding audit record at byte %d: %w", len(line)-len(p.rest), p.err)
	}
	return e, nil
}

// parser holds the first error; after it every method does nothing.
type parser struct {
	rest []byte
	err  error
}

func (p *parser) event(e *Event) {
	p.want(`"time":`)
	e.Time = p.time()
	p.want(`,"kind":`)
	e.Kind = Kind(p.text())
	if p.err == nil && e.Kind == "" {
		p.fail("empty kind")
	}
	e.Outcome = Outcome(p.member(`,"outcome":`))
	p.identity(&e.Principal)
	e.Claimed = p.member(`,"claimed":`)
	e.Credential = p.member(`,"credential":`)
	e.Client = p.member(`,"client":`)
	p.ip(&e.IP)
	e.UserAgent = p.member(`,"user_agent":`)
	e.Session = p.member(`,"session":`)
	e.Server = p.member(`,"server":`)
	e.Method = p.member(`,"method":`)
	e.Tool = p.member(`,"tool":`)
	e.Permission = p.member(`,"permission":`)
	e.Rule = p.member(`,"rule":`)
	e.Reason = p.member(`,"reason":`)
	if p.has(`,"ref":`) {
		e.Ref = p.uint()
	}
	e.Status = int(p.int(`,"status":`, strconv.IntSize))
	p.duration(&e.Duration)
	e.BytesIn = p.int(`,"bytes_in":`, 64)
	e.BytesOut = p.int(`,"bytes_out":`, 64)
	e.Count = int(p.int(`,"count":`, strconv.IntSize))
	if p.has(`,"first":`) {
		e.First = p.time()
	}
	e.Repeat = p.has(`,"repeat":true`)
	p.details(&e.Details)
	p.want("}")
}

func (p *parser) fail(reason string) {
	if p.err == nil {
		p.err = errors.New(reason)
	}
}

// has takes text if it comes next and reports whether it did.
func (p *parser) has(text string) bool {
	if p.err != nil || len(p.rest) < len(text) || string(p.rest[:len(text)]) != text {
		return false
	}
	p.rest = p.rest[len(text):]
	return true
}

func (p *parser) want(text string) {
	if !p.has(text) {
		p.fail("expected " + strconv.Quote(text))
	}
}

// member reads an optional string member. One that is there and empty is refused: it would not be written.
func (p *parser) member(name string) string {
	if !p.has(name) {
		return ""
	}
	s := p.text()
	if s == "" {
		p.fail("empty member")
	}
	return s
}

// text reads a JSON string.
func (p *parser) text() string {
	if p.err != nil {
		return ""
	}
	end, escaped := stringEnd(p.rest)
	if end < 0 {
		p.fail("expected a string")
		return ""
	}
	raw := p.rest[:end]
	p.rest = p.rest[end:]
	if !escaped && utf8.Valid(raw) {
		return string(raw[1 : end-1])
	}
	s, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		p.fail("malformed string")
		return ""
	}
	return string(s)
}

// stringEnd returns the length of the JSON string b begins with, -1 if there is none, and whether it holds an escape.
// Characters that a record always escapes are refused here when they are ASCII.
func stringEnd(b []byte) (end int, escaped bool) {
	if len(b) == 0 || b[0] != '"' {
		return -1, false
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			escaped = true
			i++
		case c < 0x20 || c == 0x7f:
			return -1, false
		}
	}
	return -1, false
}

func (p *parser) time() time.Time {
	s := p.text()
	if p.err != nil {
		return time.Time{}
	}
	t, err := parseTime(s)
	if err != nil {
		p.fail("malformed time")
	}
	return t
}

func parseTime(s string) (time.Time, error) {
	if len(s) != len(timeLayout) {
		return time.Time{}, errors.New("malformed time")
	}
	return time.Parse(timeLayout, s)
}

func (p *parser) digits() string {
	n := 0
	if n < len(p.rest) && p.rest[n] == '-' {
		n++
	}
	for n < len(p.rest) && p.rest[n] >= '0' && p.rest[n] <= '9' {
		n++
	}
	s := string(p.rest[:n])
	p.rest = p.rest[n:]
	return s
}

// int reads an optional integer member. Zero, leading zeros and what does not fit are refused.
func (p *parser) int(name string, bits int) int64 {
	if !p.has(name) {
		return 0
	}
	s := p.digits()
	v, err := strconv.ParseInt(s, 10, bits)
	if err != nil || v == 0 || strconv.FormatInt(v, 10) != s {
		p.fail("malformed integer")
	}
	return v
}

func (p *parser) uint() uint64 {
	s := p.digits()
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v == 0 || strconv.FormatUint(v, 10) != s {
		p.fail("malformed integer")
	}
	return v
}

func (p *parser) duration(d *time.Duration) {
	us := p.int(`,"duration_us":`, 64)
	*d = time.Duration(us) * time.Microsecond
	if p.err == nil && d.Microseconds() != us {
		p.fail("duration out of range")
	}
}

func (p *parser) ip(ip *netip.Addr) {
	if !p.has(`,"ip":`) {
		return
	}
	addr, err := netip.ParseAddr(p.text())
	if err != nil || addr.Zone() != "" {
		p.fail("malformed address")
		return
	}
	*ip = addr
}

func (p *parser) identity(id *Identity) {
	if !p.has(`,"principal":{`) {
		return
	}
	read := func(name string) string {
		if *id != (Identity{}) {
			name = "," + name
		}
		return p.member(name)
	}
	id.Issuer = read(`"iss":`)
	id.Subject = read(`"sub":`)
	id.Name = read(`"name":`)
	if *id == (Identity{}) {
		p.fail("empty principal")
	}
	p.want("}")
}

func (p *parser) details(details *[]Detail) {
	if !p.has(`,"details":[`) {
		return
	}
	for p.err == nil {
		var d Detail
		p.want(`{"name":`)
		d.Name = p.text()
		p.want(`,"value":`)
		d.Value = p.text()
		p.want("}")
		*details = append(*details, d)
		if len(*details) > MaxDetails {
			p.fail("too many details")
		}
		if !p.has(",") {
			break
		}
	}
	p.want("]")
}
