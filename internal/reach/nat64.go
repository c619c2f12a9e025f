package reach

import (
	"context"
	"net/netip"
	"slices"
)

// A network with IPv6 alone often has a NAT64: IPv4 is reached through it by
// IPv6 addresses that hold the IPv4 one behind a prefix. The prefix is found by
// looking up a name that has IPv4 addresses only, and known ones: a resolver
// that gives it IPv6 addresses has put the prefix before those (RFC 7050).
const ipv4Only = "ipv4only.arpa."

var ipv4OnlyAddrs = []netip.Addr{netip.MustParseAddr("192.0.0.170"), netip.MustParseAddr("192.0.0.171")}

// translationLengths are those that the prefix of a NAT64 may have, the usual
// one first (RFC 6052, section 2.2).
var translationLengths = []int{96, 64, 56, 48, 40, 32}

// maxTranslations bounds how many prefixes of NAT64s are believed.
const maxTranslations = 4

// translations returns the prefixes of this network's NAT64s; none, if it has
// none.
func translations(ctx context.Context, names NameServer) []netip.Prefix {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	// That there is no answer is the usual case, and for the caller no other
	// than that there is no NAT64.
	addrs, _ := names.LookupNetIP(ctx, "ip6", ipv4Only)
	var prefixes []netip.Prefix
	for _, a := range addrs {
		p, ok := translationOf(a)
		if ok && !slices.Contains(prefixes, p) && len(prefixes) < maxTranslations {
			prefixes = append(prefixes, p)
		}
	}
	return prefixes
}

// translationOf returns the prefix that was put before an address of ipv4Only.
func translationOf(a netip.Addr) (netip.Prefix, bool) {
	if !a.Is6() || a.Is4In6() {
		return netip.Prefix{}, false
	}
	for _, bits := range translationLengths {
		p := netip.PrefixFrom(a.WithZone(""), bits).Masked()
		for _, known := range ipv4OnlyAddrs {
			if translate(p, known) == a {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}

// translate puts the prefix of a NAT64 before an IPv4 address. Byte 8 of the
// address stays zero (RFC 6052, section 2.2).
func translate(prefix netip.Prefix, addr netip.Addr) netip.Addr {
	b, four := prefix.Addr().As16(), addr.As4()
	at := prefix.Bits() / 8
	for _, octet := range four {
		if at == 8 {
			at++
		}
		b[at] = octet
		at++
	}
	return netip.AddrFrom16(b)
}
