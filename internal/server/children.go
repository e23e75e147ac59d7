package server

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/sandbox"
)

// hidden is what no child may open beside the data directory: the configuration and the files it takes values from, the
// key of the certificate and, where it lies elsewhere, the admin socket.
func (f *File) hidden() []string {
	all := append([]string{}, f.sources...)
	if f.TLS.Key != "" {
		all = append(all, f.TLS.Key)
	}
	return append(all, admin.SocketDir(f.DataDir))
}

// findChildren reports a program that cannot be executed and a user that it cannot run as.
func findChildren(f *File) error {
	if err := findCommands(f); err != nil {
		return err
	}
	return findUsers(f)
}

// findUsers reports a user that is not known or that we cannot become.
func findUsers(f *File) error {
	for i := range f.Servers {
		s := &f.Servers[i]
		err := sandbox.CheckUser(s.User)
		switch {
		case errors.Is(err, sandbox.ErrNotRoot):
			return &Mistake{Err: fmt.Errorf("server %q: user: %w", s.Name, err), Fix: "start the gateway as root, or remove user"}
		case err != nil:
			return &Mistake{Err: fmt.Errorf("server %q: %w", s.Name, err), Fix: "write the name of an existing user, or uid:gid such as 65534:65534"}
		}
	}
	return nil
}

// aboutServer begins What of the findings about one server.
const aboutServer = "server "

// confinement says what keeps the child of a server from the keys: another user, Landlock where it is asked for, or
// nothing.
func confinement(s *ServerSection, can sandbox.Confinement, root bool) Finding {
	finding := Finding{Level: OK, What: aboutServer + s.Name}
	switch {
	case s.User != "":
		finding.Detail = "the child runs as user " + s.User
		if can.ABI > 0 && s.Sandbox != "" {
			finding.Detail += fmt.Sprintf(" and under Landlock (ABI %d)", can.ABI)
		}
	case s.Sandbox == "":
		finding.Level = Warn
		finding.Detail = "the child runs as this user without Landlock: it can read the keys and the log in the data directory; set sandbox: landlock, or user, which needs root"
	case can.ABI == 0:
		finding.Level = Warn
		finding.Detail = "the child runs as this user and this system cannot confine it: it can read the keys and the log in the data directory; set user, which needs root"
	case len(can.Missing) > 0:
		finding.Level = Warn
		finding.Detail = fmt.Sprintf("the child runs as this user under Landlock (ABI %d), which keeps it from opening keys and log, but on this kernel it can %s; set user, which needs root",
			can.ABI, strings.Join(can.Missing, ", "))
	case root:
		finding.Level = Warn
		finding.Detail = fmt.Sprintf("the child runs as root under Landlock (ABI %d): it cannot open keys and log itself, but can change what other programs of this machine do; set user", can.ABI)
	default:
		finding.Detail = fmt.Sprintf("the child runs as this user under Landlock (ABI %d): it cannot open keys, log and configuration, nor signal the gateway", can.ABI)
	}
	return finding
}
