package detect

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// Threshold is how many occurrences within which time raise an alert. The zero Threshold means the rule's default.
type Threshold struct {
	Count  int           // 1 to 10,000
	Window time.Duration // above 0; two occurrences exactly one window apart still lie within it
}

// maxCount bounds what is remembered of one key.
const maxCount = 10_000

// or returns t, or def when t is zero.
func (t Threshold) or(def Threshold) Threshold {
	if t == (Threshold{}) {
		return def
	}
	return t
}

func (t Threshold) validate() error {
	switch {
	case t.Count < 1 || t.Count > maxCount:
		return fmt.Errorf("count %d: must be between 1 and %d", t.Count, maxCount)
	case t.Window <= 0:
		return fmt.Errorf("window %v: must be above 0", t.Window)
	}
	return nil
}

// Thresholds tune the rules. A zero field means its default.
type Thresholds struct {
	FailedAuth        Threshold // per claimed identity, or address when none is claimed; default 5 in 15 min
	FailedAuthAddress Threshold // per address; default 20 in 15 min
	Denials           Threshold // per principal; default 10 in 1 h
	LimitEpisodes     Threshold // per principal, or address without one; default 3 in 10 min
}

// rule is one row of the table of rules.
type rule struct {
	name      string
	alert     string
	severity  Severity
	kind      audit.Kind // the kind of event that counts; no other does
	key       func(*audit.Event) key
	episodes  bool // count episodes of refusals instead of refusals
	threshold Threshold
}

// rules returns the table of rules. A new rule is one row here, and one folder of events and alerts in testdata.
func rules(t Thresholds) []rule {
	return []rule{
		{
			name: "failed_auth", alert: "excessive_failed_auth", severity: High, kind: audit.AuthFailed,
			key: claimedOrAddress, threshold: t.FailedAuth.or(Threshold{5, 15 * time.Minute}),
		},
		{
			name: "failed_auth_address", alert: "excessive_failed_auth", severity: High, kind: audit.AuthFailed,
			key: address, threshold: t.FailedAuthAddress.or(Threshold{20, 15 * time.Minute}),
		},
		{
			name: "permission_denials", alert: "excessive_permission_denials", severity: Medium, kind: audit.PermissionDenied,
			key: principal, threshold: t.Denials.or(Threshold{10, time.Hour}),
		},
		{
			name: "limit_episodes", alert: "potential_abuse", severity: High, kind: audit.RateLimitExceeded,
			key: principalOrAddress, episodes: true, threshold: t.LimitEpisodes.or(Threshold{3, 10 * time.Minute}),
		},
	}
}

// sort is what a key names.
type sort uint8

const (
	byClaim sort = iota + 1
	byPrincipal
	byAddress
)

// key is what a rule counts for. The zero key is nothing, and is not counted. It is comparable, so that looking one up
// allocates nothing.
type key struct {
	sort    sort
	issuer  string
	subject string
	net     netip.Prefix
}

// String returns the key as alerts show it.
func (k key) String() string {
	switch {
	case k.sort == byAddress && k.net.IsSingleIP():
		return "ip:" + k.net.Addr().String()
	case k.sort == byAddress:
		return "ip:" + k.net.String()
	case k.sort == byPrincipal:
		return "principal:" + k.issuer + "/" + k.subject
	default:
		return "claimed:" + k.subject
	}
}

// maxClaim bounds an identity that somebody claims, in bytes: attackers choose it and it is kept.
const maxClaim = 256

// claimed keys by the identity that was claimed, in one spelling; it was not verified, so it never is a principal.
func claimed(e *audit.Event) key {
	name := strings.ToLower(strings.TrimSpace(e.Claimed))
	if name == "" {
		return key{}
	}
	if len(name) > maxClaim {
		name = strings.ToValidUTF8(name[:maxClaim], "")
	}
	return key{sort: byClaim, subject: name}
}

// address keys by IPv4 address or IPv6 /64: whoever has one address of a /64 has all of them.
func address(e *audit.Event) key {
	ip := e.IP.Unmap().WithZone("")
	if !ip.IsValid() {
		return key{}
	}
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	net, err := ip.Prefix(bits)
	if err != nil {
		return key{}
	}
	return key{sort: byAddress, net: net}
}

// principal keys by the verified identity; the readable name is not part of it.
func principal(e *audit.Event) key {
	if e.Principal.Issuer == "" && e.Principal.Subject == "" {
		return key{}
	}
	return key{sort: byPrincipal, issuer: e.Principal.Issuer, subject: e.Principal.Subject}
}

func claimedOrAddress(e *audit.Event) key {
	if k := claimed(e); k != (key{}) {
		return k
	}
	return address(e)
}

func principalOrAddress(e *audit.Event) key {
	if k := principal(e); k != (key{}) {
		return k
	}
	return address(e)
}
