package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a file.
type Problem struct {
	File    string
	Line    int // from 1
	Column  int // from 1, in characters
	Message string
	Fix     string // what to do; may be empty
}

// Error returns "file:line:column: message".
func (p *Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Hint says what to do about it; it may be empty.
func (p *Problem) Hint() string { return p.Fix }

// Problems is everything wrong with a file, in order of position.
type Problems []*Problem

// Error returns one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems as errors.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Err returns the problems sorted by position, or nil when there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ps
}

// Place is where a key stands.
type Place struct {
	Line, Column int
	Source       string // "${NAME}" when the value was taken from elsewhere, else empty
}

// Places knows where each key of a file stands. It is immutable after Decode.
type Places struct {
	name string
	at   map[string]Place
}

// Find returns the place of a path such as "servers[0].path"; when the file does not have it, that of the nearest
// parent, and at last the beginning of the file.
func (p *Places) Find(path string) Place {
	for path != "" {
		if place, ok := p.at[path]; ok {
			return place
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return Place{Line: 1, Column: 1}
}

// Has reports whether the file sets the path.
func (p *Places) Has(path string) bool { _, ok := p.at[path]; return ok }

// Problem makes a problem at a path. A message about a value that came from the environment or a file is replaced by
// one that names only the source, since it may quote the value.
func (p *Places) Problem(path, message, fix string) *Problem {
	if source := p.Find(path).Source; source != "" {
		message = fmt.Sprintf("%s: the value of %s cannot be used here", path, source)
	}
	return p.Plain(path, message, fix)
}

// Plain makes a problem whose message is kept as it is. It must not quote the value.
func (p *Places) Plain(path, message, fix string) *Problem {
	place := p.Find(path)
	return &Problem{File: p.name, Line: place.Line, Column: place.Column, Message: message, Fix: fix}
}
