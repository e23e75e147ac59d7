package wire

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/sallyport-mcp/sallyport/internal/secret"
)

// ErrHandle says that a handle is not ours, belongs to somebody or something else, was changed, or has expired. It never
// says which.
var ErrHandle = errors.New("unknown handle")

// HandleKind is what a handle stands for. A handle of one kind is never accepted as another.
type HandleKind uint8

// Kinds of handle. The numbers are part of every sealed handle and never change.
const (
	Session HandleKind = iota + 1
	Cursor
	RequestState
	Task
)

// Bound is to whom and to what a handle belongs.
type Bound struct {
	Issuer, Subject string // the principal's identity
	Server          string // configured server name
	Kind            HandleKind
}

// handleVersion is the first byte of every handle.
const handleVersion = 1

// minSealKey is the least length of the key that a Sealer is made of, in bytes.
const minSealKey = 32

// expirySize is the length of the expiry in front of a sealed value: hours since 1970.
const expirySize = 4

// handleText is how handles are written: visible ASCII without padding, as session ids must be (MCP 2025-11-25,
// transports: 0x21 to 0x7E). Strict, so that each handle has one spelling.
var handleText = base64.RawURLEncoding.Strict()

// Sealer turns what an upstream hands out (session ids, cursors, states, task ids) into handles that only the same
// principal can use, on the same server, until they expire. It is immutable and safe for concurrent use.
//
// The cipher is XChaCha20-Poly1305. Its nonce is an HMAC-SHA-256 under a key of its own over everything that is sealed,
// so that equal values within the hour give equal handles (pages stay cacheable), and different ones never share a nonce.
type Sealer struct {
	aead  cipher.AEAD
	nonce []byte // key of the HMAC
}

// NewSealer derives both keys from key, which has at least 32 bytes. Handles open with every Sealer of the same key.
func NewSealer(key secret.Text) (*Sealer, error) {
	if key.Len() < minSealKey {
		return nil, fmt.Errorf("making the sealer: the key has %d bytes, at least %d are needed", key.Len(), minSealKey)
	}
	var derived [2][]byte
	for i, use := range []string{"sallyport handle seal v1", "sallyport handle nonce v1"} {
		k, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, use, chacha20poly1305.KeySize)
		if err != nil {
			return nil, fmt.Errorf("deriving the key %q: %w", use, err)
		}
		derived[i] = k
	}
	aead, err := chacha20poly1305.NewX(derived[0])
	if err != nil {
		return nil, fmt.Errorf("making the cipher: %w", err)
	}
	return &Sealer{aead: aead, nonce: derived[1]}, nil
}

// Seal returns the handle of value for b. It expires at expires, rounded up to the hour.
func (s *Sealer) Seal(b Bound, value string, expires time.Time) string {
	data := b.associated()
	plain := make([]byte, expirySize, expirySize+len(value))
	binary.BigEndian.PutUint32(plain, hours(expires))
	plain = append(plain, value...)

	mac := hmac.New(sha256.New, s.nonce)
	_, _ = mac.Write(data) // a hash never fails; data has an unambiguous end, see associated
	_, _ = mac.Write(plain)
	sum := mac.Sum(nil)

	handle := make([]byte, 1, 1+chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	handle[0] = handleVersion
	handle = append(handle, sum[:chacha20poly1305.NonceSizeX]...)
	handle = s.aead.Seal(handle, handle[1:], plain, data)
	return handleText.EncodeToString(handle)
}

// Open returns the value of a handle and when it expires, if it was sealed for b and has not expired at now. Every other
// outcome is [ErrHandle].
func (s *Sealer) Open(b Bound, handle string, now time.Time) (value string, expires time.Time, err error) {
	raw, err := handleText.DecodeString(handle)
	const head = 1 + chacha20poly1305.NonceSizeX
	if err != nil || len(raw) < head+expirySize+chacha20poly1305.Overhead || raw[0] != handleVersion || !isHandleText(handle) {
		return "", time.Time{}, ErrHandle
	}
	plain, err := s.aead.Open(nil, raw[1:head], raw[head:], b.associated())
	if err != nil || len(plain) < expirySize {
		return "", time.Time{}, ErrHandle
	}
	expires = time.Unix(int64(binary.BigEndian.Uint32(plain))*3600, 0)
	if !now.Before(expires) {
		return "", time.Time{}, ErrHandle
	}
	return string(plain[expirySize:]), expires, nil
}

// isHandleText refuses the line ends that the base64 decoder skips.
func isHandleText(handle string) bool {
	for i := range len(handle) {
		if notVisible(rune(handle[i])) {
			return false
		}
	}
	return true
}

// associated encodes b so that no two bounds give the same bytes, and none is the beginning of another: each text
// follows its length.
func (b Bound) associated() []byte {
	data := []byte{handleVersion, byte(b.Kind)}
	for _, text := range []string{b.Issuer, b.Subject, b.Server} {
		data = binary.BigEndian.AppendUint64(data, uint64(len(text)))
		data = append(data, text...)
	}
	return data
}

// hours rounds up to full hours since 1970, within what fits.
func hours(t time.Time) uint32 {
	h := t.Unix() / 3600
	if t.Unix()%3600 > 0 || t.Nanosecond() > 0 {
		h++
	}
	return uint32(min(max(h, 0), math.MaxUint32))
}
