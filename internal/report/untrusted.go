package report

import (
	"strconv"
	"strings"
	"unicode"
)

// maxText is how many characters of a text are shown.
const maxText = 128

// Mark returns text that a caller chose in the form in which reports show it.
func Mark(s string) Untrusted { return Untrusted{Text: escape(s, maxText)} }

// escape cuts s to max characters, and writes control characters, invisible ones and those that change the direction
// of text as Go escapes. What is left cannot move a cursor, start a line or hide between letters.
func escape(s string, max int) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		c := ""
		if visible(r) && !invalid(s[i:], r) {
			c = string(r)
		} else {
			c = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if n += len([]rune(c)); n > max {
			return cutTo(b.String(), max-3) + "..."
		}
		b.WriteString(c)
	}
	return b.String()
}

// visible reports whether a character shows as itself.
func visible(r rune) bool {
	if r == ' ' {
		return true
	}
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && r != '\u2800'
}

// invalid reports whether r stands for a byte at the start of s that is not UTF-8.
func invalid(s string, r rune) bool {
	return r == unicode.ReplacementChar && !strings.HasPrefix(s, string(unicode.ReplacementChar))
}

// cutTo returns the first n characters of s.
func cutTo(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
