package server

import (
	"errors"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/internal/secret"
)

// Duration is written as in Go, such as 30s or 1h30m, or in days, such as 90d.
type Duration time.Duration

// SetScalar implements strictyaml.Scalar.
func (d *Duration) SetScalar(text string) error {
	v, ok := parseDuration(text)
	if !ok {
		return errors.New("is not a positive duration such as 30s, 15m, 24h or 90d")
	}
	*d = Duration(v)
	return nil
}

// parseDuration reads a duration above zero and below a hundred years.
func parseDuration(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil && n > 0 && n < 36500 && (n < 10 || days[0] != '0')
	}
	v, err := time.ParseDuration(text)
	return v, err == nil && v > 0 && v < 100*365*24*time.Hour
}

// Size is a number of bytes: 65536, 64KiB, 4MiB or 1GiB.
type Size int64

// SetScalar implements strictyaml.Scalar.
func (s *Size) SetScalar(text string) error {
	n, ok := parseSize(text)
	if !ok || n > 1<<31 {
		return errors.New("is not a size such as 65536, 64KiB or 4MiB, at most 2GiB")
	}
	*s = Size(n)
	return nil
}

// parseSize reads a number of bytes above zero and up to 4 EiB.
func parseSize(text string) (int64, bool) {
	digits, unit := text, int64(1)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			digits, unit = rest, factor
		}
	}
	n, err := strconv.ParseUint(digits, 10, 62)
	if err != nil || n == 0 || digits[0] == '0' || n > (1<<62)/uint64(unit) {
		return 0, false
	}
	return int64(n) * unit, true
}

// DiskSize is a number of bytes on a disk: at least 16MiB, such as 500MiB, 20GiB or 1TiB.
type DiskSize int64

// SetScalar implements strictyaml.Scalar.
func (s *DiskSize) SetScalar(text string) error {
	n, ok := parseSize(text)
	if !ok || n < 16<<20 || n > 1<<50 {
		return errors.New("is not a size such as 500MiB, 20GiB or 1TiB, from 16MiB to 1024TiB")
	}
	*s = DiskSize(n)
	return nil
}

// Rate is a number of tokens a second, written 50, 0.5, 50/s or 20/15m.
type Rate float64

// SetScalar implements strictyaml.Scalar.
func (r *Rate) SetScalar(text string) error {
	if !strings.Contains(text, "/") {
		text += "/s"
	}
	_, perSecond, ok := parseRate(text)
	if !ok {
		return errors.New("is not a rate such as 50, 0.5, 50/s or 20/15m")
	}
	*r = Rate(perSecond)
	return nil
}

var ratePattern = regexp.MustCompile(`^((?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?)/([0-9a-z.]+)$`)

// parseRate reads "count/time", such as 100/m: so many in that time.
func parseRate(text string) (count, perSecond float64, ok bool) {
	m := ratePattern.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, false
	}
	unit := m[2]
	if len(unit) == 1 { // s, m, h or d alone
		unit = "1" + unit
	}
	per, ok := parseDuration(unit)
	count, err := strconv.ParseFloat(m[1], 64)
	return count, count / per.Seconds(), ok && err == nil && count > 0
}

// Limit is a token bucket: 100/m, {capacity: 100, refill: 10}, or off.
type Limit struct {
	// Tokens the bucket holds: the largest burst.
	Capacity Rate `yaml:"capacity"`
	// Tokens a second that come back, or a rate such as 20/15m.
	Refill Rate `yaml:"refill"`

	off bool
}

// SetScalar implements strictyaml.Scalar.
func (l *Limit) SetScalar(text string) error {
	if text == "off" {
		*l = Limit{off: true}
		return nil
	}
	count, perSecond, ok := parseRate(text)
	if !ok {
		return errors.New("is not a limit such as 2000/s, 100/m, {capacity: 100, refill: 10} or off")
	}
	*l = Limit{Capacity: Rate(count), Refill: Rate(perSecond)}
	return nil
}

// limit is the bucket; the zero one means the default of its layer.
func (l Limit) limit() ratelimit.Limit {
	if l.off {
		return ratelimit.Unlimited()
	}
	return ratelimit.Limit{Capacity: float64(l.Capacity), Refill: float64(l.Refill)}
}

// valid reports whether both halves are set, or neither.
func (l Limit) valid() bool {
	whole := !math.IsInf(float64(l.Capacity), 0) && l.Capacity >= 1 && l.Refill > 0
	return l.off || l == Limit{} || whole
}

// Prefix is a network such as 10.0.0.0/8, or one address.
type Prefix struct{ netip.Prefix }

// SetScalar implements strictyaml.Scalar.
func (p *Prefix) SetScalar(text string) error {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		p.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Addr().Is4In6() {
		return errors.New("is not a network such as 10.0.0.0/8, or an address")
	}
	if prefix != prefix.Masked() {
		return errors.New("has bits set after its prefix length")
	}
	p.Prefix = prefix
	return nil
}

// Secret is a value that no message shows.
type Secret struct{ secret.Text }

// SetScalar implements strictyaml.Scalar. The length is checked where the algorithm is known.
func (s *Secret) SetScalar(text string) error {
	s.Text = secret.New(text)
	return nil
}

// Sensitive implements strictyaml.Sensitive.
func (*Secret) Sensitive() {}
