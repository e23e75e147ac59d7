package storetest

import (
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/policy"
)

func testRoles(t *testing.T, s Store) {
	ctx := t.Context()
	roles, err := s.StoredRoles(ctx)
	same(t, nil, roles, err)
	for _, r := range []policy.Role{{Name: "ops", Permissions: []string{"a:b"}, Inherits: []string{"user"}}, {Name: "Dev"}, {Name: "dev", Permissions: []string{}}} {
		must(t, s.PutRole(ctx, r))
	}
	must(t, s.PutRole(ctx, policy.Role{Name: "ops", Permissions: []string{"c:*", "d:e"}}))
	roles, err = s.StoredRoles(ctx)
	same(t, []policy.Role{{Name: "Dev"}, {Name: "dev", Permissions: []string{}}, {Name: "ops", Permissions: []string{"c:*", "d:e"}}}, roles, err)
	if was, err := s.DeleteRole(ctx, "ops"); !was || err != nil {
		t.Errorf("DeleteRole = %v, %v; want true", was, err)
	}
	if was, err := s.DeleteRole(ctx, "ops"); was || err != nil {
		t.Errorf("second DeleteRole = %v, %v; want false", was, err)
	}
	won := race(t, func(int) (bool, error) { return s.DeleteRole(ctx, "dev") })
	if won != 1 {
		t.Errorf("%d of %d concurrent DeleteRole report that it was there, want 1", won, racers)
	}
	roles, err = s.StoredRoles(ctx)
	same(t, []policy.Role{{Name: "Dev"}}, roles, err)
}

func testAlerts(t *testing.T, s Store) {
	ctx := t.Context()
	for id, when := range map[string]int64{"a3": 3, "a1": 1, "a5": 5} {
		must(t, s.PutAlert(ctx, alert(id, at(when))))
	}
	must(t, s.PutAlert(ctx, alert("b3", at(3))))
	if err := s.PutAlert(ctx, alert("a1", at(9))); err == nil {
		t.Error("PutAlert of an id that exists succeeded")
	}
	got, err := s.AlertsBetween(ctx, at(1), at(5)) // from is inside, to is not
	same(t, []detect.Alert{alert("b3", at(3)), alert("a3", at(3)), alert("a1", at(1))}, got, err)
	got, err = s.AlertsBetween(ctx, at(5), at(1))
	same(t, nil, got, err)
	if n, err := s.DeleteAlertsBefore(ctx, at(3)); n != 1 || err != nil {
		t.Errorf("DeleteAlertsBefore = %d, %v; want 1", n, err)
	}
	if n, err := s.DeleteAlertsBefore(ctx, at(3)); n != 0 || err != nil {
		t.Errorf("second DeleteAlertsBefore = %d, %v; want 0", n, err)
	}
	got, err = s.AlertsBetween(ctx, at(0), at(9))
	same(t, []detect.Alert{alert("a5", at(5)), alert("b3", at(3)), alert("a3", at(3))}, got, err)
}

// testAlertsHostileText holds that an alert is never lost because of what its attacker wrote.
func testAlertsHostileText(t *testing.T, s Store) {
	for _, id := range []string{"nul", "quote", "utf8"} {
		a := alert(id, at(1))
		a.Key = map[string]string{"nul": "claimed:\x00", "quote": "claimed:'; DROP TABLE alerts; --\u2028\"", "utf8": "claimed:\xff\xed\xa0\x80"}[id]
		must(t, s.PutAlert(t.Context(), a))
	}
	got, err := s.AlertsBetween(t.Context(), at(0), at(2))
	must(t, err)
	if len(got) != 3 {
		t.Fatalf("%d alerts, want 3", len(got))
	}
	if got[1].Key != "claimed:'; DROP TABLE alerts; --\u2028\"" || got[2].Key != "claimed:\x00" {
		t.Errorf("keys are %q and %q", got[1].Key, got[2].Key)
	}
}

// testOwnCopies holds that neither what was given nor what was returned is the store's own memory.
func testOwnCopies(t *testing.T, s Store) {
	ctx := t.Context()
	r, role, a := record("k1", at(1)), policy.Role{Name: "ops", Permissions: []string{"a:b"}, Inherits: []string{"user"}}, alert("a1", at(1))
	must(t, s.CreateKey(ctx, r))
	must(t, s.PutRole(ctx, role))
	must(t, s.PutAlert(ctx, a))
	r.Roles[0], role.Permissions[0], a.Context.Evidence[0] = "admin", "*", 99
	for range 2 {
		keys, err := s.Keys(ctx)
		same(t, []apikey.Record{record("k1", at(1))}, keys, err)
		roles, err := s.StoredRoles(ctx)
		same(t, []policy.Role{{Name: "ops", Permissions: []string{"a:b"}, Inherits: []string{"user"}}}, roles, err)
		alerts, err := s.AlertsBetween(ctx, at(0), at(9))
		same(t, []detect.Alert{alert("a1", at(1))}, alerts, err)
		keys[0].Roles[0], roles[0].Permissions[0], alerts[0].Context.Evidence[0] = "admin", "*", 99
	}
}
