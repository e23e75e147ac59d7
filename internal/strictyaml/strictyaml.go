// Package strictyaml reads a configuration file into a struct and says exactly where it is wrong.
//
// For most uses, call [Decode] with a pointer to a struct whose fields carry `yaml:"name"` tags, then check meaning and
// report it with [Places.Problem]. What YAML offers beyond mappings, lists and scalars (anchors, aliases, merge keys,
// tags, directives, several documents) is refused: a configuration should mean what it shows.
//
// The one invariant: a key that is not in the struct, stands twice or has a value of another type is an error with its
// position, never ignored; and no error shows a value that came from the environment, a file or a secret field.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds of a file. They keep the parser, which recurses and rescans, within milliseconds.
const (
	maxFile  = 256 << 10 // bytes
	maxLine  = 8 << 10   // bytes
	maxDepth = 100       // nested brackets
)

// Scalar is a value that is written as one YAML scalar: a string or a number. A struct type may implement it and have
// fields as well; then both forms are accepted.
type Scalar interface {
	// SetScalar reads the text. The error completes the sentence "<key>: <value> ..." and does not repeat the value.
	SetScalar(text string) error
}

// Sensitive is a Scalar whose text no error may show.
type Sensitive interface {
	Scalar
	Sensitive()
}

// Options say how a file is read. The zero value reads the environment and files of this process.
type Options struct {
	// Name stands before positions in errors. Empty: "config".
	Name string
	// Dir is where relative paths of ${file:...} start. Empty: the working directory.
	Dir string
	// Getenv looks up a variable. Nil: os.LookupEnv.
	Getenv func(string) (string, bool)
	// ReadFile reads a file for ${file:...}. Nil: os.ReadFile.
	ReadFile func(string) ([]byte, error)
}

// Decode reads src into the struct that into points to. The error is a Problems with all that was found, in order of
// position; fields that were read keep their values even then. An empty document leaves everything at its zero value.
func Decode(src []byte, into any, o Options) (*Places, error) {
	b := newBinder(o)
	root := b.parse(src)
	if root != nil {
		b.value(root, reflect.ValueOf(into).Elem(), "", "")
	}
	return b.places, b.found.Err()
}

func newBinder(o Options) *binder {
	if o.Name == "" {
		o.Name = "config"
	}
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	if o.ReadFile == nil {
		o.ReadFile = os.ReadFile
	}
	return &binder{options: o, places: &Places{name: o.Name, at: map[string]Place{}}}
}

// parse returns the body of the only document, or nil when there is none or it cannot be read.
func (b *binder) parse(src []byte) ast.Node {
	if p := b.bounds(src); p != nil {
		b.found = append(b.found, p)
		return nil
	}
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		b.found = append(b.found, b.syntax(err))
		return nil
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if root != nil {
			b.failToken(doc.Start, root, "a second document begins here", "keep one document in the file; remove the --- line")
			return root
		}
		root = doc.Body
	}
	return root
}

// bounds refuses what the parser should not be given.
func (b *binder) bounds(src []byte) *Problem {
	at := func(line, column int, message, hint string) *Problem {
		return &Problem{File: b.options.Name, Line: line, Column: column, Message: message, Fix: hint}
	}
	if len(src) > maxFile {
		return at(1, 1, fmt.Sprintf("the file is larger than %d KiB", maxFile>>10), "")
	}
	depth := 0
	for i, line := range bytes.Split(src, []byte("\n")) {
		switch {
		case len(line) > maxLine:
			return at(i+1, maxLine, fmt.Sprintf("the line is longer than %d KiB", maxLine>>10), "")
		case !utf8.Valid(line):
			return at(i+1, 1, "the line is not valid UTF-8", "save the file as UTF-8")
		case bytes.IndexByte(line, 0) >= 0:
			return at(i+1, bytes.IndexByte(line, 0)+1, "the line contains a NUL byte", "save the file as UTF-8")
		}
		for j, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
			if depth > maxDepth {
				return at(i+1, j+1, fmt.Sprintf("more than %d brackets are open", maxDepth), "")
			}
		}
	}
	return nil
}

// syntax turns the parser's error into a Problem; only its message is used, since its text quotes the source.
func (b *binder) syntax(err error) *Problem {
	p := &Problem{File: b.options.Name, Line: 1, Column: 1, Message: "the file is not valid YAML"}
	var detail yaml.Error
	if errors.As(err, &detail) {
		p.Message = detail.GetMessage()
		if t := detail.GetToken(); t != nil && t.Position != nil {
			p.Line, p.Column = max(1, t.Position.Line), max(1, t.Position.Column)
		}
	}
	return p
}

// expand replaces ${NAME}, ${file:PATH} and the escape $${. The second result says what was replaced, or "".
func (b *binder) expand(text string) (value, source string, problem string) {
	var out strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			out.WriteString(text)
			return out.String(), source, ""
		}
		if i > 0 && text[i-1] == '$' { // $${ stands for ${
			out.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return "", source, "a ${ is not closed"
		}
		name := text[i+2 : i+end]
		replaced, problem := b.lookup(name)
		if problem != "" {
			return "", source, problem
		}
		source = "${" + name + "}"
		out.WriteString(text[:i] + replaced)
		text = text[i+end+1:]
	}
}

// lookup reads a variable or a file. A final line end of a file is dropped, since editors add one.
func (b *binder) lookup(name string) (value, problem string) {
	path, isFile := strings.CutPrefix(name, "file:")
	if !isFile {
		if name == "" {
			return "", "${} names nothing"
		}
		value, ok := b.options.Getenv(name)
		if !ok {
			return "", fmt.Sprintf("the environment variable %s is not set", name)
		}
		return value, ""
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.options.Dir, path)
	}
	data, err := b.options.ReadFile(path)
	switch {
	case err != nil:
		return "", fmt.Sprintf("reading ${%s}: %s", name, reason(err))
	case len(data) > maxFile:
		return "", fmt.Sprintf("the file of ${%s} is larger than %d KiB", name, maxFile>>10)
	case !utf8.Valid(data):
		return "", fmt.Sprintf("the file of ${%s} is not valid UTF-8", name)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), ""
}

// reason is the cause of a file error without its path, which the message has already.
func reason(err error) string {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

// nearest returns the candidate closest to name, or "" when none is close.
func nearest(name string, candidates []string) string {
	best, limit := "", max(2, len(name)/3)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(strings.ToLower(name), c); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that make a out of b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
