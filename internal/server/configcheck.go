package server

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/sallyport-mcp/sallyport/internal/strictyaml"
	"github.com/sallyport-mcp/sallyport/policy"
)

// minSecret is the shortest HS256 key in bytes (RFC 7518 §3.2: at least the size of the hash).
const minSecret = 32

// reservedPaths are ours; no server may equal, contain or lie under one.
var reservedPaths = []string{"/security", "/.well-known", "/oauth", "/console", "/api", "/healthz", "/readyz", "/metrics"}

// checker finds what is well-formed but wrong.
type checker struct {
	file   *File
	places *strictyaml.Places
	found  strictyaml.Problems
}

func (c *checker) fail(path, message, fix string) {
	c.found = append(c.found, c.places.Problem(path, message, fix))
}

// check returns every mistake of meaning.
func check(f *File, places *strictyaml.Places) strictyaml.Problems {
	c := &checker{file: f, places: places}
	c.listeners()
	c.publicURL()
	c.origins()
	c.auth()
	c.servers()
	c.permissions()
	c.roles()
	c.limits()
	c.thresholds()
	return c.found
}

func (c *checker) listeners() {
	const form = "write an address and a port, such as 127.0.0.1:8443"
	tls := &c.file.TLS
	if (tls.Cert == "") != (tls.Key == "") {
		c.fail("tls", "tls: cert and key are needed together", "set both, or neither")
	}
	if tls.Cert != "" && len(tls.TerminatedBy) > 0 {
		c.fail("tls.terminated_by", "tls: cert and terminated_by exclude each other", "keep cert and key when we speak TLS, terminated_by when a proxy does")
	}
	for i, p := range tls.TerminatedBy {
		if p.Bits() == 0 {
			c.fail(fmt.Sprintf("tls.terminated_by[%d]", i), "tls.terminated_by: this network contains every address", "name the proxies alone")
		}
	}
	for i, p := range c.file.TrustedProxies {
		if p.Bits() == 0 {
			c.fail(fmt.Sprintf("trusted_proxies[%d]", i), "trusted_proxies: this network contains every address", "name the proxies alone")
		}
	}
	if loopback, ok := isLoopback(c.file.Admin.Listen); c.file.Admin.Listen != adminOff && !(ok && loopback) {
		c.fail("admin.listen", fmt.Sprintf("admin.listen: %q is not a loopback address", c.file.Admin.Listen), "write 127.0.0.1:9443, or off")
	}
	loopback, ok := isLoopback(c.file.Listen)
	switch {
	case !ok:
		c.fail("listen", fmt.Sprintf("listen: %q is not an address", c.file.Listen), form)
	case loopback:
	case tls.Cert == "" && len(tls.TerminatedBy) == 0:
		c.fail("listen", fmt.Sprintf("listen: %s can be reached from other machines, and TLS is not set up", c.file.Listen),
			"set tls.cert and tls.key, or tls.terminated_by when a proxy speaks TLS, or listen on 127.0.0.1")
	}
	if ok && !loopback && c.file.Auth.Disabled {
		c.fail("auth.disabled", fmt.Sprintf("auth.disabled: %s can be reached from other machines, so authentication must be on", c.file.Listen),
			"remove auth.disabled, or listen on 127.0.0.1")
	}
}

// isLoopback reports whether a listen address is loopback, and whether it is an address at all.
func isLoopback(listen string) (loopback, ok bool) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || !validPort(port) {
		return false, false
	}
	if host == "localhost" {
		return true, true
	}
	if host == "" { // every interface
		return false, true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback(), err == nil
}

var portPattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,4})$`)

func validPort(port string) bool {
	return portPattern.MatchString(port) && (len(port) < 5 || port <= "65535")
}

func (c *checker) publicURL() {
	text := c.file.PublicURL
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		c.fail("public_url", fmt.Sprintf("public_url: %q is not an origin", text), "write scheme and host alone, such as https://mcp.example.com")
		return
	}
	if u.Scheme == "https" || (u.Scheme == "http" && loopbackName(u.Hostname())) {
		return
	}
	c.fail("public_url", fmt.Sprintf("public_url: %q is not https", text), "write https://; http is for loopback names only")
}

func loopbackName(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (c *checker) origins() {
	for i, text := range c.file.AllowedOrigins {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.Scheme+"://"+u.Host != text {
			c.fail(fmt.Sprintf("allowed_origins[%d]", i), fmt.Sprintf("allowed_origins: %q is not an origin", text),
				"write scheme and host alone, such as https://app.example.com")
		}
	}
	for i, text := range c.file.AllowedHosts {
		if _, _, err := net.SplitHostPort(text); text == "" || err == nil || strings.ContainsAny(text, "/*@[] ") {
			c.fail(fmt.Sprintf("allowed_hosts[%d]", i), fmt.Sprintf("allowed_hosts: %q is not a host", text), "write the name alone; the port does not matter")
		}
	}
}

func (c *checker) auth() {
	a := &c.file.Auth
	if n := a.Tokens.Secret.Len(); c.places.Has("auth.tokens.secret") && n < minSecret {
		c.found = append(c.found, c.places.Plain("auth.tokens.secret",
			fmt.Sprintf("auth.tokens.secret: the secret has %d bytes, at least %d are needed", n, minSecret),
			"make one with: openssl rand -base64 32"))
	}
	if c.places.Has("auth.tokens.secret") && a.Tokens.Algorithm != "HS256" {
		c.fail("auth.tokens.secret", "auth.tokens.secret: a secret is for algorithm HS256 only", "set auth.tokens.algorithm: HS256, or remove the secret")
	}
	if !c.knownRole(a.AnonymousRole) {
		c.fail("auth.anonymous_role", fmt.Sprintf("auth.anonymous_role: there is no role %q", a.AnonymousRole), "define it under roles, or use guest, user, premium or admin")
	}
}

func (c *checker) knownRole(name string) bool {
	_, ok := c.file.Roles[name]
	return ok || slices.ContainsFunc(policy.DefaultRoles(), func(r policy.Role) bool { return r.Name == name })
}

func (c *checker) servers() {
	for i := range c.file.Servers {
		s, at := &c.file.Servers[i], fmt.Sprintf("servers[%d]", i)
		switch err := policy.ValidServer(s.Name); {
		case s.Name == "":
			c.fail(at, at+": name is missing", "give the server a name, such as files")
		case err != nil:
			c.fail(at+".name", err.Error(), "choose another name; built-in are "+strings.Join(slices.Sorted(maps.Keys(policy.BuiltinResources())), ", "))
		}
		for j := range i {
			if other := &c.file.Servers[j]; s.Name != "" && other.Name == s.Name {
				c.fail(at+".name", fmt.Sprintf("server %q is defined twice; first in line %d", s.Name, c.places.Find(fmt.Sprintf("servers[%d].name", j)).Line), "rename one")
			}
		}
		if (len(s.Command) > 0) == (s.URL != "") {
			c.fail(at, fmt.Sprintf("server %q needs exactly one of command and url", s.Name), "set command for a program, url for a server that runs elsewhere")
		}
		if s.URL != "" {
			c.upstreamURL(at+".url", s.URL)
		}
		if len(s.Command) > 0 && s.Command[0] == "" {
			c.fail(at+".command", at+".command: the program is empty", "")
		}
		if len(s.Command) == 0 && (len(s.Env) > 0 || c.places.Has(at+".dir") || s.User != "" || s.Sandbox != "") {
			c.fail(at, fmt.Sprintf("server %q: env, dir and user need a command", s.Name), "remove them")
		}
		c.path(i, at)
	}
}

func (c *checker) upstreamURL(at, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.Fragment != "" {
		c.fail(at, at+": this is not an http or https URL without user and fragment", "write the server's MCP endpoint, such as http://127.0.0.1:3001/mcp")
	}
}

var pathPattern = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

func (c *checker) path(i int, at string) {
	s := &c.file.Servers[i]
	p := s.endpoint()
	where := at + ".path"
	if !c.places.Has(where) {
		where = at + ".name"
	}
	if s.Path == "" && policy.ValidServer(s.Name) != nil {
		return // the name has been reported
	}
	if !pathPattern.MatchString(p) || path.Clean(p) != p {
		c.fail(where, fmt.Sprintf("server %q: %q is not a clean path", s.Name, p), "begin with /, use letters, digits, and . _ ~ -, and do not end with /")
		return
	}
	for _, r := range reservedPaths {
		if overlaps(p, r) {
			c.fail(where, fmt.Sprintf("server %q: path %s collides with %s, which is Sallyport's own", s.Name, p, r), "choose another path, such as /"+s.Name+"/mcp")
		}
	}
	for j := range i {
		other := &c.file.Servers[j]
		switch q := other.endpoint(); {
		case q == p:
			c.fail(where, fmt.Sprintf("servers %q and %q have the same path %s", other.Name, s.Name, p), "give one of them another path")
		case overlaps(p, q):
			c.fail(where, fmt.Sprintf("server %q: path %s and path %s of server %q contain one another", s.Name, p, q, other.Name), "choose paths of which none lies under the other")
		}
	}
}

// overlaps reports whether one path equals or lies under the other, component by component. Letter case is ignored, so
// that /Console is as taken as /console.
func overlaps(a, b string) bool {
	a, b = strings.ToLower(a)+"/", strings.ToLower(b)+"/"
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

func (s *ServerSection) endpoint() string {
	if s.Path == "" {
		return "/" + s.Name + "/mcp"
	}
	return s.Path
}
