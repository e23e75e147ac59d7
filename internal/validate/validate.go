// Package validate checks the arguments of a tool call against the definition its server advertised. For most uses make
// one Catalogue, let it Learn what each upstream lists, and Check every call.
//
// It does not decide who may call (policy does), and repairs nothing: arguments are accepted as they are or refused.
// Definitions come from upstreams and arguments from clients, so both are hostile here: no reference is fetched, and
// what compiling or checking would cost is known, and bounded, before it is spent.
//
// Its invariant: what Check accepts, a plain JSON Schema validator accepts.
package validate

import (
	"unicode/utf8"
)

// Problem is why arguments were refused, in words that may be told to the caller: it names what the schema expects and
// never quotes what was sent, except for member names in the pointer.
type Problem struct {
	Pointer string // RFC 6901, to the first offending value in the order of the document; "" is the arguments as a whole
	Message string // keyword and expectation, at most 256 bytes
	Place   string // Pointer for records: member names that the schema does not declare, which a caller chose, are "*"
}

// Error returns pointer and message, so that a Problem can be logged like an error.
func (p *Problem) Error() string {
	if p.Pointer == "" {
		return p.Message
	}
	return p.Pointer + ": " + p.Message
}

// maxMessage bounds both texts of a Problem, in bytes.
const maxMessage = 256

// Limits bound the arguments of one call. A zero field means its default.
type Limits struct {
	Size   int // bytes of the arguments; default 4 MiB
	Depth  int // nesting; default 64
	Values int // values in all, members and elements counted alike; default 100,000
	Work   int // steps of checking, about 0.1 microseconds each, beyond 100 for each value; default 500,000
}

// filled returns l with the defaults filled in.
func (l Limits) filled() Limits {
	for _, row := range []struct {
		field *int
		value int
	}{{&l.Size, 4 << 20}, {&l.Depth, 64}, {&l.Values, 100_000}, {&l.Work, 500_000}} {
		if *row.field <= 0 {
			*row.field = row.value
		}
	}
	return l
}

// Budgets of one advertised schema. One that exceeds them is not used: every call of its tool is refused.
const (
	maxSchema     = 256 << 10 // bytes
	maxDepth      = 64        // nesting
	maxObjects    = 2000      // objects, so subschemas
	maxPath       = 2048      // bytes of the longest pointer into the schema
	maxReach      = 50_000    // pairs of subschemas of which one applies another to the same value
	maxPattern    = 4096      // bytes of one pattern
	maxStates     = 2000      // states of one pattern's automaton
	maxStatesAll  = 20_000    // and of all patterns of a schema
	maxDigits     = 1024      // bytes of a number, in schemas and in arguments
	maxExponent   = 400       // of a number, either sign; a double ends at 308
	maxTools      = 10_000    // of one server
	maxCatalogued = 32 << 20  // bytes of all schemas of one server
)

// cut shortens s to max bytes, at a character.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	const more = "..."
	end := max - len(more)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + more
}

// problem makes a Problem of bounded size. A pointer that is too long is cut to the innermost parent that fits.
func problem(pointer, message string) *Problem {
	for len(pointer) > maxMessage {
		i := len(pointer) - 1
		for i > 0 && pointer[i] != '/' {
			i--
		}
		pointer = pointer[:i]
	}
	return &Problem{Pointer: pointer, Message: cut(message, maxMessage)}
}
