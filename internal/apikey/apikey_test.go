package apikey_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/memstore"
	"github.com/sallyport-mcp/sallyport/internal/secret"
)

var errDisk = errors.New("disk full")

// store fails as it is told to, before or after having done the work.
type store struct {
	*memstore.Store
	before, after atomic.Bool
	touched       atomic.Int64
}

func (s *store) around(act func() error) error {
	if s.before.Load() {
		return errDisk
	}
	if err := act(); err != nil {
		return err
	}
	if s.after.Load() {
		return errDisk
	}
	return nil
}

func (s *store) CreateKey(ctx context.Context, r apikey.Record) error {
	return s.around(func() error { return s.Store.CreateKey(ctx, r) })
}

func (s *store) RevokeKey(ctx context.Context, id string, at time.Time) (did bool, err error) {
	err = s.around(func() (err error) { did, err = s.Store.RevokeKey(ctx, id, at); return err })
	return did, err
}

func (s *store) TouchKey(ctx context.Context, id string, at time.Time) error {
	s.touched.Add(1)
	return s.around(func() error { return s.Store.TouchKey(ctx, id, at) })
}

var (
	start   = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	address = netip.MustParseAddr("192.0.2.7")
)

func service(t testing.TB, s apikey.Store) *apikey.Service {
	t.Helper()
	keys, err := apikey.New(t.Context(), apikey.Config{
		Store: s, Now: func() time.Time { return start },
		Roles:  func(name string) bool { return name == "user" || name == "admin" },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	return keys
}

func create(t testing.TB, keys *apikey.Service, spec apikey.Spec) (secret.Text, apikey.Record) {
	t.Helper()
	if spec.Name == "" {
		spec.Name = "ci"
	}
	if spec.Roles == nil {
		spec.Roles = []string{"user"}
	}
	text, r, err := keys.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return text, r
}

func check(t *testing.T, keys *apikey.Service, text secret.Text, from netip.Addr, now time.Time, want error) {
	t.Helper()
	r, err := keys.Check(t.Context(), text, from, now)
	if !errors.Is(err, want) {
		t.Errorf("Check = %v, want %v", err, want)
	}
	if ok := keys.Peek(text, from, now); ok != (want == nil) {
		t.Errorf("Peek = %v beside Check = %v", ok, err)
	}
	genuine := want == nil || want == apikey.ErrRevoked || want == apikey.ErrExpired || want == apikey.ErrNetwork
	if (r.ID != "") != genuine {
		t.Errorf("Check gave the record %q beside %v", r.ID, err)
	}
}

func TestFormat(t *testing.T) {
	keys := service(t, memstore.New())
	seen := map[string]bool{}
	for range 200 {
		text, r := create(t, keys, apikey.Spec{})
		if !regexp.MustCompile(`^sp_[a-z2-7]{12}_[0-9A-Za-z]{49}$`).MatchString(text.Reveal()) {
			t.Fatalf("a key of %d characters has another form", text.Len())
		}
		if id, ok := apikey.ParseID(text.Reveal()); !ok || id != r.ID {
			t.Fatalf("ParseID = %q, %v; want %q", id, ok, r.ID)
		}
		if seen[text.Reveal()] || seen[r.ID] {
			t.Fatal("a key or id was made twice")
		}
		seen[text.Reveal()], seen[r.ID] = true, true
	}
}

func TestCheck(t *testing.T) {
	keys := service(t, memstore.New())
	text, r := create(t, keys, apikey.Spec{TTL: time.Hour, Networks: []string{"192.0.2.0/24", "2001:db8::/32"}})
	check(t, keys, text, address, start, nil)
	check(t, keys, text, netip.MustParseAddr("::ffff:192.0.2.7"), start, nil)
	check(t, keys, text, netip.MustParseAddr("2001:db8::1%eth0"), start, nil)
	check(t, keys, text, address, start.Add(time.Hour-1), nil)
	got, err := keys.Check(t.Context(), text, address, start)
	if diff := cmp.Diff(r, got); diff != "" || err != nil {
		t.Errorf("record differs from Create's: %v\n%s", err, diff)
	}
	forever, _ := create(t, keys, apikey.Spec{TTL: -1})
	check(t, keys, forever, netip.Addr{}, start.Add(100*365*24*time.Hour), nil)
	usual, _ := create(t, keys, apikey.Spec{})
	check(t, keys, usual, address, start.Add(90*24*time.Hour-1), nil)
	check(t, keys, usual, address, start.Add(90*24*time.Hour), apikey.ErrExpired)
}

func TestCheckMustNot(t *testing.T) {
	keys, other := service(t, memstore.New()), service(t, memstore.New())
	text, r := create(t, keys, apikey.Spec{TTL: time.Hour, Networks: []string{"192.0.2.0/24"}})
	foreign, _ := create(t, other, apikey.Spec{})
	good := text.Reveal()
	graft := func(id string) string { return "sp_" + id + good[15:] }
	for name, bad := range map[string]string{
		"empty": "", "prefix": "sp_", "upper prefix": "SP_" + good[3:], "short": good[:len(good)-1], "long": good + "0",
		"space": good + " ", "upper id": "sp_" + strings.ToUpper(good[3:15]) + good[15:], "no separator": good[:15] + "-" + good[16:],
		"swapped": good[:20] + swap(good[20:22]) + good[22:], "checksum": good[:len(good)-1] + flip(good[len(good)-1]),
		"secret": good[:30] + flip(good[30]) + good[31:], "id": graft("aaaaaaaaaaaa"), "nul": "sp_\x00" + good[4:], "id alone": r.ID,
	} {
		t.Run(name, func(t *testing.T) { check(t, keys, secret.New(bad), address, start, apikey.ErrMalformed) })
	}
	check(t, keys, foreign, address, start, apikey.ErrUnknown)
	check(t, keys, text, netip.MustParseAddr("192.0.3.7"), start, apikey.ErrNetwork)
	check(t, keys, text, netip.Addr{}, start, apikey.ErrNetwork)
	check(t, keys, text, address, start.Add(time.Hour), apikey.ErrExpired)
	if did, err := keys.Revoke(t.Context(), r.ID); !did || err != nil {
		t.Errorf("Revoke = %v, %v", did, err)
	}
	check(t, keys, text, address, start, apikey.ErrRevoked)
	check(t, keys, text, address, start.Add(time.Hour), apikey.ErrRevoked)
	if did, err := keys.Revoke(t.Context(), r.ID); did || err != nil {
		t.Errorf("second Revoke = %v, %v; want false", did, err)
	}
	if _, err := keys.Revoke(t.Context(), "none"); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("Revoke of an unknown id = %v, want ErrNotFound", err)
	}
	if keys.Active(r.ID, start) || keys.Active("none", start) {
		t.Error("a revoked or unknown key is active")
	}
}

// TestWrongSecretOfAKnownID needs a key that is well formed: the id of one, everything else of its own.
func TestWrongSecretOfAKnownID(t *testing.T) {
	backend := memstore.New()
	first := service(t, backend)
	text, r := create(t, first, apikey.Spec{})
	// The same id with another hash, as if the secret had been another.
	tampered := memstore.New()
	r.Hash[31] ^= 1
	if err := tampered.CreateKey(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	check(t, service(t, tampered), text, address, start, apikey.ErrUnknown)
	r.Hash = [32]byte{}
	zero := memstore.New()
	if err := zero.CreateKey(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	check(t, service(t, zero), text, address, start, apikey.ErrUnknown)
}

func flip(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}

func swap(s string) string {
	if s[0] == s[1] {
		return flip(s[0]) + s[1:]
	}
	return s[1:] + s[:1]
}

func TestCreateRefuses(t *testing.T) {
	keys := service(t, memstore.New())
	for name, spec := range map[string]apikey.Spec{
		"no name":             {Roles: []string{"user"}},
		"long name":           {Name: strings.Repeat("n", 129), Roles: []string{"user"}},
		"control in name":     {Name: "a\nb", Roles: []string{"user"}},
		"bidi in name":        {Name: "a\u202eb", Roles: []string{"user"}},
		"broken name":         {Name: "a\xff", Roles: []string{"user"}},
		"no role":             {Name: "n"},
		"unknown role":        {Name: "n", Roles: []string{"user", "root"}},
		"permission form":     {Name: "n", Roles: []string{"user"}, Permissions: []string{"files"}},
		"network":             {Name: "n", Roles: []string{"user"}, Networks: []string{"192.0.2.0/33"}},
		"host bits":           {Name: "n", Roles: []string{"user"}, Networks: []string{"192.0.2.1/24"}},
		"network with zone":   {Name: "n", Roles: []string{"user"}, Networks: []string{"fe80::1%eth0"}},
		"empty network":       {Name: "n", Roles: []string{"user"}, Networks: []string{""}},
		"too many roles":      {Name: "n", Roles: strings.Split(strings.Repeat("user,", 256)+"user", ",")},
		"host name, not CIDR": {Name: "n", Roles: []string{"user"}, Networks: []string{"example.com"}},
	} {
		if text, _, err := keys.Create(t.Context(), spec); err == nil || !text.IsZero() {
			t.Errorf("%s: Create succeeded", name)
		}
	}
	if got := keys.List(); len(got) != 0 {
		t.Errorf("%d keys after refusals", len(got))
	}
	_, r := create(t, keys, apikey.Spec{Networks: []string{"192.0.2.1", "::ffff:192.0.2.0/120", "2001:db8::/32"}})
	if diff := cmp.Diff([]string{"192.0.2.1/32", "192.0.2.0/24", "2001:db8::/32"}, r.Networks); diff != "" {
		t.Error(diff)
	}
}

func TestStoreFailure(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("persisted=%v", after), func(t *testing.T) {
			s := &store{Store: memstore.New()}
			keys := service(t, s)
			text, r := create(t, keys, apikey.Spec{})
			s.before.Store(!after)
			s.after.Store(after)
			if got, _, err := keys.Create(t.Context(), apikey.Spec{Name: "n", Roles: []string{"user"}}); !errors.Is(err, errDisk) || !got.IsZero() {
				t.Errorf("Create = %v, %v", got.Len(), err)
			}
			if _, err := keys.Revoke(t.Context(), r.ID); !errors.Is(err, errDisk) {
				t.Errorf("Revoke = %v", err)
			}
			check(t, keys, text, address, start, nil) // refused to revoke: memory is unchanged
			if got := keys.List(); len(got) != 1 || !got[0].Revoked.IsZero() {
				t.Errorf("keys after failures: %+v", got)
			}
			s.before.Store(false)
			s.after.Store(false)
			if _, err := keys.Revoke(t.Context(), r.ID); err != nil {
				t.Errorf("Revoke again = %v", err)
			}
			check(t, keys, text, address, start, apikey.ErrRevoked)
			check(t, service(t, s), text, address, start, apikey.ErrRevoked) // also after a restart
		})
	}
}

func TestStoreHangs(t *testing.T) {
	keys := service(t, memstore.New())
	text, r := create(t, keys, apikey.Spec{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keys.Revoke(ctx, r.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("Revoke = %v, want the context's error", err)
	}
	check(t, keys, text, address, start, nil)
}

func TestReload(t *testing.T) {
	backend := memstore.New()
	keys := service(t, backend)
	text, r := create(t, keys, apikey.Spec{})
	if _, err := backend.RevokeKey(t.Context(), r.ID, start); err != nil { // by another process
		t.Fatal(err)
	}
	if err := keys.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, keys, text, address, start, apikey.ErrRevoked)
	if err := backend.Close(); err != nil {
		t.Fatal(err)
	}
	if err := keys.Reload(t.Context()); err == nil {
		t.Error("Reload of a closed store succeeded")
	}
	check(t, keys, text, address, start, apikey.ErrRevoked)
}

func TestNothingStoredRevealsTheKey(t *testing.T) {
	backend := memstore.New()
	keys := service(t, backend)
	text, r := create(t, keys, apikey.Spec{})
	stored, err := backend.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hidden := text.Reveal()[16:30]
	for _, shown := range []string{fmt.Sprintf("%+v %q", stored, stored), fmt.Sprintf("%+v %#v", r, text), fmt.Sprint(keys.List())} {
		if strings.Contains(shown, hidden) || strings.Contains(shown, hex.EncodeToString([]byte(hidden))) {
			t.Error("a part of the secret is shown")
		}
	}
}

// TestChecksumIsCRC32 holds the format to what is written about it, for scanners of others.
func TestChecksumIsCRC32(t *testing.T) {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	text, _ := create(t, service(t, memstore.New()), apikey.Spec{})
	body, sum := text.Reveal()[:59], text.Reveal()[59:]
	var n uint64
	for _, c := range sum {
		n = n*62 + uint64(strings.IndexRune(digits, c))
	}
	if n != uint64(crc32.ChecksumIEEE([]byte(body))) {
		t.Errorf("the last characters are not the CRC-32 of what is before them")
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := apikey.New(t.Context(), apikey.Config{}); err == nil {
		t.Error("New without a store succeeded")
	}
	broken := memstore.New()
	if err := broken.CreateKey(t.Context(), apikey.Record{ID: "k", Networks: []string{"everywhere"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := apikey.New(t.Context(), apikey.Config{Store: broken}); err == nil {
		t.Error("New with a network it cannot read succeeded: the key would be open to all or to none")
	}
}
