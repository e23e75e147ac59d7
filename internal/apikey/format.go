package apikey

import (
	"crypto/rand"
	"hash/crc32"
	"math/big"
	"strings"

	"github.com/sallyport-mcp/sallyport/internal/secret"
)

// A key reads sp_<id>_<secret><checksum>: 12 characters of id (60 bits, public), 43 of secret (256 bits in base 62) and 6
// of checksum (CRC-32 of all before it, in base 62). The checksum lets a typo or a secret scanner's find be told without
// asking anybody; it protects nothing.
const (
	// Prefix starts every key and no other credential of ours.
	Prefix = "sp_"

	idLen       = 12
	secretLen   = 43
	checksumLen = 6
	textLen     = len(Prefix) + idLen + 1 + secretLen + checksumLen

	idDigits = "abcdefghijklmnopqrstuvwxyz234567"
	base62   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// mint makes a new key and its id.
func mint() (id string, text secret.Text) {
	var random [idLen + 32]byte
	_, _ = rand.Read(random[:]) // never fails: the program ends when the system has no randomness
	var b strings.Builder
	b.WriteString(Prefix)
	for _, c := range random[:idLen] {
		b.WriteByte(idDigits[c%32])
	}
	id = b.String()[len(Prefix):]
	b.WriteByte('_')
	b.WriteString(inBase62(new(big.Int).SetBytes(random[idLen:]), secretLen))
	sum := checksum(b.String())
	b.Write(sum[:])
	return id, secret.New(b.String())
}

// ParseID returns the public id of a well-formed key. It says nothing about whether the key exists.
func ParseID(key string) (id string, ok bool) {
	if len(key) != textLen || key[:len(Prefix)] != Prefix || key[len(Prefix)+idLen] != '_' {
		return "", false
	}
	id = key[len(Prefix) : len(Prefix)+idLen]
	body, sum := key[:textLen-checksumLen], key[textLen-checksumLen:]
	if !only(id, false, '2', '7') || !only(body[len(Prefix)+idLen+1:], true, '0', '9') {
		return "", false
	}
	if want := checksum(body); string(want[:]) != sum {
		return "", false
	}
	return id, true
}

// only reports whether s consists of lower-case letters, upper-case ones where upper says so, and digits from first to
// last.
func only(s string, upper bool, first, last byte) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= first && c <= last || upper && c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return true
}

// checksum returns the last digits of a key. It is written out, since hash/crc32 takes bytes, which would be a copy of
// every key on the heap.
func checksum(body string) [checksumLen]byte {
	crc := ^uint32(0)
	for i := range len(body) {
		crc = crc32.IEEETable[byte(crc)^body[i]] ^ crc>>8
	}
	var digits [checksumLen]byte
	n := ^crc
	for i := checksumLen - 1; i >= 0; i-- {
		digits[i] = base62[n%62]
		n /= 62
	}
	return digits
}

// inBase62 writes n with exactly width digits; n must fit.
func inBase62(n *big.Int, width int) string {
	digits, base, digit := make([]byte, width), big.NewInt(62), new(big.Int)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		digits[i] = base62[digit.Int64()]
	}
	return string(digits)
}
