package peer_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport-mcp/sallyport/internal/peer"
)

// FuzzForwarded holds three things whatever the headers say: a stranger changes nothing; a result is the connection's
// address or one that a header names; and what a trusted proxy appends to the client's text decides.
func FuzzForwarded(f *testing.F) {
	f.Add("198.51.100.1", "for=198.51.100.1")
	f.Add("garbage, 10.0.0.2", `for="[2001:db8::1]:80";proto=https`)
	f.Add("::ffff:10.0.0.1, fe80::1%eth0", `for="`)
	f.Add("[::1]:1:2,", `for="\1\9\2.0.2.1", for=unknown`)
	f.Fuzz(func(t *testing.T, xff, std string) {
		stranger, err := peer.From(request(t, "@", "192.0.2.7:1", "X-Forwarded-For", xff, "Forwarded", std), config())
		if err != nil || stranger.Addr != stranger.Direct {
			t.Fatalf("a stranger's headers gave %v, %v", stranger.Addr, err)
		}
		named := []string{strings.ReplaceAll(xff, "\x00", "") + " " + strings.ReplaceAll(std, `\`, "")}
		for _, pairs := range [][]string{{"X-Forwarded-For", xff}, {"Forwarded", std}, {"X-Forwarded-For", xff, "Forwarded", std}} {
			p, err := peer.From(request(t, pairs...), config())
			if p.Addr != p.Direct && (err != nil || !names(named[0], p.Addr)) {
				t.Fatalf("%q gave %v, %v", pairs, p.Addr, err)
			}
		}
		want := netip.MustParseAddr("203.0.113.77")
		p, err := peer.From(request(t, "X-Forwarded-For", xff+", 203.0.113.77"), config())
		if err != nil || p.Addr != want {
			t.Fatalf("the proxy's hop after %q gave %v, %v", xff, p.Addr, err)
		}
		p, err = peer.From(request(t, "Forwarded", std, "Forwarded", "for=203.0.113.77"), config())
		if err == nil && p.Addr != want {
			t.Fatalf("the proxy's hop after %q gave %v", std, p.Addr)
		}
	})
}

// names reports whether the text spells the address somewhere.
func names(text string, want netip.Addr) bool {
	split := func(c rune) bool { return strings.ContainsRune(" \t,;=\"[]", c) }
	for _, word := range strings.FieldsFunc(text, split) {
		for _, candidate := range []string{word, word[:max(0, strings.LastIndex(word, ":"))]} {
			if a, err := netip.ParseAddr(candidate); err == nil && a.Unmap().WithZone("") == want {
				return true
			}
		}
	}
	return false
}
