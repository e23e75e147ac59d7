//go:build unix

package accept_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// score is how many checks of a scenario passed and failed. A scenario without checks is 0 and 0, which is no pass.
type score struct{ Passed, Failed int }

// conformance is the result of the published suite: its summary, and below it each check with its status.
type conformance struct {
	Scores map[string]score
	Checks map[string][]string
}

// directTotals are the checks that pass against the everything-server itself, without the scenarios of the tasks
// extension, which that server does not implement. They are written down so that a suite that has come to check less
// is noticed.
var directTotals = map[era]int{legacy: 82, modern: 153}

// runConformance runs the requirements of the era's revision against url.
func runConformance(t *testing.T, n node, url string, e era) conformance {
	t.Helper()
	dir := t.TempDir()
	// Its exit code is 1 when a scenario fails, the tasks extension's among them: the summary is judged instead.
	o := n.run(t, 5*time.Minute, "conformance", "server", "--url", url, "--requirements", e.revision(), "-o", dir)
	c, err := parseConformance(o.Out)
	if err != nil {
		t.Fatalf("%v (exit %d)\n%s\n%s", err, o.Code, tail(o.Out, 40), tail(o.Err, 40))
	}
	if c.Checks, err = readChecks(dir); err != nil {
		t.Fatal(err)
	}
	return c
}

// parseConformance reads the summary at the end of what the suite prints, and checks it against its own total.
func parseConformance(out string) (conformance, error) {
	_, summary, found := strings.Cut(out, "=== SUMMARY ===")
	if !found {
		return conformance{}, fmt.Errorf("reading the summary of the conformance suite: there is none")
	}
	line := regexp.MustCompile(`(?m)^(\S+) (\S+) (\d+) passed, (\d+) failed$`)
	c := conformance{Scores: map[string]score{}}
	var sum, total score
	for _, m := range line.FindAllStringSubmatch(summary, -1) {
		passed, _ := strconv.Atoi(m[3]) // Digits by the pattern.
		failed, _ := strconv.Atoi(m[4])
		if m[1] == "Total:" {
			continue
		}
		c.Scores[strings.TrimSuffix(m[2], ":")] = score{passed, failed}
		sum.Passed, sum.Failed = sum.Passed+passed, sum.Failed+failed
	}
	m := regexp.MustCompile(`(?m)^Total: (\d+) passed, (\d+) failed`).FindStringSubmatch(summary)
	if m == nil {
		return conformance{}, fmt.Errorf("reading the summary of the conformance suite: no total")
	}
	total.Passed, _ = strconv.Atoi(m[1]) // Digits by the pattern.
	total.Failed, _ = strconv.Atoi(m[2])
	if sum != total {
		return conformance{}, fmt.Errorf("reading the summary of the conformance suite: scenarios add up to %v, the total is %v", sum, total)
	}
	// Scenarios of the extension that the server behind us does not have say nothing about the gateway.
	maps.DeleteFunc(c.Scores, func(name string, _ score) bool { return strings.HasPrefix(name, "tasks-") })
	return c, nil
}

// readChecks reads the checks each scenario left in a folder of its own, as "id STATUS" in order of their names.
func readChecks(dir string) (map[string][]string, error) {
	folder := regexp.MustCompile(`^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$`)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the checks: %w", err)
	}
	all := map[string][]string{}
	for _, entry := range entries {
		m := folder.FindStringSubmatch(entry.Name())
		if m == nil || strings.HasPrefix(m[1], "tasks-") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name(), "checks.json"))
		if err != nil {
			return nil, fmt.Errorf("reading the checks: %w", err)
		}
		var checks []struct{ ID, Status string }
		if err := json.Unmarshal(text, &checks); err != nil {
			return nil, fmt.Errorf("reading the checks of %s: %w", m[1], err)
		}
		for _, c := range checks {
			all[m[1]] = append(all[m[1]], c.ID+" "+c.Status)
		}
		slices.Sort(all[m[1]])
	}
	return all, nil
}

// passed is the sum of what passed and failed.
func (c conformance) sum() score {
	var s score
	for _, one := range c.Scores {
		s.Passed, s.Failed = s.Passed+one.Passed, s.Failed+one.Failed
	}
	return s
}

// requireConformance checks the whole of a run against the direct one, check count by check count.
func requireConformance(t *testing.T, e era, got, direct conformance) {
	t.Helper()
	if want := (score{Passed: directTotals[e]}); got.sum() != want {
		t.Errorf("%s: %+v, want %+v", e, got.sum(), want)
	}
	if diff := cmp.Diff(direct.Scores, got.Scores); diff != "" {
		t.Errorf("%s: scores by scenario (-direct +got):\n%s", e, diff)
	}
	if diff := cmp.Diff(direct.Checks, got.Checks); diff != "" {
		t.Errorf("%s: checks by scenario (-direct +got):\n%s", e, diff)
	}
	t.Logf("%s: %d of %d checks passed", e, got.sum().Passed, directTotals[e])
}

// TestConformanceHarness runs the suite against the everything-server alone and through the shim, so that a difference
// seen through the gateway is the gateway's.
func TestConformanceHarness(t *testing.T) {
	n := findNode(t)
	for _, e := range []era{legacy, modern} {
		t.Run(string(e), func(t *testing.T) {
			url := startEverything(t, e)
			direct := runConformance(t, n, url, e)
			requireConformance(t, e, direct, direct)
			requireConformance(t, e, runConformance(t, n, startShim(t, url, ""), e), direct)
		})
	}
}

// TestAcceptConformance runs the suite through the gateway, with authentication off and on.
func TestAcceptConformance(t *testing.T) {
	n := findNode(t)
	for _, e := range []era{legacy, modern} {
		t.Run(string(e), func(t *testing.T) {
			upstream := startEverything(t, e)
			direct := runConformance(t, n, upstream, e)
			servers := []guarded{{name: string(e), url: upstream}}
			t.Run("authentication off", func(t *testing.T) {
				g := startGateway(t, setup{servers: servers, open: true})
				requireConformance(t, e, runConformance(t, n, g.endpoint(string(e)), e), direct)
			})
			t.Run("authentication on", func(t *testing.T) {
				g := startGateway(t, setup{servers: servers})
				shim := startShim(t, g.endpoint(string(e)), g.newKey(t, "admin"))
				requireConformance(t, e, runConformance(t, n, shim, e), direct)
			})
		})
	}
}

func TestParseConformance(t *testing.T) {
	good := "noise\n=== SUMMARY ===\n✓ a: 2 passed, 0 failed\n✗ tasks-b: 1 passed, 3 failed\n✓ c: 0 passed, 0 failed\n\nTotal: 3 passed, 3 failed\n"
	c, err := parseConformance(good)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]score{"a": {2, 0}, "c": {0, 0}}; !maps.Equal(c.Scores, want) {
		t.Errorf("got %v, want %v", c.Scores, want)
	}
	for name, bad := range map[string]string{
		"no summary":       "Total: 3 passed, 3 failed\n",
		"no total":         "=== SUMMARY ===\n✓ a: 2 passed, 0 failed\n",
		"a scenario short": strings.Replace(good, "✓ a: 2 passed, 0 failed\n", "", 1),
	} {
		if _, err := parseConformance(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
