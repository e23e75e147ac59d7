package peer

import "net/netip"

// Group returns the network an address is counted with: its first bits4 bits for IPv4, bits6 for IPv6. An invalid address
// or number of bits gives the invalid Prefix.
func Group(a netip.Addr, bits4, bits6 int) netip.Prefix {
	a = plain(a)
	bits := bits6
	if a.Is4() {
		bits = bits4
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// Bucket64 names the bucket of an address: an IPv4 address itself, an IPv6 address by its /64, which is what one customer
// is given at the least. An invalid address has the empty name.
func Bucket64(a netip.Addr) string {
	a = plain(a)
	if a.Is4() {
		return a.String()
	}
	return name(Group(a, 32, 64))
}

// Bucket48 names the wider bucket of an IPv6 address, its /48, which is what one site commonly holds. IPv4 and invalid
// addresses have none.
func Bucket48(a netip.Addr) string {
	a = plain(a)
	if a.Is4() {
		return ""
	}
	return name(Group(a, 32, 48))
}

func name(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}
