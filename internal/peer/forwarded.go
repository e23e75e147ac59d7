package peer

import (
	"net/http"
	"net/netip"
	"strings"
)

// forwardingHeaders are the signs that a proxy stands between us and the client. Only the first two are ever believed.
var forwardingHeaders = [...]string{"X-Forwarded-For", "Forwarded", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-Ip"}

// forwardingHeader returns the name of a forwarding header that is present, or "".
func forwardingHeader(h http.Header) string {
	for _, name := range forwardingHeaders {
		if _, ok := h[name]; ok {
			return name
		}
	}
	return ""
}

// forwarded returns the client's address as a trusted proxy tells it. A proxy commonly writes only one of the two
// headers and passes the client's own text in the other one on, so two that disagree are refused: which one to believe
// cannot be known.
func forwarded(h http.Header, c *Config, direct netip.Addr) (netip.Addr, error) {
	xff, std := h["X-Forwarded-For"], h["Forwarded"]
	switch {
	case len(xff) == 0 && len(std) == 0:
		return direct, nil
	case len(std) == 0:
		return walk(splitPlain(xff), c, direct)
	}
	nodes, err := splitForwarded(std)
	if err != nil {
		return direct, err
	}
	client, err := walk(nodes, c, direct)
	if err != nil || len(xff) == 0 {
		return client, err
	}
	other, err := walk(splitPlain(xff), c, direct)
	if err != nil {
		return direct, err
	}
	if other != client {
		return direct, refuse("X-Forwarded-For and Forwarded disagree; hint: let the proxy remove the one it does not write")
	}
	return client, nil
}

// walk follows the chain of hops from the nearest to the farthest, and stops at the first that is no trusted proxy.
// What stands farther left was written by that one and is not read. A chain of trusted proxies only ends at its first
// member.
func walk(hops []string, c *Config, direct netip.Addr) (netip.Addr, error) {
	client := direct
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(hostOnly(hops[i]))
		if err != nil {
			return direct, refuse("a trusted proxy sent a forwarding header in which a hop is no IP address")
		}
		client = plain(a)
		if !within(c.TrustedProxies, client) && !within(c.TerminatedBy, client) {
			return client, nil
		}
	}
	return client, nil
}

// splitPlain splits the values of X-Forwarded-For at commas, several headers in their order (RFC 9110 §5.3).
func splitPlain(values []string) []string {
	var hops []string
	for _, v := range values {
		for hop := range strings.SplitSeq(v, ",") {
			hops = append(hops, strings.Trim(hop, " \t"))
		}
	}
	return hops
}

// splitForwarded returns the "for" node of every element of Forwarded (RFC 7239 §4), in order. Each header line must be
// well formed by itself, so that an open quote of the client's cannot swallow what a proxy added.
func splitForwarded(values []string) ([]string, error) {
	var hops []string
	for _, v := range values {
		for {
			hop, rest, more, ok := element(v)
			if !ok {
				return nil, refuse("a trusted proxy sent a Forwarded header that is not of RFC 7239 or names no client")
			}
			hops = append(hops, hop)
			if !more {
				break
			}
			v = rest
		}
	}
	return hops, nil
}

// element reads one forwarded-element and returns its node. More tells whether a comma and another element follow.
func element(s string) (node, rest string, more, ok bool) {
	found := false
	for {
		var name, value string
		name, value, s, ok = pair(s)
		if !ok {
			return "", "", false, false
		}
		if strings.EqualFold(name, "for") {
			if found {
				return "", "", false, false
			}
			node, found = value, true
		}
		s = strings.TrimLeft(s, " \t")
		if s == "" {
			return node, "", false, found
		}
		sep := s[0]
		s = s[1:]
		if sep == ',' {
			return node, s, true, found
		}
		if sep != ';' {
			return "", "", false, false
		}
	}
}

// pair reads one forwarded-pair: a token, an equals sign, and a token or quoted string.
func pair(s string) (name, value, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	n := tokenLen(s)
	if n == 0 || n == len(s) || s[n] != '=' {
		return "", "", "", false
	}
	name, s = s[:n], s[n+1:]
	if strings.HasPrefix(s, `"`) {
		value, rest, ok = quoted(s[1:])
		return name, value, rest, ok
	}
	n = tokenLen(s)
	return name, s[:n], s[n:], n > 0
}

// quoted reads a quoted string after its opening quote (RFC 9110 §5.6.4).
func quoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// tokenLen returns how many leading bytes of s are of a token (RFC 9110 §5.6.2), or the colon that some proxies write
// unquoted in 192.0.2.1:80.
func tokenLen(s string) int {
	for i := range len(s) {
		c := s[i]
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~:", rune(c)) {
			return i
		}
	}
	return len(s)
}
