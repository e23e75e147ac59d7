package wire

import (
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
	return string(appendFolded(make([]byte, 0, len(name)), name))
}

// appendFolded appends name in lower case without separators. What is not ASCII stays as it is.
func appendFolded(dst []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case c == '_' || c == '-' || c <= ' ':
		case c >= 'A' && c <= 'Z':
			dst = append(dst, c+('a'-'A'))
		default:
			dst = append(dst, c)
		}
	}
	return dst
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
func (n names) lookalike(name []byte) bool {
	for _, exact := range n.exact {
		if string(name) == exact {
			return false
		}
	}
	var short [64]byte
	folded := short[:0]
	if text := string(name); isASCII(text) {
		folded = appendFolded(folded, text)
	} else {
		folded = append(folded, fold(text)...)
	}
	for _, known := range n.folded {
		if string(folded) == known {
			return true
		}
	}
	return false
}
