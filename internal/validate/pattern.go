package validate

import (
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// pattern is a regular expression of a schema. JSON Schema means ECMA-262; Go's engine has no look-around and no
// back-references, and in return never takes more than length times states. A pattern beyond it, or beyond the
// budgets, is kept without a matcher: the walk refuses each value it would have to be asked about.
type pattern struct {
	source string
	re     *regexp.Regexp // nil: cannot be checked
	states int64
}

// String returns the expression.
func (p *pattern) String() string { return p.source }

// MatchString reports whether s contains a match. Without a matcher it is never asked, because the walk refused s.
func (p *pattern) MatchString(s string) bool { return p.re != nil && p.re.MatchString(s) }

// cost returns what matching n bytes costs, in steps.
func (p *pattern) cost(n int) int64 { return 1 + int64(n)*p.states/20 }

// patterns compiles the patterns of one schema, each once.
type patterns struct {
	known  map[string]*pattern
	states int64
	sealed bool // the schema is compiled: from now on only read, by many goroutines
}

// compile is the compiler's regular expression engine. It never fails for a schema: see pattern. Once the schema is
// compiled it is asked about arguments that must be regular expressions themselves, and then it does.
func (ps *patterns) compile(source string) (jsonschema.Regexp, error) {
	if ps.sealed {
		_, err := syntax.Parse(source, syntax.Perl)
		return nil, err
	}
	if p := ps.known[source]; p != nil {
		return p, nil
	}
	p := &pattern{source: source}
	ps.known[source] = p
	if len(source) > maxPattern {
		return p, nil
	}
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return p, nil // not an error of the schema: the pattern stays without a matcher
	}
	p.states = states(tree)
	if p.states > maxStates || ps.states+p.states > maxStatesAll {
		return p, nil
	}
	ps.states += p.states
	p.re, _ = regexp.Compile(source) // parsed above; nil means that it cannot be checked
	return p, nil
}

// states estimates the size of the automaton, repetitions written out. It saturates far above every budget.
func states(e *syntax.Regexp) int64 {
	const enough = 1 << 32
	n := int64(1 + len(e.Rune)/2)
	for _, sub := range e.Sub {
		n += states(sub)
	}
	if e.Op == syntax.OpRepeat {
		n *= int64(max(e.Min, e.Max, 1))
	}
	return min(n, enough)
}

// numberCost returns what computing with a number costs, in steps; a text of a few bytes can stand for many digits.
func numberCost(s string) int64 {
	size := len(s)
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, _ := strconv.Atoi(s[i+1:]) // smallNumber has read it
		size += max(e, -e)
	}
	return int64(size) / 8
}

// smallNumber reports whether a JSON number can be computed with exactly at little cost. A short text can stand for a
// number of a million digits.
func smallNumber(s string) bool {
	if len(s) > maxDigits {
		return false
	}
	i := strings.IndexAny(s, "eE")
	if i < 0 {
		return true
	}
	e, err := strconv.Atoi(s[i+1:])
	return err == nil && e <= maxExponent && e >= -maxExponent
}
