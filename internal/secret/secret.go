// Package secret holds values that must never be printed: keys, tokens and passwords.
//
// For most uses, wrap the value with [New] as soon as it is read and call [Text.Reveal] only where the bytes are
// needed. The one invariant: no fmt verb, slog handler or JSON encoder shows a byte of the value.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
)

const redacted = "[secret]"

// Text is a secret string. The zero value is the empty secret. It is immutable and safe for concurrent use.
type Text struct{ value string }

// New wraps value.
func New(value string) Text { return Text{value: value} }

// Reveal returns the value itself. The caller must not log, record or print it.
func (t Text) Reveal() string { return t.value }

// Len returns the length of the value in bytes.
func (t Text) Len() int { return len(t.value) }

// IsZero reports whether the secret is empty.
func (t Text) IsZero() bool { return t.value == "" }

// Equal compares two secrets in constant time over their hashes, so that neither content nor length leaks.
func (t Text) Equal(other Text) bool {
	a, b := sha256.Sum256([]byte(t.value)), sha256.Sum256([]byte(other.value))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String returns a fixed placeholder.
func (t Text) String() string { return redacted }

// GoString returns a fixed placeholder.
func (t Text) GoString() string { return redacted }

// Format writes a fixed placeholder whatever the verb.
func (t Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) } // a fmt.State never fails

// LogValue returns a fixed placeholder.
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a fixed placeholder.
func (t Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }
