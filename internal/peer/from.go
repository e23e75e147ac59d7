package peer

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Config names the proxies that may speak for others. The zero value trusts nobody: every peer is its own address.
// It is read only and may be shared by all requests.
type Config struct {
	// TrustedProxies may say in X-Forwarded-For or Forwarded whose request they carry. Each must itself write one of
	// the two; what it leaves untouched is the client's own text.
	TrustedProxies []netip.Prefix
	// TerminatedBy are proxies that end the client's TLS and speak plain HTTP to us. They are trusted proxies too, and
	// every request of theirs must say X-Forwarded-Proto: https exactly once.
	TerminatedBy []netip.Prefix
}

// maxUserAgent bounds the user agent that is kept, in bytes.
const maxUserAgent = 256

// From says who sent r. The error is a *Refusal of class Malformed, and then the Peer is filled as far as it is known,
// so that the refusal can still be counted and recorded. A request over a unix socket has an invalid Addr. A nil Config
// is the zero one.
func From(r *http.Request, c *Config) (Peer, error) {
	if c == nil {
		c = &Config{}
	}
	p := Peer{UserAgent: cutText(r.UserAgent(), maxUserAgent)}
	direct, err := directAddr(r.RemoteAddr)
	if err != nil {
		return p, err
	}
	p.Addr, p.Direct = direct, direct
	terminated := within(c.TerminatedBy, direct)
	trusted := terminated || within(c.TrustedProxies, direct)
	p.Secure = secure(r, trusted)
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && !trusted {
		p.Certificate = r.TLS.VerifiedChains[0][0] // a proxy's own certificate says nothing about its client
	}
	if trusted {
		client, err := forwarded(r.Header, c, direct)
		if err != nil {
			return p, err
		}
		p.Addr = client
	} else if name := forwardingHeader(r.Header); name != "" && direct.IsLoopback() {
		return p, refuse("%s from loopback, which is no trusted proxy: all clients would share one address; hint: if a proxy runs on this host, add %s to trusted_proxies", name, direct)
	}
	if terminated {
		if err := requireHTTPS(r.Header); err != nil {
			return p, err
		}
		p.Secure = true
	}
	p.Credential, err = credential(r)
	return p, err
}

// directAddr parses the address of the connection. A unix socket has none, which is no error; text that is no address is
// one, because whoever judges it would otherwise take it for a socket.
func directAddr(remote string) (netip.Addr, error) {
	if remote == "" || remote[0] == '@' {
		return netip.Addr{}, nil
	}
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}, refuse("the connection's address is not an IP address and port")
	}
	return plain(ap.Addr()), nil
}

// plain gives every spelling of an address one form: IPv4-mapped IPv6 becomes IPv4, zones go.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// within reports whether an address lies in one of the prefixes. A prefix may be written in IPv4-mapped form.
func within(prefixes []netip.Prefix, a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// secure reports whether the client's own leg is TLS as far as this connection shows. A proxy that encrypts again may say
// that its client did not.
func secure(r *http.Request, trusted bool) bool {
	if r.TLS == nil {
		return false
	}
	for _, proto := range r.Header["X-Forwarded-Proto"] {
		if trusted && proto != "https" {
			return false
		}
	}
	return true
}

// requireHTTPS holds a TLS-terminating proxy to its word.
func requireHTTPS(h http.Header) error {
	if proto := h["X-Forwarded-Proto"]; len(proto) != 1 || proto[0] != "https" {
		return refuse("a proxy of tls.terminated_by did not send exactly one X-Forwarded-Proto: https")
	}
	return nil
}

// cutText shortens s to at most max bytes without splitting a character.
func cutText(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

func refuse(format string, args ...any) *Refusal {
	return &Refusal{Why: Malformed, Reason: fmt.Sprintf(format, args...)}
}

// hostOnly takes the port and the brackets off an address as proxies write it: 192.0.2.1, 192.0.2.1:80, [2001:db8::1],
// [2001:db8::1]:80 or 2001:db8::1.
func hostOnly(s string) string {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		return s[1 : len(s)-1]
	}
	if strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1 {
		if host, _, err := net.SplitHostPort(s); err == nil {
			return host
		}
	}
	return s
}
