package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPermission bounds permissions and patterns, in bytes.
const maxPermission = 256

func isPattern(s string) bool { return strings.IndexByte(s, '*') >= 0 }

func matchAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if match(p, s) {
			return true
		}
	}
	return false
}

// match reports whether s matches a pattern in which * stands for any run of characters, the empty one included.
// It is case-sensitive and takes at most len(pattern)*len(s) steps.
func match(pattern, s string) bool {
	star, mark, i, j := -1, 0, 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && pattern[i] == s[j]:
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(pattern) && pattern[i] == '*' {
		i++
	}
	return i == len(pattern)
}

// overlap reports whether some string matches all patterns. It searches the product of the patterns' positions, which
// for the few short patterns of a policy is small, and gives up as "no" (fail closed) past maxStates.
func overlap(patterns ...string) bool {
	const maxStates = 100_000
	type state [4]uint16
	var start state
	seen := map[state]struct{}{start: {}}
	queue := []state{start}
	push := func(s state) {
		if _, ok := seen[s]; !ok && len(seen) < maxStates {
			seen[s] = struct{}{}
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		done := true
		for k, p := range patterns {
			i := int(at[k])
			if i < len(p) {
				done = false
			}
			if i < len(p) && p[i] == '*' { // the star may end here
				next := at
				next[k]++
				push(next)
			}
		}
		if done {
			return true
		}
		for _, c := range step(patterns, at[:]) {
			next, ok := at, true
			for k, p := range patterns {
				i := int(at[k])
				switch {
				case i == len(p):
					ok = false
				case p[i] == '*': // the star takes c and stays
				case p[i] == c:
					next[k]++
				default:
					ok = false
				}
			}
			if ok {
				push(next)
			}
		}
	}
	return false
}

// step returns the characters that some pattern can take next. Where all are at a star, any one character would only
// lead back to the same state, so none is needed.
func step(patterns []string, at []uint16) []byte {
	var cs []byte
	for k, p := range patterns {
		if i := int(at[k]); i < len(p) && p[i] != '*' {
			cs = append(cs, p[i])
		}
	}
	return cs
}

// ValidPermission reports whether s is a literal permission, "resource:action".
func ValidPermission(s string) error {
	if isPattern(s) {
		return fmt.Errorf("%q is a pattern; a literal permission such as \"files:write\" is needed here", s)
	}
	return validForm(s)
}

// ValidPattern reports whether s may stand in a role: "*", or "resource:action" in which * stands for any run of
// characters.
func ValidPattern(s string) error {
	if s == "*" {
		return nil
	}
	return validForm(s)
}

func validForm(s string) error {
	resource, action, ok := strings.Cut(s, ":")
	switch {
	case !ok || resource == "" || action == "":
		return fmt.Errorf("%q is not a permission: it has the form resource:action, such as \"files:write\"", s)
	case len(s) > maxPermission:
		return fmt.Errorf("permission is longer than %d bytes", maxPermission)
	case !utf8.ValidString(s):
		return fmt.Errorf("%q is not valid UTF-8", s)
	}
	for _, r := range s {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return fmt.Errorf("%q contains a space or an unprintable character", s)
		}
	}
	if own, builtin := BuiltinResources()[resource]; builtin && !isPattern(action) {
		plain, _, _ := strings.Cut(action, "@") // metrics:view@<server> is the only qualified form
		if !slices.Contains(own, plain) || (plain != action && !strings.HasPrefix(s, "metrics:view@")) {
			return fmt.Errorf("%q: the built-in resource %q has the permissions %s", s, resource, strings.Join(own, ", "))
		}
	}
	return nil
}

func validName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, r := range s {
		if r > 127 || !(unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_' || r == '.') {
			return false
		}
	}
	return true
}

// ValidServer reports whether name may name a server: 1 to 64 lower-case letters, digits, '-' and '_', and none of the
// built-in resources, whose permissions it could otherwise claim.
func ValidServer(name string) error {
	if _, builtin := BuiltinResources()[name]; builtin {
		return fmt.Errorf("server %q has the name of a built-in resource", name)
	}
	if !validName(name) || strings.ToLower(name) != name || strings.Contains(name, ".") {
		return fmt.Errorf("server %q: a name is 1 to 64 lower-case letters, digits, '-' or '_'", name)
	}
	return nil
}

// BuiltinResources returns the resources of Sallyport itself and the actions each has.
func BuiltinResources() map[string][]string {
	return map[string][]string{
		"metrics":   {"view"},
		"audit":     {"view", "export"},
		"alerts":    {"view", "manage"},
		"decisions": {"view", "manage"},
		"users":     {"view", "manage"},
		"roles":     {"view", "manage"},
		"keys":      {"view", "manage"},
		"clients":   {"view", "manage"},
		"tokens":    {"view", "manage"},
		"tools":     {"view", "manage"},
		"config":    {"view", "manage"},
		"security":  {"view", "manage"},
	}
}

// DefaultRoles returns the roles that exist without configuration. Only admin has permissions; the others differ in
// their limits until a configuration gives them permissions.
func DefaultRoles() []Role {
	return []Role{
		{Name: "guest"},
		{Name: "user"},
		{Name: "premium"},
		{Name: "admin", Permissions: []string{"*"}},
	}
}
