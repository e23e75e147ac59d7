package server

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-mcp/sallyport"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/internal/strictyaml"
	"github.com/sallyport-mcp/sallyport/policy"
)

// Defaults of what this package itself reads; the root package has those of the rest.
const (
	defaultListen      = "127.0.0.1:8443"
	defaultAdminListen = "127.0.0.1:9443"
	defaultDataDir     = "./data"
	adminOff           = "off"
)

// ReadFile reads and checks sallyport.yaml. getenv may be nil for the environment of this process. The error is a
// strictyaml.Problems, or says why the file could not be read.
func ReadFile(path string, getenv func(string) (string, bool)) (*File, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &Mistake{Err: fmt.Errorf("reading the configuration: %w", err), Fix: "make one with: sallyport init"}
		}
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return ParseFile(src, path, getenv)
}

// ParseFile is ReadFile for bytes in memory; path gives their name in errors and the directory of relative paths.
func ParseFile(src []byte, path string, getenv func(string) (string, bool)) (*File, error) {
	f := &File{}
	dir := filepath.Dir(path)
	sources := []string{path}
	read := func(name string) ([]byte, error) {
		sources = append(sources, name)
		return os.ReadFile(name)
	}
	places, err := strictyaml.Decode(src, f, strictyaml.Options{Name: path, Dir: dir, Getenv: getenv, ReadFile: read})
	var found strictyaml.Problems
	if err != nil && !errors.As(err, &found) {
		return nil, err
	}
	f.fillDefaults()
	if len(found) == 0 { // what could not be read would only be reported twice
		found = check(f, places)
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	f.anchor(dir)
	for _, name := range sources {
		if name, err = filepath.Abs(name); err != nil {
			return nil, fmt.Errorf("finding %s: %w", name, err)
		}
		f.sources = append(f.sources, name)
	}
	return f, nil
}

// Checked returns a File made in code, after the same checks as one that was read. Relative paths start at the working
// directory.
func Checked(f File) (*File, error) {
	f.fillDefaults()
	places, err := strictyaml.Decode(nil, &struct{}{}, strictyaml.Options{Name: "arguments"})
	if err != nil {
		return nil, err
	}
	var mistakes []error
	for _, problem := range check(&f, places) { // without a position: there is no file
		mistakes = append(mistakes, &Mistake{Err: errors.New(problem.Message), Fix: problem.Fix})
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	f.anchor(".")
	return &f, nil
}

// Mistake is an error that can say what to do about it.
type Mistake struct {
	Err error
	Fix string
}

// Error says what is wrong.
func (m *Mistake) Error() string { return m.Err.Error() }

// Hint says what to do about it.
func (m *Mistake) Hint() string { return m.Fix }

// Unwrap returns the cause.
func (m *Mistake) Unwrap() error { return m.Err }

func (f *File) fillDefaults() {
	for at, value := range map[*string]string{
		&f.Listen: defaultListen, &f.DataDir: defaultDataDir, &f.Admin.Listen: defaultAdminListen,
		&f.Auth.AnonymousRole: "guest", &f.Auth.Tokens.Algorithm: "EdDSA", &f.TLS.MinVersion: "1.2", &f.Audit.Mode: "durable",
	} {
		if *at == "" {
			*at = value
		}
	}
}

// anchor makes relative paths independent of the working directory.
func (f *File) anchor(dir string) {
	paths := []*string{&f.DataDir, &f.TLS.Cert, &f.TLS.Key}
	for i := range f.Servers {
		paths = append(paths, &f.Servers[i].Dir)
	}
	for _, p := range paths {
		if *p == "" || filepath.IsAbs(*p) {
			continue
		}
		if abs, err := filepath.Abs(filepath.Join(dir, *p)); err == nil {
			*p = abs
		}
	}
}

// guardConfig is the part of the file that the guard is built from. Store, ChildExec, Log and Now are the caller's.
func (f *File) guardConfig() sallyport.Config {
	c := sallyport.Config{
		PublicURL:       f.origin(),
		DataDir:         f.DataDir,
		Permissions:     f.permissions(),
		Roles:           f.roles(),
		TrustedProxies:  prefixes(f.TrustedProxies),
		TLSTerminatedBy: prefixes(f.TLS.TerminatedBy),
		AllowedHosts:    f.hosts(),
		AllowedOrigins:  f.AllowedOrigins,
		Limits:          f.limits(),
		Hidden:          f.hidden(),
	}
	for i := range f.Servers {
		c.Servers = append(c.Servers, f.Servers[i].server())
	}
	c.Auth = sallyport.Auth{
		Disabled: f.Auth.Disabled, AnonymousRole: f.Auth.AnonymousRole, Algorithm: f.Auth.Tokens.Algorithm,
		HS256Secret: f.Auth.Tokens.Secret.Text, AccessTTL: time.Duration(f.Auth.Tokens.AccessTTL),
	}
	c.Audit = sallyport.Audit{Mode: f.Audit.Mode, Retention: time.Duration(f.Audit.Retention), MaxSize: int64(f.Audit.MaxSize), WhenFull: f.Audit.WhenFull}
	rules := f.Detect.Rules
	c.Detect = sallyport.Detect{
		FailedAuth: rules.FailedAuth.threshold(), FailedAuthAddress: rules.FailedAuthAddress.threshold(),
		Denials: rules.PermissionDenials.threshold(), LimitEpisodes: rules.LimitEpisodes.threshold(),
	}
	return c
}

// origin is public_url or, on a loopback listener with a fixed port, the listener's own.
func (f *File) origin() string {
	loopback, _ := isLoopback(f.Listen)
	if f.PublicURL != "" || !loopback || strings.HasSuffix(f.Listen, ":0") {
		return strings.TrimSuffix(f.PublicURL, "/")
	}
	if f.TLS.Cert != "" {
		return "https://" + f.Listen
	}
	return "http://" + f.Listen
}

// hosts is what the Host header may name, beside public_url and loopback names.
func (f *File) hosts() []string {
	host, _, err := net.SplitHostPort(f.Listen)
	if addr, bad := netip.ParseAddr(host); err != nil || bad != nil || addr.IsUnspecified() {
		return f.AllowedHosts
	}
	return append(slices.Clone(f.AllowedHosts), host)
}

func (s *ServerSection) server() sallyport.Server {
	return sallyport.Server{
		Name: s.Name, Path: s.endpoint(), Command: s.Command, Env: s.Env, Dir: s.Dir, User: s.User, Sandbox: s.Sandbox, URL: s.URL,
		Timeout: time.Duration(s.Timeout), MaxRequest: int64(s.MaxRequest), MaxResponse: int64(s.MaxResponse),
		JSONRPCRefusals: s.Refusals == "jsonrpc",
	}
}

func (f *File) permissions() []policy.Rule {
	rules := make([]policy.Rule, len(f.Permissions))
	for i, p := range f.Permissions {
		rules[i] = policy.Rule(p)
	}
	return rules
}

func (f *File) roles() []policy.Role {
	var roles []policy.Role
	for _, name := range slices.Sorted(maps.Keys(f.Roles)) {
		roles = append(roles, policy.Role{Name: name, Permissions: f.Roles[name].Permissions, Inherits: f.Roles[name].Inherits})
	}
	return roles
}

func (f *File) limits() ratelimit.Limits {
	l := ratelimit.Limits{
		Global: f.Limits.Global.limit(), Address: f.Limits.Address.limit(), FailedAuth: f.Limits.FailedAuth.limit(),
		Tool: f.Limits.Tool.limit(), PrincipalTool: f.Limits.PrincipalTool.limit(),
	}
	if len(f.Limits.Roles) > 0 {
		l.Roles = make(map[string]ratelimit.Limit, len(f.Limits.Roles))
		for name, limit := range f.Limits.Roles {
			l.Roles[name] = limit.limit()
		}
	}
	return l
}

func (t ThresholdSection) threshold() detect.Threshold {
	return detect.Threshold{Count: t.Count, Window: time.Duration(t.Window)}
}

func prefixes(list []Prefix) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		out[i] = p.Prefix
	}
	return out
}
