package wire_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/internal/wire"
)

var (
	sealNow = time.Date(2026, 11, 22, 10, 20, 30, 0, time.UTC)
	owner   = wire.Bound{Issuer: "https://issuer.example", Subject: "alice", Server: "files", Kind: wire.Session}
)

func sealer(t testing.TB, key string) *wire.Sealer {
	t.Helper()
	s, err := wire.NewSealer(secret.New(key))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealOpens(t *testing.T) {
	s := sealer(t, strings.Repeat("k", 32))
	for _, value := range []string{"", "x", "session-1", "\x00\xff\n", strings.Repeat("v", 10_000)} {
		handle := s.Seal(owner, value, sealNow.Add(time.Minute))
		if strings.ContainsFunc(handle, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			t.Errorf("handle is not visible ASCII: %q", handle)
		}
		if len(value) > 4 && strings.Contains(handle, value) {
			t.Errorf("handle shows the value")
		}
		got, expires, err := sealer(t, strings.Repeat("k", 32)).Open(owner, handle, sealNow)
		if err != nil || got != value {
			t.Errorf("got %q, %v", got, err)
		}
		if want := sealNow.Truncate(time.Hour).Add(time.Hour); !expires.Equal(want) {
			t.Errorf("expires %v, want %v", expires, want)
		}
	}
}

func TestSealExpiry(t *testing.T) {
	s := sealer(t, strings.Repeat("k", 32))
	hour := sealNow.Truncate(time.Hour).Add(time.Hour)
	first := s.Seal(owner, "v", sealNow)
	if again := s.Seal(owner, "v", hour.Add(-time.Nanosecond)); again != first {
		t.Error("equal values within the hour give different handles")
	}
	if exact := s.Seal(owner, "v", hour); exact != first {
		t.Error("a full hour is rounded up")
	}
	if later := s.Seal(owner, "v", hour.Add(time.Nanosecond)); later == first {
		t.Error("the next hour gives the same handle")
	}
	if _, _, err := s.Open(owner, first, hour.Add(-time.Nanosecond)); err != nil {
		t.Errorf("not yet expired: %v", err)
	}
	if _, _, err := s.Open(owner, first, hour); !errors.Is(err, wire.ErrHandle) {
		t.Errorf("expired: %v", err)
	}
	if _, _, err := s.Open(owner, s.Seal(owner, "v", time.Time{}), sealNow); !errors.Is(err, wire.ErrHandle) {
		t.Errorf("no expiry at all: %v", err)
	}
}

func TestSealRefusesForeignHandles(t *testing.T) {
	s := sealer(t, strings.Repeat("k", 32))
	handle := s.Seal(owner, "v", sealNow.Add(time.Hour))
	for name, change := range map[string]func(*wire.Bound){
		"issuer": func(b *wire.Bound) { b.Issuer = "https://other.example" }, "subject": func(b *wire.Bound) { b.Subject = "bob" },
		"server": func(b *wire.Bound) { b.Server = "mail" }, "kind": func(b *wire.Bound) { b.Kind = wire.Cursor },
		"shifted": func(b *wire.Bound) { b.Issuer += b.Subject[:1]; b.Subject = b.Subject[1:] }, "swapped": func(b *wire.Bound) { b.Issuer, b.Subject = b.Subject, b.Issuer },
		"merged": func(b *wire.Bound) { b.Subject += b.Server; b.Server = "" }, "empty": func(b *wire.Bound) { *b = wire.Bound{} },
	} {
		other := owner
		change(&other)
		if got, _, err := s.Open(other, handle, sealNow); !errors.Is(err, wire.ErrHandle) || got != "" {
			t.Errorf("%s: opened as %q", name, got)
		}
		if s.Seal(other, "v", sealNow.Add(time.Hour)) == handle {
			t.Errorf("%s: sealed alike", name)
		}
	}
	if _, _, err := sealer(t, strings.Repeat("q", 32)).Open(owner, handle, sealNow); !errors.Is(err, wire.ErrHandle) {
		t.Error("another key opened it")
	}
}

// Two different things sealed under one nonce would show their difference.
func TestSealNeverSharesANonce(t *testing.T) {
	s := sealer(t, strings.Repeat("k", 32))
	bob, mail, cursor := owner, owner, owner
	bob.Subject, mail.Server, cursor.Kind = "bob", "mail", wire.Cursor
	seen := map[string]string{}
	for name, handle := range map[string]string{
		"value": s.Seal(owner, "v", sealNow), "other value": s.Seal(owner, "w", sealNow), "empty": s.Seal(owner, "", sealNow), "later": s.Seal(owner, "v", sealNow.Add(time.Hour)),
		"subject": s.Seal(bob, "v", sealNow), "server": s.Seal(mail, "v", sealNow), "kind": s.Seal(cursor, "v", sealNow),
	} {
		raw, err := base64.RawURLEncoding.DecodeString(handle)
		if err != nil {
			t.Fatal(err)
		}
		nonce := string(raw[1:25])
		if other, ok := seen[nonce]; ok {
			t.Errorf("%s and %s share a nonce", name, other)
		}
		seen[nonce] = name
	}
}

func TestSealRefusesChangedHandles(t *testing.T) {
	s := sealer(t, strings.Repeat("k", 32))
	handle := s.Seal(owner, "value", sealNow.Add(time.Hour))
	raw, err := base64.RawURLEncoding.DecodeString(handle)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(raw) * 8 {
		raw[bit/8] ^= 1 << (bit % 8)
		if _, _, err := s.Open(owner, base64.RawURLEncoding.EncodeToString(raw), sealNow); !errors.Is(err, wire.ErrHandle) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
		raw[bit/8] ^= 1 << (bit % 8)
	}
	for _, bad := range []string{"", "x", handle[:len(handle)-1], handle + "A", handle + "=", handle[:10] + "\n" + handle[10:], " " + handle, handle + "\r\n", strings.ToLower(handle), "session-1", strings.Repeat("A", 100)} {
		if got, _, err := s.Open(owner, bad, sealNow); !errors.Is(err, wire.ErrHandle) {
			t.Errorf("%q opened as %q", bad, got)
		}
	}
}

// Every spelling but one must be refused: a deleted session is remembered by its handle.
func TestSealHandlesHaveOneSpelling(t *testing.T) {
	s := sealer(t, strings.Repeat("k", 32))
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, value := range []string{"", "1", "12", "123"} {
		handle := s.Seal(owner, value, sealNow.Add(time.Hour))
		opened := 0
		for _, c := range letters {
			if _, _, err := s.Open(owner, handle[:len(handle)-1]+string(c), sealNow); err == nil {
				opened++
			}
		}
		if opened != 1 {
			t.Errorf("%d spellings of the last character open", opened)
		}
	}
}

func TestNewSealerRefusesShortKeys(t *testing.T) {
	for _, n := range []int{0, 16, 31} {
		if _, err := wire.NewSealer(secret.New(strings.Repeat("k", n))); err == nil {
			t.Errorf("%d bytes accepted", n)
		}
	}
}
