package peer_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/peer"
)

func prefixes(texts ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range texts {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func config() *peer.Config {
	return &peer.Config{TrustedProxies: prefixes("10.0.0.0/8", "2001:db8:ff::/48"), TerminatedBy: prefixes("172.16.0.1/32")}
}

// request makes one from alternating header names and values; "@" is the address of the connection, "?" the query.
func request(t testing.TB, pairs ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://mcp.example.com/files/mcp", nil)
	r.RemoteAddr = "10.0.0.1:4711"
	for i := 0; i < len(pairs); i += 2 {
		switch pairs[i] {
		case "@":
			r.RemoteAddr = pairs[i+1]
		case "?":
			r.URL.RawQuery = pairs[i+1]
		default:
			r.Header.Add(pairs[i], pairs[i+1])
		}
	}
	return r
}

func TestFromAddress(t *testing.T) {
	const xff, std = "X-Forwarded-For", "Forwarded"
	for _, test := range []struct {
		name  string
		pairs []string
		want  string
	}{
		{"no proxy", []string{"@", "192.0.2.7:80"}, "192.0.2.7"},
		{"stranger's header ignored", []string{"@", "192.0.2.7:80", xff, "198.51.100.1"}, "192.0.2.7"},
		{"stranger's garbage ignored", []string{"@", "192.0.2.7:80", std, `for="`}, "192.0.2.7"},
		{"proxy without header", nil, "10.0.0.1"},
		{"one hop", []string{xff, "198.51.100.1"}, "198.51.100.1"},
		{"rightmost untrusted", []string{xff, "203.0.113.9, 198.51.100.1, 10.2.3.4"}, "198.51.100.1"},
		{"spoofed left part unread", []string{xff, "garbage,,\x01, 198.51.100.1"}, "198.51.100.1"},
		{"several headers in order", []string{xff, "203.0.113.9", xff, "198.51.100.1", xff, "10.9.9.9"}, "198.51.100.1"},
		{"only proxies", []string{xff, "10.0.0.9, 10.0.0.8"}, "10.0.0.9"},
		{"mapped connection", []string{"@", "[::ffff:10.0.0.1]:80", xff, "198.51.100.1"}, "198.51.100.1"},
		{"mapped hop is a proxy", []string{xff, "198.51.100.1, ::ffff:10.0.0.7"}, "198.51.100.1"},
		{"mapped client", []string{xff, "::ffff:198.51.100.1"}, "198.51.100.1"},
		{"mapped client in hexadecimal", []string{xff, "::ffff:c633:6401"}, "198.51.100.1"},
		{"zone dropped", []string{"@", "[fe80::1%eth0]:80"}, "fe80::1"},
		{"zone of a hop dropped", []string{xff, "fe80::1%25eth0"}, "fe80::1"},
		{"port", []string{xff, "198.51.100.1:8080"}, "198.51.100.1"},
		{"IPv6 with port", []string{xff, "[2001:db8::1]:8080"}, "2001:db8::1"},
		{"IPv6 in brackets", []string{xff, "[2001:DB8::0001]"}, "2001:db8::1"},
		{"IPv6 proxy", []string{"@", "[2001:db8:ff::1]:80", xff, "2001:db8::1"}, "2001:db8::1"},
		{"Forwarded", []string{std, `for=198.51.100.1;proto=https;by=10.0.0.1`}, "198.51.100.1"},
		{"Forwarded quoted IPv6", []string{std, `For="[2001:db8::1]:4711"`}, "2001:db8::1"},
		{"Forwarded chain", []string{std, `for=203.0.113.9, for="198.51.100.1" , for=10.0.0.8`}, "198.51.100.1"},
		{"Forwarded quoted comma", []string{std, `by="a,b;for=203.0.113.9";for=198.51.100.1`}, "198.51.100.1"},
		{"Forwarded and X-Forwarded-For agree", []string{std, `for=198.51.100.1`, xff, "198.51.100.1"}, "198.51.100.1"},
		{"unix socket", []string{"@", "@"}, "invalid IP"},
		{"unix socket without name", []string{"@", ""}, "invalid IP"},
		{"loopback without header", []string{"@", "127.0.0.1:80"}, "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := peer.From(request(t, test.pairs...), config())
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Addr.String(); got != test.want {
				t.Errorf("Addr = %s, want %s", got, test.want)
			}
		})
	}
}

func TestFromRefuses(t *testing.T) {
	const xff, std = "X-Forwarded-For", "Forwarded"
	for _, test := range []struct {
		name  string
		pairs []string
	}{
		{"garbage", []string{xff, "198.51.100.1, nonsense"}},
		{"empty header", []string{xff, ""}},
		{"empty last hop", []string{xff, "198.51.100.1,"}},
		{"empty second header", []string{xff, "198.51.100.1", xff, ""}},
		{"octal", []string{xff, "0306.51.100.1"}},
		{"decimal", []string{xff, "3325256705"}},
		{"host name", []string{xff, "localhost"}},
		{"unknown", []string{std, "for=unknown"}},
		{"obfuscated", []string{std, "for=_hidden"}},
		{"no for", []string{std, "proto=https"}},
		{"two for", []string{std, "for=198.51.100.1;for=203.0.113.9"}},
		{"open quote swallows the proxy's hop", []string{std, `for="198.51.100.1, for=203.0.113.9`}},
		{"open quote in an earlier header", []string{std, `for="`, std, "for=203.0.113.9"}},
		{"trailing text", []string{std, `for="198.51.100.1"x`}},
		{"trailing comma", []string{std, "for=198.51.100.1,"}},
		{"disagreement", []string{std, "for=203.0.113.9", xff, "198.51.100.1"}},
		{"garbage beside a good header", []string{std, "for=198.51.100.1", xff, "x"}},
		{"terminator without proto", []string{"@", "172.16.0.1:80", xff, "198.51.100.1"}},
		{"terminator with http", []string{"@", "172.16.0.1:80", xff, "198.51.100.1", "X-Forwarded-Proto", "http"}},
		{"terminator with a list", []string{"@", "172.16.0.1:80", "X-Forwarded-Proto", "https,https"}},
		{"terminator with two", []string{"@", "172.16.0.1:80", "X-Forwarded-Proto", "https", "X-Forwarded-Proto", "https"}},
		{"terminator with another case", []string{"@", "172.16.0.1:80", "X-Forwarded-Proto", "HTTPS"}},
		{"loopback proxy not configured", []string{"@", "127.0.0.1:80", xff, "198.51.100.1"}},
		{"IPv6 loopback", []string{"@", "[::1]:80", std, "for=198.51.100.1"}},
		{"mapped loopback", []string{"@", "[::ffff:127.0.0.2]:80", "X-Real-IP", "198.51.100.1"}},
		{"connection without address", []string{"@", "pipe"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := peer.From(request(t, test.pairs...), config())
			wantMalformed(t, err)
			if known := strings.HasPrefix(test.name, "terminator"); p.Addr != p.Direct && !known {
				t.Errorf("Addr = %s, want the connection's %s", p.Addr, p.Direct)
			}
		})
	}
}

func wantMalformed(t *testing.T, err error) {
	t.Helper()
	var r *peer.Refusal
	if !errors.As(err, &r) || r.Why != peer.Malformed || r.Reason == "" {
		t.Fatalf("error = %v, want a refusal of class Malformed", err)
	}
}

func TestLoopbackHintNamesTheSetting(t *testing.T) {
	_, err := peer.From(request(t, "@", "127.0.0.1:80", "X-Forwarded-For", "198.51.100.1"), &peer.Config{})
	if err == nil || !strings.Contains(err.Error(), "hint:") || !strings.Contains(err.Error(), "trusted_proxies") {
		t.Errorf("error = %v, want a hint that names trusted_proxies", err)
	}
	loopback := &peer.Config{TrustedProxies: prefixes("127.0.0.0/8")}
	p, err := peer.From(request(t, "@", "127.0.0.1:80", "X-Forwarded-For", "198.51.100.1"), loopback)
	if err != nil || p.Addr != netip.MustParseAddr("198.51.100.1") {
		t.Errorf("with loopback trusted: %v, %v", p.Addr, err)
	}
}

func TestMappedPrefixIsTheSameNetwork(t *testing.T) {
	c := &peer.Config{TrustedProxies: prefixes("::ffff:10.0.0.0/104")}
	p, err := peer.From(request(t, "X-Forwarded-For", "198.51.100.1"), c)
	if err != nil || p.Addr != netip.MustParseAddr("198.51.100.1") {
		t.Errorf("From = %v, %v", p.Addr, err)
	}
}

func TestSecureAndCertificate(t *testing.T) {
	cert := &x509.Certificate{}
	state := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}
	for _, test := range []struct {
		name   string
		pairs  []string
		tls    bool
		secure bool
		cert   bool
	}{
		{"plain", []string{"@", "192.0.2.7:80"}, false, false, false},
		{"plain with a claim", []string{"@", "192.0.2.7:80", "X-Forwarded-Proto", "https"}, false, false, false},
		{"TLS here", []string{"@", "192.0.2.7:80"}, true, true, true},
		{"TLS here, a stranger's claim", []string{"@", "192.0.2.7:80", "X-Forwarded-Proto", "http"}, true, true, true},
		{"terminated", []string{"@", "172.16.0.1:80", "X-Forwarded-Proto", "https", "X-Forwarded-For", "192.0.2.7"}, false, true, false},
		{"trusted but plain", []string{"X-Forwarded-Proto", "https"}, false, false, false},
		{"proxy's certificate is not the client's", nil, true, true, false},
		{"proxy encrypts what came plain", []string{"X-Forwarded-Proto", "http"}, true, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, test.pairs...)
			if r.TLS = nil; test.tls {
				r.TLS = state
			}
			p, err := peer.From(r, config())
			if err != nil {
				t.Fatal(err)
			}
			if p.Secure != test.secure || (p.Certificate != nil) != test.cert {
				t.Errorf("Secure = %v, Certificate = %v; want %v, %v", p.Secure, p.Certificate != nil, test.secure, test.cert)
			}
		})
	}
}

func TestUserAgentIsCutBetweenCharacters(t *testing.T) {
	p, err := peer.From(request(t, "User-Agent", strings.Repeat("a", 255)+"é"), config())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Repeat("a", 255), p.UserAgent); diff != "" {
		t.Error(diff)
	}
}

func TestBuckets(t *testing.T) {
	for _, test := range []struct{ addr, b64, b48 string }{
		{"192.0.2.7", "192.0.2.7", ""},
		{"::ffff:192.0.2.7", "192.0.2.7", ""},
		{"2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48"},
		{"2001:db8:1:2::9%eth0", "2001:db8:1:2::/64", "2001:db8:1::/48"},
	} {
		a := netip.MustParseAddr(test.addr)
		if got := peer.Bucket64(a); got != test.b64 {
			t.Errorf("Bucket64(%s) = %q, want %q", a, got, test.b64)
		}
		if got := peer.Bucket48(a); got != test.b48 {
			t.Errorf("Bucket48(%s) = %q, want %q", a, got, test.b48)
		}
	}
	if got := peer.Bucket64(netip.Addr{}) + peer.Bucket48(netip.Addr{}); got != "" {
		t.Errorf("buckets of no address = %q", got)
	}
	if got := peer.Group(netip.MustParseAddr("192.0.2.7"), 24, 56).String(); got != "192.0.2.0/24" {
		t.Errorf("Group = %s", got)
	}
}
