package sallyport_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport"
	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

// crowded is a rig whose records may take 60,000 bytes.
func crowded(t *testing.T, whenFull string) *rig {
	return newRig(t, remote(t), func(c *sallyport.Config) {
		c.Audit.MaxSize, c.Audit.WhenFull = 60_000, whenFull
		c.Limits.Address, c.Limits.Global = sallyport.Limit{Capacity: 1e6, Refill: 1e6}, sallyport.Limit{Capacity: 1e6, Refill: 1e6}
		c.Limits.PrincipalTool, c.Limits.Tool = c.Limits.Address, c.Limits.Address
		c.Limits.Roles = map[string]sallyport.Limit{"user": {Capacity: 1e6, Refill: 1e6}}
	})
}

// kinds counts what the log still holds.
func (r *rig) kinds(t *testing.T) (count map[audit.Kind]int, rules map[string]int) {
	t.Helper()
	count, rules = map[audit.Kind]int{}, map[string]int{}
	if err := auditlog.Scan(t.Context(), r.dir, time.Time{}, time.Time{}, func(e *audit.Event) error {
		count[e.Kind]++
		rules[string(e.Kind)+" "+e.Rule]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return count, rules
}

func (r *rig) verify(t *testing.T) auditlog.VerifyReport {
	t.Helper()
	v, err := auditlog.Verify(t.Context(), auditlog.VerifyConfig{Dir: r.dir})
	if err != nil || v.Fault != nil {
		t.Fatalf("verify: %v, %v", err, v.Fault)
	}
	return v
}

// eventually waits up to 10 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(what)
}

func TestMaxSizeDeletesTheOldest(t *testing.T) {
	r := crowded(t, "")
	sent := 0
	var rules map[string]int
	eventually(t, "nothing was deleted", func() bool {
		for range 50 {
			if status, body, _ := r.send(t, modern("echo", `{"text":"hi"}`)); status != http.StatusOK {
				t.Fatalf("call %d: %d %s", sent, status, body)
			}
			sent++
		}
		_, rules = r.kinds(t)
		return rules["records_deleted max_size"] > 0
	})
	eventually(t, "the first record is still there", func() bool { return r.verify(t).FirstBody > 1 })
	if rules["audit_nearly_full audit"] != 1 || rules["store_degraded audit"] != 0 {
		t.Errorf("after %d calls: %v", sent, rules)
	}
	t.Logf("%d calls: %v", sent, rules)
}

func TestMaxSizeRefuses(t *testing.T) {
	r := crowded(t, "refuse")
	sent, refused := 0, 0
	for ; refused < 50 && sent < 3000; sent++ { // in a row: a segment compressed meanwhile makes room once more
		switch status, body, _ := r.send(t, modern("echo", `{"text":"hi"}`)); {
		case status == http.StatusOK:
			refused = 0
		case status == http.StatusServiceUnavailable && strings.Contains(body, "-32013"):
			refused++
		default:
			t.Fatalf("call %d: %d %s", sent, status, body)
		}
	}
	if refused < 50 {
		t.Fatalf("%d calls, and the log is not full", sent)
	}
	actor := admin.Local(os.Getuid())
	if _, err := r.guard.Operations().RevokeKey(t.Context(), actor, admin.ID{ID: r.keyID}); err != nil { // administration goes on
		t.Errorf("revoking in a full log: %v", err)
	}
	var rules map[string]int
	eventually(t, "the refusal is not on record", func() bool {
		_, rules = r.kinds(t)
		return rules["store_degraded max_size"] > 0 // a segment compressed since may have ended it
	})
	if open := rules["store_degraded max_size"] - rules["store_recovered max_size"]; open != 0 && open != 1 {
		t.Errorf("the pairs do not match: %v", rules)
	}
	if rules["audit_nearly_full audit"] != 1 || rules["store_degraded audit"] != 0 || rules["records_deleted max_size"] != 0 {
		t.Errorf("after %d calls: %v", sent, rules)
	}
	if r.verify(t).FirstBody != 1 {
		t.Error("records were deleted")
	}
}

func TestAuditSettingsAreChecked(t *testing.T) {
	for name, a := range map[string]sallyport.Audit{"unknown word": {WhenFull: "ignore"}, "negative": {MaxSize: -1}} {
		if g, err := sallyport.Open(t.Context(), sallyport.Config{DataDir: filepath.Join(t.TempDir(), "d"), Audit: a}); err == nil {
			t.Errorf("%s: opened", name)
			_ = g.Close(t.Context()) // the test has failed already
		}
	}
}
