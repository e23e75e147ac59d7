package token_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/memstore"
	"github.com/sallyport-mcp/sallyport/internal/peer"
	"github.com/sallyport-mcp/sallyport/internal/secret"
	"github.com/sallyport-mcp/sallyport/internal/token"
)

func TestRevoke(t *testing.T) {
	backend := memstore.New()
	s := service(t, token.Config{Private: private('k'), Store: backend})
	byText, c1 := issue(t, s, token.Claims{})
	byID, c2 := issue(t, s, token.Claims{})
	other, _ := issue(t, s, token.Claims{})
	for _, text := range []secret.Text{byText, byID, other} {
		refused(t, s, text, start, 0)
	}
	for _, what := range []string{byText.Reveal(), c2.ID} {
		if did, err := s.Revoke(t.Context(), what); !did || err != nil {
			t.Errorf("Revoke = %v, %v; want true", did, err)
		}
		if did, err := s.Revoke(t.Context(), what); did || err != nil {
			t.Errorf("second Revoke = %v, %v; want false", did, err)
		}
	}
	restarted := service(t, token.Config{Private: private('k'), Store: backend})
	for _, verifier := range []*token.Service{s, restarted} {
		refused(t, verifier, byText, start, peer.Revoked)
		refused(t, verifier, byID, start, peer.Revoked)
		refused(t, verifier, other, start, 0)
		if !verifier.Revoked(c1.ID) || verifier.Known(byText, start) {
			t.Error("a revoked token is known")
		}
	}
}

func TestRevokeMustNot(t *testing.T) {
	s := service(t, edDSA())
	foreign, _ := issue(t, service(t, token.Config{Private: private('x')}), token.Claims{})
	for _, what := range []string{"", "short", foreign.Reveal(), "a.b.c", strings.Repeat("a", 23), "sp_aaaaaaaaaaaa_" + strings.Repeat("0", 49)} {
		if did, err := s.Revoke(t.Context(), what); did || !errors.Is(err, token.ErrNotOurs) {
			t.Errorf("Revoke(%q) = %v, %v; want ErrNotOurs", what, did, err)
		}
	}
	past := service(t, token.Config{Private: private('k'), Now: func() time.Time { return start.Add(-time.Hour) }})
	ended, _ := issue(t, past, token.Claims{TTL: time.Minute})
	if did, err := s.Revoke(t.Context(), ended.Reveal()); did || err != nil {
		t.Errorf("Revoke of an expired token = %v, %v; want false", did, err)
	}
}

// flaky fails before or after the work.
type flaky struct {
	*memstore.Store
	before, after bool
}

func (f *flaky) RevokeToken(ctx context.Context, r token.Revocation) (bool, error) {
	if f.before {
		return false, errors.New("disk full")
	}
	did, err := f.Store.RevokeToken(ctx, r)
	if f.after {
		return false, errors.New("connection lost")
	}
	return did, err
}

func TestRevokeStoreFailure(t *testing.T) {
	for _, after := range []bool{false, true} {
		f := &flaky{Store: memstore.New(), before: !after, after: after}
		s := service(t, token.Config{Private: private('k'), Store: f})
		text, c := issue(t, s, token.Claims{})
		if _, err := s.Revoke(t.Context(), c.ID); err == nil {
			t.Errorf("persisted=%v: Revoke succeeded", after)
		}
		refused(t, s, text, start, 0)
		f.before, f.after = false, false
		if _, err := s.Revoke(t.Context(), c.ID); err != nil {
			t.Error(err)
		}
		refused(t, s, text, start, peer.Revoked)
	}
}

// TestRevocationOutlivesClockSteps sets the clock back after a token has ended and others were revoked since.
func TestRevocationOutlivesClockSteps(t *testing.T) {
	now := start
	backend := memstore.New()
	s := service(t, token.Config{Private: private('k'), Store: backend, Now: func() time.Time { return now }})
	text, c := issue(t, s, token.Claims{TTL: time.Minute})
	if _, err := s.Revoke(t.Context(), text.Reveal()); err != nil {
		t.Fatal(err)
	}
	now = start.Add(time.Hour)
	_, other := issue(t, s, token.Claims{})
	if _, err := s.Revoke(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused(t, s, text, c.Issued, peer.Revoked)
}
