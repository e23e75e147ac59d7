package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Lengths in bytes of text after invalid UTF-8 was replaced and before escaping.
const (
	maxText  = 1024 // every string without a narrower bound
	maxShort = 256  // tool, method, user agent, names of details
	maxWord  = 64   // kind, outcome

	// MaxDetails is how many details a record keeps. Of a longer list the first MaxDetails-1 are kept and a last one
	// named "left_out" counts the rest.
	MaxDetails = 64

	// MaxLine is longer than any line of a log, the newline included: the bounds above with every character escaped.
	MaxLine = 1 << 20
)

// appendText appends s as a JSON string. Text longer than max bytes is cut so that with its suffix
// "…[sha256:<first 16 hex digits> len:<bytes>]" (of the whole original) it is at most max bytes: cutting twice changes
// nothing. The suffix is a convention for readers: text from outside can imitate it, so it proves nothing.
func appendText(dst []byte, s string, max int) []byte {
	dst = append(dst, '"')
	if len(s) <= max && plain(s) {
		dst = append(dst, s...)
	} else if fits(s, max) {
		dst = appendEscaped(dst, s, max)
	} else {
		var room [64]byte
		suffix := appendSuffix(room[:0], s)
		dst = appendEscaped(dst, s, max-len(suffix))
		dst = append(dst, suffix...)
	}
	return append(dst, '"')
}

// plain reports whether s is printable ASCII that needs no escape.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// fits reports whether s is at most max bytes long once invalid UTF-8 is replaced.
func fits(s string, max int) bool {
	n := 0
	for _, r := range s {
		if n += utf8.RuneLen(r); n > max {
			return false
		}
	}
	return true
}

func appendSuffix(dst []byte, s string) []byte {
	sum := sha256.Sum256([]byte(s))
	dst = append(dst, "…[sha256:"...)
	dst = hex.AppendEncode(dst, sum[:8])
	dst = append(dst, " len:"...)
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	return append(dst, ']')
}

// appendEscaped appends as many whole characters of s as fit into max bytes before escaping.
func appendEscaped(dst []byte, s string, max int) []byte {
	n := 0
	for _, r := range s { // invalid bytes come as U+FFFD
		if n += utf8.RuneLen(r); n > max {
			break
		}
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case hidden(r):
			dst = appendUnicodeEscape(dst, r)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// hidden reports whether r must not reach a terminal or a line reader as it is: control characters (ANSI sequences
// begin with one), line and paragraph separators, format characters (bidirectional controls, zero-width characters,
// tags) and variation selectors, which can carry hidden text.
func hidden(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return true
	case r < 0xad:
		return false
	case r == 0x2028, r == 0x2029, r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0100 && r <= 0xe01ef:
		return true
	}
	return unicode.Is(unicode.Cf, r)
}

func appendUnicodeEscape(dst []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		dst = appendUnicodeEscape(dst, 0xd800+r>>10)
		r = 0xdc00 + r&0x3ff
	}
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// Printable returns s as it may be shown on a terminal: what a record escapes is escaped in the same way, quotes and
// backslashes stay. A decoded Event holds the original characters, so whoever prints its fields uses this.
func Printable(s string) string {
	dst := make([]byte, 0, len(s))
	for _, r := range s {
		if hidden(r) {
			dst = appendUnicodeEscape(dst, r)
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return string(dst)
}
