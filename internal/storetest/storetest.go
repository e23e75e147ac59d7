// Package storetest is the one conformance suite of stores. For most uses call [Run] from the test of a backend, [Reopen]
// where the backend is durable, and [Buckets] for a limiter.
//
// It tests the contracts that the interfaces state, not how a backend keeps them. Its invariant: a promise that two
// backends make is tested here once, with the same words.
package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/internal/token"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Store is what a backend implements; the guard's Config asks for the same.
type Store interface {
	apikey.Store
	token.Revocations
	policy.RoleStore
	detect.Alerts
	io.Closer
	Ping(ctx context.Context) error
}

// racers is how many goroutines compete for one atomic promise.
const racers = 32

// Run tests every promise of a store that does not outlive it. Open returns an empty store and closes it with the test.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Store)
	}{
		{"Keys", testKeys},
		{"KeysNilAndEmpty", testKeysNilAndEmpty},
		{"KeysOrder", testKeysOrder},
		{"RevokeKey", testRevokeKey},
		{"RevokeKeyOnce", testRevokeKeyOnce},
		{"CreateKeyOnce", testCreateKeyOnce},
		{"TouchKey", testTouchKey},
		{"RevokeToken", testRevokeToken},
		{"RevokeTokenOnce", testRevokeTokenOnce},
		{"Roles", testRoles},
		{"Alerts", testAlerts},
		{"AlertsHostileText", testAlertsHostileText},
		{"OwnCopies", testOwnCopies},
		{"Cancelled", testCancelled},
		{"Closed", testClosed},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// Reopen tests that what was confirmed is there after the store was closed and opened again.
func Reopen(t *testing.T, open func(t *testing.T) Store, reopen func(t *testing.T, s Store) Store) {
	s := open(t)
	ctx := t.Context()
	r := record("k1", at(1))
	must(t, s.CreateKey(ctx, r))
	must(t, s.CreateKey(ctx, record("k2", at(2))))
	_, err := s.RevokeKey(ctx, "k1", at(5))
	must(t, err)
	_, err = s.RevokeToken(ctx, revocation("t1", at(9)))
	must(t, err)
	must(t, s.PutRole(ctx, policy.Role{Name: "ops", Permissions: []string{"a:*"}}))
	must(t, s.PutAlert(ctx, alert("a1", at(3))))
	s = reopen(t, s)
	r.Revoked = at(5)
	keys, err := s.Keys(ctx)
	same(t, []apikey.Record{r, record("k2", at(2))}, keys, err)
	revoked, err := s.RevokedTokens(ctx, at(8))
	same(t, []token.Revocation{revocation("t1", at(9))}, revoked, err)
	roles, err := s.StoredRoles(ctx)
	same(t, []policy.Role{{Name: "ops", Permissions: []string{"a:*"}}}, roles, err)
	alerts, err := s.AlertsBetween(ctx, at(0), at(9))
	same(t, []detect.Alert{alert("a1", at(3))}, alerts, err)
	if did, err := s.RevokeKey(ctx, "k1", at(7)); did || err != nil {
		t.Errorf("RevokeKey of a key revoked before the restart = %v, %v; want false", did, err)
	}
}

// at returns a moment of the suite's own time, with nanoseconds that a store must keep.
func at(second int64) time.Time { return time.Unix(1_800_000_000+second, 123_456_789).UTC() }

func record(id string, created time.Time) apikey.Record {
	return apikey.Record{
		ID: id, Name: "key " + id, Hash: sha256.Sum256([]byte(id)), Roles: []string{"user", "guest"},
		Permissions: []string{"files:read_*"}, Networks: []string{"192.0.2.0/24", "2001:db8::/32"}, Created: created,
		Expires: created.Add(time.Hour),
	}
}

func revocation(id string, until time.Time) token.Revocation {
	return token.Revocation{ID: id, Subject: "alice", At: at(0), Until: until}
}

func alert(id string, when time.Time) detect.Alert {
	return detect.Alert{
		ID: id, Name: "excessive_failed_auth", Rule: "failed_auth", UserID: "alice", Key: "claimed:alice",
		Timestamp: when, Severity: detect.Medium, RequiresAction: true, Context: detect.Context{
			Count: 5, Window: "15m0s",
			First: when.Add(-time.Minute), Last: when, Address: "192.0.2.1", Evidence: []uint64{1, 1<<63 + 1},
		},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same compares and tells nil lists from empty ones inside of values, but not the result itself.
func same[T any](t *testing.T, want, got []T, err error) {
	t.Helper()
	must(t, err)
	if len(want) == 0 && len(got) == 0 {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("difference (-want +got):\n%s", diff)
	}
}

// race runs act in many goroutines at once and returns how many reported true. An error fails the test.
func race(t *testing.T, act func(n int) (bool, error)) int {
	t.Helper()
	var won atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for n := range racers {
		wg.Go(func() {
			<-start
			did, err := act(n)
			if err != nil {
				t.Error(err)
			}
			if did {
				won.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(won.Load())
}

func testCancelled(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, keys := s.Keys(ctx)
	_, revokeKey := s.RevokeKey(ctx, "k1", at(1))
	_, revokeToken := s.RevokeToken(ctx, revocation("t1", at(9)))
	_, tokens := s.RevokedTokens(ctx, at(0))
	_, roles := s.StoredRoles(ctx)
	_, deleteRole := s.DeleteRole(ctx, "r")
	_, alerts := s.AlertsBetween(ctx, at(0), at(9))
	_, deleteAlerts := s.DeleteAlertsBefore(ctx, at(9))
	for name, err := range map[string]error{
		"CreateKey": s.CreateKey(ctx, record("k1", at(1))), "Keys": keys, "RevokeKey": revokeKey, "TouchKey": s.TouchKey(ctx, "k1", at(1)),
		"RevokeToken": revokeToken, "RevokedTokens": tokens, "StoredRoles": roles, "PutRole": s.PutRole(ctx, policy.Role{Name: "r"}),
		"DeleteRole": deleteRole, "PutAlert": s.PutAlert(ctx, alert("a1", at(1))), "AlertsBetween": alerts,
		"DeleteAlertsBefore": deleteAlerts, "Ping": s.Ping(ctx),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context = %v, want context.Canceled", name, err)
		}
	}
	got, err := s.Keys(t.Context())
	same(t, nil, got, err)
}

func testClosed(t *testing.T, s Store) {
	must(t, s.Ping(t.Context()))
	must(t, s.Close())
	must(t, s.Close())
	_, err := s.Keys(t.Context())
	if err == nil || s.Ping(t.Context()) == nil || s.CreateKey(t.Context(), record("k1", at(1))) == nil {
		t.Error("a closed store answers")
	}
}
