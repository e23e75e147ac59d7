package admin_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/memstore"
	"github.com/sallyport-mcp/sallyport/internal/report"
	"github.com/sallyport-mcp/sallyport/internal/token"
	"github.com/sallyport-mcp/sallyport/policy"
)

// recorder keeps events in memory, or fails.
type recorder struct {
	events []audit.Event
	err    error
}

func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	if r.err != nil {
		return r.err
	}
	e.Seq = uint64(len(r.events) + 1)
	r.events = append(r.events, *e)
	return nil
}

// kinds lists what was recorded, and how it ended.
func (r *recorder) kinds() []string {
	var all []string
	for _, e := range r.events {
		all = append(all, string(e.Kind)+" "+string(e.Outcome)+" "+e.Principal.Name)
	}
	return all
}

type house struct {
	*admin.Operations
	recorder *recorder
	applied  int
	applyErr error
}

func open(t testing.TB, configured ...policy.Role) *house {
	t.Helper()
	store := memstore.New()
	keys, err := apikey.New(t.Context(), apikey.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close() }) // memory only
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.New(t.Context(), token.Config{Issuer: "http://localhost", Private: private, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{recorder: &recorder{}}
	h.Operations = &admin.Operations{
		Keys: keys, Tokens: tokens, Roles: store, Alerts: store, Recorder: h.recorder,
		Configured: func() []policy.Role { return configured },
		Apply:      func(context.Context) error { h.applied++; return h.applyErr },
		Audience:   func(server string) (string, bool) { return "http://localhost/" + server + "/mcp", server == "files" },
		Report: func(context.Context, string) (*report.Report, error) {
			return &report.Report{SecurityEvents: []report.Event{{Seq: 7, Claimed: report.Mark("a\x1b[2J")}}}, nil
		},
	}
	return h
}

var who = admin.Local(1000)

func TestActsAreRecorded(t *testing.T) {
	h, ctx := open(t), t.Context()
	c := admin.Within(h.Operations, who)
	if err := c.PutRole(ctx, policy.Role{Name: "reader", Permissions: []string{"files:read_*"}}); err != nil {
		t.Fatal(err)
	}
	key, err := c.CreateKey(ctx, admin.KeySpec{Name: "ci", Roles: []string{"reader"}})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := c.IssueToken(ctx, admin.TokenSpec{Subject: "alice", Server: "files", Roles: []string{"reader"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, revoke := range []func() (bool, error){
		func() (bool, error) { return c.RevokeKey(ctx, key.Text) },
		func() (bool, error) { return c.RevokeToken(ctx, issued.Text) },
	} {
		for _, want := range []bool{true, false} { // the second time it is no act, and no record
			if changed, err := revoke(); err != nil || changed != want {
				t.Errorf("revoking: %v, %v; want %v", changed, err, want)
			}
		}
	}
	if err := c.DeleteRole(ctx, "reader"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"role_changed allowed local:1000", "key_created allowed local:1000", "token_issued allowed local:1000",
		"key_revoked allowed local:1000", "token_revoked allowed local:1000", "role_changed allowed local:1000",
	}
	if diff := cmp.Diff(want, h.recorder.kinds()); diff != "" {
		t.Error(diff)
	}
	for _, e := range h.recorder.events {
		if line := string(e.AppendJSON(nil)); strings.Contains(line, key.Text) || strings.Contains(line, issued.Text) {
			t.Errorf("a record holds a secret: %s", line)
		}
	}
	if h.applied != 2 {
		t.Errorf("roles were put in force %d times, want 2", h.applied)
	}
}

// TestUnrecordedActsDoNothing has a row for each verb that changes something: without a record it must not take effect.
func TestUnrecordedActsDoNothing(t *testing.T) {
	for _, name := range []string{"create key", "revoke key", "issue token", "revoke token", "put role", "delete role"} {
		t.Run(name, func(t *testing.T) {
			h, ctx := open(t), t.Context()
			key, err := h.CreateKey(ctx, who, admin.KeySpec{Name: "a", Roles: []string{"user"}})
			if err != nil {
				t.Fatal(err)
			}
			issued, err := h.IssueToken(ctx, who, admin.TokenSpec{Subject: "a", Server: "files", Roles: []string{"user"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.PutRole(ctx, who, policy.Role{Name: "kept", Permissions: []string{"a:b"}}); err != nil {
				t.Fatal(err)
			}
			h.recorder.err = errors.New("the disk is full")
			switch name {
			case "create key":
				var made admin.NewKey
				made, err = h.CreateKey(ctx, who, admin.KeySpec{Name: "b", Roles: []string{"user"}})
				if made.Text != "" {
					t.Error("a key was handed out")
				}
			case "revoke key":
				_, err = h.RevokeKey(ctx, who, admin.ID{ID: key.Record.ID})
			case "issue token":
				var made admin.NewToken
				made, err = h.IssueToken(ctx, who, admin.TokenSpec{Subject: "b", Server: "files", Roles: []string{"user"}})
				if made.Text != "" {
					t.Error("a token was handed out")
				}
			case "revoke token":
				_, err = h.RevokeToken(ctx, who, admin.ID{ID: issued.Text})
			case "put role":
				_, err = h.PutRole(ctx, who, policy.Role{Name: "new", Permissions: []string{"a:b"}})
			case "delete role":
				_, err = h.DeleteRole(ctx, who, admin.ID{ID: "kept"})
			}
			var answer *admin.Error
			if !errors.As(err, &answer) || answer.Code != admin.Refused {
				t.Errorf("the act was not refused: %v", err)
			}
			unchanged(t, h, key.Record.ID, issued.ID)
		})
	}
}

// unchanged fails unless the one key is valid, others are not, the token lives and the stored role is there.
func unchanged(t *testing.T, h *house, keyID, tokenID string) {
	t.Helper()
	for _, k := range h.Keys.List() {
		if valid := h.Keys.Active(k.ID, time.Now()); valid != (k.ID == keyID) {
			t.Errorf("key %s is valid: %v", k.Name, valid)
		}
	}
	if h.Tokens.Revoked(tokenID) {
		t.Error("the token is revoked")
	}
	stored, err := h.Roles.StoredRoles(t.Context())
	if err != nil || len(stored) != 1 || stored[0].Name != "kept" {
		t.Errorf("stored roles %v, %v", stored, err)
	}
}

// failingRoles stores nothing.
type failingRoles struct{ policy.RoleStore }

func (failingRoles) PutRole(context.Context, policy.Role) error { return errors.New("store away") }

func TestActThatFailsIsRecordedAsFailed(t *testing.T) {
	h := open(t)
	h.Roles = failingRoles{h.Roles}
	if _, err := h.PutRole(t.Context(), who, policy.Role{Name: "r", Permissions: []string{"a:b"}}); err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff([]string{"role_changed allowed local:1000", "role_changed failed local:1000"}, h.recorder.kinds()); diff != "" {
		t.Error(diff)
	}
	if last := h.recorder.events[1]; last.Ref != 1 || last.Reason != "store away" {
		t.Errorf("the failure does not name its record: %+v", last)
	}
}

func TestRoles(t *testing.T) {
	h, ctx := open(t, policy.Role{Name: "boss", Permissions: []string{"*"}}), t.Context()
	c := admin.Within(h.Operations, who)
	put := func(name, permission string, inherits ...string) error {
		return c.PutRole(ctx, policy.Role{Name: name, Permissions: []string{permission}, Inherits: inherits})
	}
	for _, r := range []struct{ name, parent string }{{"user", ""}, {"lead", "user"}} {
		var parents []string
		if r.parent != "" {
			parents = []string{r.parent}
		}
		if err := put(r.name, "files:*", parents...); err != nil {
			t.Fatal(err)
		}
	}
	roles, err := c.Roles(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range roles {
		got = append(got, r.Name+" "+string(r.Origin))
	}
	if diff := cmp.Diff([]string{"boss config", "lead store", "user store", "guest default", "premium default", "admin default"}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []struct {
		name string
		err  error
		code admin.Code
	}{
		{"replace a configured role", put("boss", "a:b"), admin.Refused},
		{"no permission form", put("x", "everything"), admin.Invalid},
		{"unknown parent", put("x", "a:b", "nobody"), admin.Invalid},
		{"inherit itself", put("user", "a:b", "lead"), admin.Invalid},
		{"bad name", put("a b", "a:b"), admin.Invalid},
		{"delete an inherited role nobody else defines", c.DeleteRole(ctx, "nobody"), admin.NotFound},
		{"delete a configured role", c.DeleteRole(ctx, "boss"), admin.Refused},
		{"delete a built-in role", c.DeleteRole(ctx, "admin"), admin.Refused},
	} {
		var answer *admin.Error
		if !errors.As(bad.err, &answer) || answer.Code != bad.code {
			t.Errorf("%s: %v, want code %s", bad.name, bad.err, bad.code)
		}
	}
	if n := len(h.recorder.events); n != 2 {
		t.Errorf("%d records, want those of the 2 acts", n)
	}
}

func TestTokenMustNot(t *testing.T) {
	h, ctx := open(t), t.Context()
	for _, c := range []struct {
		name string
		spec admin.TokenSpec
		code admin.Code
	}{
		{"unknown server", admin.TokenSpec{Subject: "a", Server: "other", Roles: []string{"user"}}, admin.NotFound},
		{"unknown role", admin.TokenSpec{Subject: "a", Server: "files", Roles: []string{"nobody"}}, admin.NotFound},
		{"no subject", admin.TokenSpec{Server: "files", Roles: []string{"user"}}, admin.Invalid},
	} {
		_, err := h.IssueToken(ctx, who, c.spec)
		var answer *admin.Error
		if !errors.As(err, &answer) || answer.Code != c.code {
			t.Errorf("%s: %v, want code %s", c.name, err, c.code)
		}
	}
	for _, text := range []string{"", "a.b", "sp_abc", "not a.token.really", strings.Repeat("x", 100)} {
		if _, err := h.RevokeToken(ctx, who, admin.ID{ID: text}); err == nil {
			t.Errorf("revoked %q", text)
		}
	}
	for _, e := range h.recorder.events {
		if e.Outcome == audit.Allowed && e.Kind == audit.TokenIssued {
			t.Errorf("a token was issued: %+v", e)
		}
	}
}

func TestCounterIsBounded(t *testing.T) {
	var c admin.Counter
	for i := range 10_000 {
		c.Add(&audit.Event{Kind: audit.CallAllowed, Server: strings.Repeat("x", i%5000)})
	}
	c.Add(&audit.Event{Kind: audit.CallAllowed, Server: "", Count: 5})
	events := c.Events()
	if len(events) != 4096 {
		t.Errorf("%d series, want the bound", len(events))
	}
	if events[0].Count != 7 { // i=0, i=5000, and a folded one of five
		t.Errorf("counted %d, want 7", events[0].Count)
	}
}
