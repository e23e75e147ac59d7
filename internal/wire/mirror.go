package wire

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// headerParam is what the headers begin with that mirror arguments of a tool call.
const headerParam = "Mcp-Param-"

// maxSafe is the largest integer that every reader holds exactly.
const maxSafe = 1<<53 - 1

// Mirror says that an argument of a tool travels in a header as well (2026-07-28, transports, custom headers).
type Mirror struct {
	Header string   // canonical name with its prefix
	Path   []string // names of the properties that lead to the argument
}

// Mirrors returns what the x-mcp-header annotations of a tool's definition ask for, at any depth of properties. An
// annotation that is no text is passed over: such a tool mirrors nothing there.
func Mirrors(tool jsontext.Value) []Mirror {
	if !tool.IsValid() {
		return nil
	}
	return mirrorsIn(nil, lookup(tool, "inputSchema", "properties"), nil)
}

func mirrorsIn(all []Mirror, properties []byte, path []string) []Mirror {
	fieldsOf(properties, func(f field) bool {
		here := append(path[:len(path):len(path)], string(unquote(f.name)))
		if name := unquote(lookup(f.value, "x-mcp-header")); len(name) > 0 {
			all = append(all, Mirror{http.CanonicalHeaderKey(headerParam + string(name)), here})
		}
		all = mirrorsIn(all, lookup(f.value, "properties"), here)
		return true
	})
	return all
}

// lookup follows names through nested objects; nil when it is not there.
func lookup(object []byte, path ...string) []byte {
	for _, name := range path {
		var found []byte
		fieldsOf(object, func(f field) bool {
			if string(unquote(f.name)) == name {
				found = f.value
			}
			return found == nil
		})
		object = found
	}
	return object
}

// CheckMirrors compares every Mcp-Param header of a tool call with the argument it mirrors: present exactly once when the
// argument is there and not null, else absent; equal after decoding. A header that mirrors nothing is refused. Errors are
// *ParseError, -32020.
func CheckMirrors(h http.Header, m *Message, mirrors []Mirror) error {
	bound := make(map[string]bool, len(mirrors))
	for _, mirror := range mirrors {
		bound[mirror.Header] = true
		values := h.Values(mirror.Header)
		argument := lookup(m.Arguments, mirror.Path...)
		if argument == nil || string(argument) == "null" {
			if len(values) != 0 {
				return mismatch(m, "an Mcp-Param header mirrors an argument that is not there")
			}
			continue
		}
		if len(values) != 1 {
			return mismatch(m, "an argument needs exactly one Mcp-Param header")
		}
		if text, ok := decodeHeader(values[0]); !ok || !mirrorsValue(text, argument) {
			return mismatch(m, "an Mcp-Param header differs from its argument")
		}
	}
	for name := range h {
		if strings.HasPrefix(name, headerParam) && !bound[name] {
			return mismatch(m, "an Mcp-Param header mirrors no argument of this tool")
		}
	}
	return nil
}

// mirrorsValue reports whether text is what the header says for a string, a boolean or a safe integer. Nothing else can
// be mirrored.
func mirrorsValue(text string, argument []byte) bool {
	switch jsontext.Value(argument).Kind() {
	case '"':
		return text == string(unquote(argument))
	case 't', 'f':
		return text == string(argument)
	case '0':
		if number := jsontext.Value(text); number.Kind() != '0' || !number.IsValid() {
			return false // ParseFloat reads more than JSON has
		}
		said, err := strconv.ParseFloat(text, 64)
		meant, err2 := strconv.ParseFloat(string(argument), 64)
		return err == nil && err2 == nil && said == meant && said == math.Trunc(said) && math.Abs(said) <= maxSafe
	}
	return false
}
