package server

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/sandbox"
)

// Finding is one line of a check.
type Finding = admin.Finding

// Levels of a Finding.
const (
	OK   = admin.OK
	Warn = admin.Warn
	Fail = admin.Fail
)

// Posture says how far a configuration is from the defaults, and what the kernel can do for children. It looks at no
// file; OnDisk does.
func Posture(f *File) []Finding {
	var all []Finding
	add := func(warn bool, what, good, bad string) {
		if warn {
			all = append(all, Finding{Level: Warn, What: what, Detail: bad})
		} else {
			all = append(all, Finding{Level: OK, What: what, Detail: good})
		}
	}
	loopback, _ := isLoopback(f.Listen)
	switch {
	case f.TLS.Cert != "":
		add(false, "tls", "from "+f.TLS.MinVersion, "")
	case len(f.TLS.TerminatedBy) > 0:
		add(true, "tls", "", fmt.Sprintf("a proxy must speak TLS; its plain HTTP is believed from %s", join(f.TLS.TerminatedBy)))
	default:
		add(!loopback, "tls", "none needed: loopback only", "none")
	}
	add(f.Auth.Disabled, "authentication", "on", "off: everyone on this machine has role "+f.Auth.AnonymousRole)
	add(f.Audit.Mode != "durable", "audit", "durable: a call waits for its record", "async: a crash can lose the last records")
	proxies := slices.Concat(f.TrustedProxies, f.TLS.TerminatedBy)
	add(len(proxies) > 0, "proxies", "no forwarding header is believed", "forwarding headers are believed from "+join(proxies))
	add(f.Limits.anyOff(), "limits", "on", "at least one layer is off")
	for i := range f.Servers {
		if s := &f.Servers[i]; len(s.Command) > 0 {
			all = append(all, confinement(s, sandbox.Look(), os.Geteuid() == 0))
		}
	}
	if runtime.GOOS == "windows" {
		add(true, "admin socket", "", "not offered on this system: stop the gateway to change keys and roles")
	}
	return all
}

func join(list []Prefix) (text string) {
	for i, p := range list {
		if i > 0 {
			text += ", "
		}
		text += p.String()
	}
	return text
}

func (l *LimitsSection) anyOff() bool {
	off := l.Global.off || l.Address.off || l.FailedAuth.off || l.Tool.off || l.PrincipalTool.off
	for _, r := range l.Roles {
		off = off || r.off
	}
	return off
}

// soon is how long before its end a certificate is warned of.
const soon = 14 * 24 * time.Hour

// OnDisk checks what a configuration names: the data directory, its keys with their age, the certificate and the programs.
func OnDisk(f *File, now time.Time) []Finding {
	all := dirFindings(f.DataDir, now)
	if err := findChildren(f); err != nil {
		all = append(all, Finding{Level: Fail, What: "commands", Detail: err.Error()})
	}
	if f.TLS.Cert == "" {
		return all
	}
	pair, err := tls.LoadX509KeyPair(f.TLS.Cert, f.TLS.Key)
	switch {
	case err != nil:
		return append(all, Finding{Level: Fail, What: "certificate", Detail: "certificate and key cannot be used: " + f.TLS.Cert})
	case now.After(pair.Leaf.NotAfter):
		return append(all, Finding{Level: Fail, What: "certificate", Detail: "expired on " + pair.Leaf.NotAfter.UTC().Format(time.DateOnly)})
	case now.Add(soon).After(pair.Leaf.NotAfter):
		return append(all, Finding{Level: Warn, What: "certificate", Detail: "expires on " + pair.Leaf.NotAfter.UTC().Format(time.DateOnly)})
	}
	return append(all, Finding{Level: OK, What: "certificate", Detail: "valid until " + pair.Leaf.NotAfter.UTC().Format(time.DateOnly)})
}

func dirFindings(dir string, now time.Time) []Finding {
	info, err := os.Stat(dir)
	switch {
	case os.IsNotExist(err):
		return []Finding{{Level: OK, What: "data directory", Detail: dir + " is made at the first start"}}
	case err != nil:
		return []Finding{{Level: Fail, What: "data directory", Detail: err.Error()}}
	case !info.IsDir():
		return []Finding{{Level: Fail, What: "data directory", Detail: dir + " is not a directory"}}
	}
	all := []Finding{private("data directory", dir, info)}
	entries, err := os.ReadDir(filepath.Join(dir, "keys"))
	if err != nil {
		return all // none yet
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		finding := private("key "+e.Name(), filepath.Join(dir, "keys", e.Name()), info)
		finding.Detail += fmt.Sprintf(", %d days old", int(now.Sub(info.ModTime()).Hours()/24))
		all = append(all, finding)
	}
	return all
}

// private reports whether others can read or write a file. Windows has no such bits.
func private(what, path string, info fs.FileInfo) Finding {
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return Finding{Level: Fail, What: what, Detail: fmt.Sprintf("%s is open to others (mode %04o); run: chmod go= %s", path, mode, path)}
	}
	return Finding{Level: OK, What: what, Detail: path}
}
