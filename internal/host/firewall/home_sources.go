package firewall

import (
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// refusedSources are the addresses that nobody who comes by the tunnel may
// have, in every spelling.
func refusedSources(h plan.HomeFirewall) []netip.Prefix {
	refused := append(h.Local[:len(h.Local):len(h.Local)], nobodys...)
	if h.DropPrivate {
		refused = append(refused, private...)
	}
	for _, p := range refused {
		refused = append(refused, spellings(p)...)
	}
	return refused
}

// nobodys are what no packet ever comes from, and other spellings of IPv4
// addresses: the kernel hands a program that serves both families the IPv4
// address (IANA's special-purpose address registries).
var nobodys = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), // unspecified, loopback, IPv4-compatible
	mapped,
	netip.MustParsePrefix("64:ff9b:1::/48"), // NAT64 inside a network
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2002::/16"), // 6to4, which is given up (RFC 7526)
	netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// private is what the internet does not route, and no visitor from there can
// have as an address.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
}

// mapped holds IPv4-mapped addresses. netip parses none of those with a prefix.
var mapped = netip.PrefixFrom(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff}), 96)

// spellings returns what else an IPv4 prefix is written as: by NAT64, which
// makes visitors of public IPv4 addresses of a gate without IPv4, but may not
// make any of others (RFC 6052, 3.1).
func spellings(p netip.Prefix) []netip.Prefix {
	if !p.Addr().Is4() {
		return nil
	}
	nat64 := [16]byte{1: 0x64, 2: 0xff, 3: 0x9b}
	four := p.Addr().As4()
	copy(nat64[12:], four[:])
	return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16(nat64), 96+p.Bits())}
}
