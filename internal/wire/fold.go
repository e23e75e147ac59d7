package wire

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// fold maps names that some lenient reader takes for one another to the same text: letter case, compatibility forms
// (full width, long s, Kelvin sign), invisible characters, and the snake_case and kebab-case spellings that bindings
// generate. It is for comparing only.
func fold(name string) string {
	if !isASCII(name) {
		name = norm.NFKC.String(strings.Map(visible, name))
		name = norm.NFKC.String(cases.Fold().String(name))
	}
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c == '_' || c == '-' || c <= ' ':
		case c >= 'A' && c <= 'Z':
			b.WriteByte(c + ('a' - 'A'))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// visible drops runes that a reader may ignore.
func visible(r rune) rune {
	if unicode.In(r, unicode.Cf, unicode.Cc, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
		return -1
	}
	return r
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// names is a fixed set of member names, with their folded forms beside them.
type names struct {
	exact  []string
	folded []string
}

func namesOf(exact ...string) names {
	n := names{exact: exact}
	for _, name := range exact {
		n.folded = append(n.folded, fold(name))
	}
	return n
}

// lookalike reports whether name is none of the set but could be taken for one of them.
func (n names) lookalike(name string) bool {
	return !slices.Contains(n.exact, name) && slices.Contains(n.folded, fold(name))
}
