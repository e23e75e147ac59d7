package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/token"
)

func testKeys(t *testing.T, s Store) {
	ctx := t.Context()
	keys, err := s.Keys(ctx)
	same(t, nil, keys, err)
	r := record("k1", at(1))
	must(t, s.CreateKey(ctx, r))
	if err := s.CreateKey(ctx, record("k1", at(2))); err == nil {
		t.Error("CreateKey of an id that exists succeeded")
	}
	keys, err = s.Keys(ctx)
	same(t, []apikey.Record{r}, keys, err)
}

func testKeysNilAndEmpty(t *testing.T, s Store) {
	open, shut := record("open", at(1)), record("shut", at(2))
	open.Permissions, open.Networks, open.Expires = nil, nil, time.Time{}
	shut.Permissions, shut.Networks = []string{}, []string{}
	must(t, s.CreateKey(t.Context(), open))
	must(t, s.CreateKey(t.Context(), shut))
	keys, err := s.Keys(t.Context())
	same(t, []apikey.Record{open, shut}, keys, err)
}

func testKeysOrder(t *testing.T, s Store) {
	want := []apikey.Record{record("old", at(1)), record("z", at(2)), record("a", at(2)), record("new", at(3))}
	for _, i := range []int{3, 1, 0, 2} { // of one moment, z is stored before a
		must(t, s.CreateKey(t.Context(), want[i]))
	}
	keys, err := s.Keys(t.Context())
	same(t, want, keys, err)
}

func testRevokeKey(t *testing.T, s Store) {
	ctx := t.Context()
	if did, err := s.RevokeKey(ctx, "none", at(1)); did || !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("RevokeKey of an unknown id = %v, %v; want ErrNotFound", did, err)
	}
	r := record("k1", at(1))
	must(t, s.CreateKey(ctx, r))
	must(t, s.CreateKey(ctx, record("k2", at(2))))
	if did, err := s.RevokeKey(ctx, "k1", at(5)); !did || err != nil {
		t.Errorf("first RevokeKey = %v, %v; want true", did, err)
	}
	if did, err := s.RevokeKey(ctx, "k1", at(6)); did || err != nil {
		t.Errorf("second RevokeKey = %v, %v; want false", did, err)
	}
	r.Revoked = at(5)
	keys, err := s.Keys(ctx)
	same(t, []apikey.Record{r, record("k2", at(2))}, keys, err)
}

func testRevokeKeyOnce(t *testing.T, s Store) {
	must(t, s.CreateKey(t.Context(), record("k1", at(1))))
	won := race(t, func(n int) (bool, error) { return s.RevokeKey(t.Context(), "k1", at(int64(n))) })
	if won != 1 {
		t.Errorf("%d of %d concurrent RevokeKey report that they did it, want 1", won, racers)
	}
}

func testCreateKeyOnce(t *testing.T, s Store) {
	won := race(t, func(n int) (bool, error) { return s.CreateKey(t.Context(), record("k1", at(int64(n)))) == nil, nil })
	if won != 1 {
		t.Errorf("%d of %d concurrent CreateKey of one id succeed, want 1", won, racers)
	}
	others := race(t, func(n int) (bool, error) {
		return true, s.CreateKey(t.Context(), record(fmt.Sprint("other", n), at(int64(n))))
	})
	keys, err := s.Keys(t.Context())
	must(t, err)
	if len(keys) != others+1 {
		t.Errorf("%d keys after %d concurrent CreateKey", len(keys), others+1)
	}
}

func testTouchKey(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.TouchKey(ctx, "none", at(1)))
	r := record("k1", at(1))
	must(t, s.CreateKey(ctx, r))
	for _, when := range []int64{3, 7, 5} { // writes may overtake each other
		must(t, s.TouchKey(ctx, "k1", at(when)))
	}
	r.LastUsed = at(7)
	keys, err := s.Keys(ctx)
	same(t, []apikey.Record{r}, keys, err)
}

func testRevokeToken(t *testing.T, s Store) {
	ctx := t.Context()
	got, err := s.RevokedTokens(ctx, at(0))
	same(t, nil, got, err)
	for _, r := range []token.Revocation{revocation("t2", at(20)), revocation("t1", at(10))} {
		if did, err := s.RevokeToken(ctx, r); !did || err != nil {
			t.Errorf("first RevokeToken = %v, %v; want true", did, err)
		}
	}
	if did, err := s.RevokeToken(ctx, revocation("t1", at(99))); did || err != nil {
		t.Errorf("second RevokeToken = %v, %v; want false", did, err)
	}
	got, err = s.RevokedTokens(ctx, at(9))
	same(t, []token.Revocation{revocation("t1", at(10)), revocation("t2", at(20))}, got, err)
	got, err = s.RevokedTokens(ctx, at(10))
	same(t, []token.Revocation{revocation("t2", at(20))}, got, err)
	late := revocation("t3", at(30))
	late.At = at(25) // t1 and t2 have ended and may be gone, t3 must be there
	_, err = s.RevokeToken(ctx, late)
	must(t, err)
	got, err = s.RevokedTokens(ctx, at(25))
	same(t, []token.Revocation{late}, got, err)
}

func testRevokeTokenOnce(t *testing.T, s Store) {
	won := race(t, func(int) (bool, error) { return s.RevokeToken(t.Context(), revocation("t1", at(9))) })
	if won != 1 {
		t.Errorf("%d of %d concurrent RevokeToken report a new revocation, want 1", won, racers)
	}
}
