package policy

import (
	"testing"

	"pgregory.net/rapid"
)

// naive is the definition of match by recursion.
func naive(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		for i := 0; i <= len(s); i++ {
			if naive(pattern[1:], s[i:]) {
				return true
			}
		}
		return false
	}
	return s != "" && s[0] == pattern[0] && naive(pattern[1:], s[1:])
}

func TestMatchIsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*]{0,6}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab]{0,6}`).Draw(t, "s")
		if match(pattern, s) != naive(pattern, s) {
			t.Fatalf("match(%q, %q) = %v", pattern, s, match(pattern, s))
		}
	})
}

func TestOverlapFindsACommonString(t *testing.T) {
	var all []string
	for n, level := 0, []string{""}; n <= 6; n++ {
		all = append(all, level...)
		var next []string
		for _, s := range level {
			next = append(next, s+"a", s+"b")
		}
		level = next
	}
	rapid.Check(t, func(t *rapid.T) {
		p, q := rapid.StringMatching(`[ab*]{0,3}`).Draw(t, "p"), rapid.StringMatching(`[ab*]{0,3}`).Draw(t, "q")
		common := false
		for _, s := range all {
			common = common || (match(p, s) && match(q, s))
		}
		if overlap(p, q) != common {
			t.Fatalf("overlap(%q, %q) = %v, want %v", p, q, overlap(p, q), common)
		}
	})
}

func FuzzValidPattern(f *testing.F) {
	for _, s := range []string{"*", "files:*", "metrics:view@a", "keys:view@", ":", "a:", "a:b c", "metrics:"} {
		f.Add(s, "files:read")
	}
	f.Fuzz(func(t *testing.T, pattern, permission string) {
		if ValidPattern(pattern) != nil || ValidPermission(permission) != nil || len(pattern)+len(permission) > 64 {
			return
		}
		if match(pattern, permission) && !overlap(pattern, permission) {
			t.Fatalf("%q matches %q and does not overlap it", pattern, permission)
		}
	})
}
