package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// OriginPrefix begins the origin of every checkpoint; the writer's identifier follows: "sallyport/<writer>". The origin
// is also the name of the key.
const OriginPrefix = "sallyport/"

// Checkpoint is a signed statement that the tree of the first Size records of the log Origin has the root Root.
//
// It has two texts. Note is a signed note in the form of C2SP tlog-checkpoint: origin, size, root, an extension line
// "time <RFC 3339>", an empty line, the signature. Line is the same on one line, "origin size root time signature"
// separated by spaces, as it is printed to the process log; the note is rebuilt from it byte for byte.
type Checkpoint struct {
	Origin    string
	Size      uint64
	Root      Hash
	Time      time.Time // UTC, when it was signed
	Signature string    // base64 of key hash and signature, as in a note
}

// Errors of checkpoints, for errors.Is.
var (
	// ErrNoCheckpoint is a text that is not a checkpoint in either form.
	ErrNoCheckpoint = errors.New("not a checkpoint")
	// ErrSignature is a checkpoint that the given key did not sign.
	ErrSignature = errors.New("not signed by this key")
)

// NewSigner returns the signer of checkpoints of origin.
func NewSigner(origin string, key ed25519.PrivateKey) (note.Signer, error) {
	public, err := PublicKeyText(origin, key)
	if err != nil {
		return nil, err
	}
	hash := strings.Split(public, "+")[1]
	const ed25519Note = 1 // the algorithm byte of a note key
	seed := base64.StdEncoding.EncodeToString(append([]byte{ed25519Note}, key.Seed()...))
	signer, err := note.NewSigner("PRIVATE+KEY+" + origin + "+" + hash + "+" + seed)
	if err != nil {
		return nil, errors.New("making checkpoint signer: unusable origin or key") // the cause could quote the key
	}
	return signer, nil
}

// PublicKeyText returns the public half of key in the form of a note verifier, "origin+hash+base64".
func PublicKeyText(origin string, key ed25519.PrivateKey) (string, error) {
	if !validOrigin(origin) || len(key) != ed25519.PrivateKeySize {
		return "", fmt.Errorf("checkpoint key for %q: unusable origin or key", origin)
	}
	text, err := note.NewEd25519VerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		return "", fmt.Errorf("writing checkpoint public key: %w", err)
	}
	return text, nil
}

// ParsePublicKey reads what PublicKeyText wrote; surrounding white space is ignored.
func ParsePublicKey(text string) (note.Verifier, error) {
	v, err := note.NewVerifier(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint public key: %w", err)
	}
	if !validOrigin(v.Name()) {
		return nil, fmt.Errorf("reading checkpoint public key: name %q is not an origin", v.Name())
	}
	return v, nil
}

func validOrigin(s string) bool {
	writer, ok := strings.CutPrefix(s, OriginPrefix)
	return ok && ValidWriter(writer)
}

// ValidWriter reports whether s can identify a writer: 1 to 64 lower-case letters, digits and hyphens.
func ValidWriter(s string) bool {
	return len(s) >= 1 && len(s) <= 64 && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz-") == ""
}

// SignCheckpoint states that the tree of size records has the given root, at the time now. The origin is the signer's
// name.
func SignCheckpoint(size uint64, root Hash, now time.Time, signer note.Signer) (Checkpoint, error) {
	c := Checkpoint{Origin: signer.Name(), Size: size, Root: root, Time: now.UTC()}
	msg, err := note.Sign(&note.Note{Text: c.text()}, signer)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("signing checkpoint of %d records: %w", size, err)
	}
	msg = msg[:len(msg)-1]
	c.Signature = string(msg[strings.LastIndexByte(string(msg), ' ')+1:])
	return c, nil
}

func (c *Checkpoint) text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + c.Root.String() + "\ntime " + c.Time.UTC().Format(timeLayout) + "\n"
}

// Note returns the checkpoint as a signed note.
func (c *Checkpoint) Note() []byte {
	return []byte(c.text() + "\n— " + c.Origin + " " + c.Signature + "\n")
}

// Line returns the checkpoint on one line without a newline.
func (c *Checkpoint) Line() string {
	return strings.Join([]string{
		c.Origin, strconv.FormatUint(c.Size, 10), c.Root.String(), c.Time.UTC().Format(timeLayout), c.Signature,
	}, " ")
}

// Verify checks the signature with key. The error is ErrSignature.
func (c *Checkpoint) Verify(key note.Verifier) error {
	if _, err := note.Open(c.Note(), note.VerifierList(key)); err != nil { // also if Origin is not the key's name
		return fmt.Errorf("checkpoint of %d records: %w", c.Size, ErrSignature)
	}
	return nil
}

const (
	originForm = `(sallyport/[0-9a-z-]{1,64})`
	sizeForm   = `(0|[1-9][0-9]{0,18})`
	rootForm   = `([A-Za-z0-9+/]{43}=)`
	timeForm   = `([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z)`
	signForm   = `([A-Za-z0-9+/]{90,92}={0,2})`
)

var (
	lineForm = regexp.MustCompile(originForm + " " + sizeForm + " " + rootForm + " " + timeForm + " " + signForm)
	noteForm = regexp.MustCompile(originForm + "\n" + sizeForm + "\n" + rootForm + "\ntime " + timeForm + "\n\n— " +
		`sallyport/[0-9a-z-]{1,64} ` + signForm)
)

// FindCheckpoints returns every checkpoint that stands anywhere in text, in either form: text may be one checkpoint, a
// file of them, or a process log, as plain lines, logfmt or JSON. Signatures are not checked.
func FindCheckpoints(text []byte) []Checkpoint {
	var found []Checkpoint
	for _, form := range []*regexp.Regexp{lineForm, noteForm} {
		for _, m := range form.FindAllSubmatch(text, -1) {
			if c, err := newCheckpoint(m); err == nil {
				found = append(found, c)
			}
		}
	}
	return found
}

// ParseCheckpoint reads a text that is one checkpoint, in either form, and nothing else but white space around it.
func ParseCheckpoint(text []byte) (Checkpoint, error) {
	trimmed := []byte(strings.TrimSpace(string(text)))
	for _, form := range []*regexp.Regexp{lineForm, noteForm} {
		if m := form.FindSubmatch(trimmed); m != nil && len(m[0]) == len(trimmed) {
			return newCheckpoint(m)
		}
	}
	return Checkpoint{}, ErrNoCheckpoint
}

func newCheckpoint(m [][]byte) (Checkpoint, error) {
	size, err := strconv.ParseUint(string(m[2]), 10, 63) // tlog counts in int64
	if err != nil {
		return Checkpoint{}, ErrNoCheckpoint
	}
	root, err := tlog.ParseHash(string(m[3]))
	if err != nil {
		return Checkpoint{}, ErrNoCheckpoint
	}
	at, err := parseTime(string(m[4]))
	if err != nil {
		return Checkpoint{}, ErrNoCheckpoint
	}
	return Checkpoint{Origin: string(m[1]), Size: size, Root: root, Time: at, Signature: string(m[5])}, nil
}
