package validate

import "strings"

// place writes a pointer without what the caller chose: member names that the schema does not declare become "*".
func (p *program) place(pointer string) string {
	tokens := strings.Split(pointer, "/")
	for i, token := range tokens {
		if i > 0 && !isIndex(token) && !p.declares(token) {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, "/")
}

// declares reports whether some subschema declares a member of that name, written as a token of a pointer.
func (p *program) declares(token string) bool {
	_, ok := p.declared[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)]
	return ok
}

func isIndex(token string) bool {
	return token != "" && len(token) <= 6 && strings.Trim(token, "0123456789") == ""
}

// declaredNames collects the member names that the forms declare.
func declaredNames(forms []*form) map[string]struct{} {
	names := map[string]struct{}{}
	for _, f := range forms {
		for name := range f.properties {
			names[name] = struct{}{}
		}
	}
	return names
}
