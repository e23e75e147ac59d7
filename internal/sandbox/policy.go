package sandbox

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// Policy is what a child is given. The zero value hides nothing and keeps the user; descriptors, core dumps and new
// privileges are withheld all the same.
type Policy struct {
	// Hidden are files and directories the child cannot open, nor change what is in them; absolute, from Hide. Empty:
	// no rule set is made, so signals are not scoped either.
	Hidden []string
	// User is whom the child runs as, as ParseUser reads it. Empty: the gateway's user. Needs root.
	User string
}

// The arguments a policy travels as. They hold no secret, and are gone once the child is: its own take their place.
const (
	hideArgument = "--hide"
	userArgument = "--user"
	endArgument  = "--"
)

// Arguments returns the policy in the form that Parse reads. The command is put after them.
func (p Policy) Arguments() []string {
	var args []string
	for _, path := range p.Hidden {
		args = append(args, hideArgument, path)
	}
	if p.User != "" {
		args = append(args, userArgument, p.User)
	}
	return append(args, endArgument)
}

// Parse splits arguments into the policy and the command behind it. Anything it does not know is an error: a child must
// not start with less than was asked for.
func Parse(args []string) (p Policy, command []string, err error) {
	for len(args) > 0 {
		name := args[0]
		switch {
		case name == endArgument && len(args) > 1:
			return p, args[1:], nil
		case name == endArgument:
			return p, nil, errors.New("no command")
		case len(args) < 2:
			return p, nil, fmt.Errorf("argument %q lacks its value", name)
		case name == hideArgument && filepath.IsAbs(args[1]):
			p.Hidden = append(p.Hidden, args[1])
		case name == hideArgument:
			return p, nil, fmt.Errorf("%s %q is not an absolute path", name, args[1])
		case name == userArgument && args[1] != "" && p.User == "":
			p.User = args[1]
		default:
			return p, nil, fmt.Errorf("unknown argument %q", name)
		}
		args = args[2:]
	}
	return p, nil, errors.New("no command")
}

// Hide returns the paths under which the given ones can be found: each made absolute, and each with its symbolic links
// followed. It is called once, before any child runs, so that no child can turn a link elsewhere. A path that does not
// exist yet is taken as it is written, behind the links of the part that does.
func Hide(paths ...string) ([]string, error) {
	var all []string
	for _, path := range paths {
		if path == "" {
			continue
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("hiding %s: %w", path, err)
		}
		all = append(all, abs, followed(abs))
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// followed resolves the links of the longest part of a path that exists.
func followed(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if parent := filepath.Dir(path); err != nil && parent != path {
		return filepath.Join(followed(parent), filepath.Base(path))
	}
	if err != nil {
		return path
	}
	return real
}

// Confinement is what this system can do for a policy.
type Confinement struct {
	// ABI is the version of Landlock the kernel speaks; 0: there is none.
	ABI int
	// Missing names what a child of the same user can do although the policy hides paths. Empty: nothing it should not.
	Missing []string
}
