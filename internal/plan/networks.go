package plan

import (
	"net/netip"
	"slices"
)

// Network is one of this machine's own networks.
type Network struct {
	Prefix    netip.Prefix
	Interface string
	Default   bool // whether a way to the internet leaves by this interface
	// OnLink reports that its hosts are neighbours, or that an address of this
	// machine lies in it: not merely that a route leads there.
	OnLink bool
}

// private are the ranges that the internet does not route and that people use
// for networks of their own: RFC 1918, RFC 6598 (carriers), RFC 3927 and RFC
// 4291 (link-local), RFC 4193.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
}

// Private reports whether the whole of a prefix is one that the internet does
// not route.
func Private(p netip.Prefix) bool {
	return slices.ContainsFunc(private, func(r netip.Prefix) bool { return r.Bits() <= p.Bits() && r.Contains(p.Addr()) })
}

// widest is the shortest prefix that a network of one's own can have, in bits.
// Routes with shorter ones are default routes, whole or in parts (0.0.0.0/1 and
// 128.0.0.0/1 of a VPN, 2000::/3).
func widest(is6 bool) int {
	if is6 {
		return 7 // fc00::/7
	}
	return 8 // 10.0.0.0/8
}

// ownRanges are the destinations that lie in this machine's own networks or
// nowhere: the private ranges, and what is on link beside.
func ownRanges(is6 bool, facts Facts) []netip.Prefix {
	var ranges []netip.Prefix
	for _, p := range private {
		if p.Addr().Is6() == is6 {
			ranges = append(ranges, p)
		}
	}
	for _, n := range facts.Networks {
		if n.Prefix.Addr().Is6() == is6 && !Private(n.Prefix) && !slices.Contains(ranges, n.Prefix) {
			ranges = append(ranges, n.Prefix)
		}
	}
	return ranges
}

// DefaultRoute reports whether a route to p is a default route, or a part of one.
func DefaultRoute(p netip.Prefix) bool {
	return p.Bits() < widest(p.Addr().Is6())
}

// OwnNetwork reports whether a network that a route leads to is this machine's
// own: a private one, wherever it is, or one whose hosts are neighbours.
func OwnNetwork(p netip.Prefix, onLink bool) bool {
	return Private(p) || onLink && !DefaultRoute(p)
}

// Overlap returns the network of this machine that the tunnel's addresses would
// cut off, or be cut off by. A route that is wider than the tunnel's prefix is
// none: the kernel takes the longest prefix, so that only the tunnel's own
// addresses leave it.
func Overlap(tunnel netip.Prefix, facts Facts) (Network, bool) {
	i := slices.IndexFunc(facts.Networks, func(n Network) bool {
		return n.Prefix.Overlaps(tunnel) && (n.OnLink || n.Prefix.Bits() >= tunnel.Bits())
	})
	if i < 0 {
		return Network{}, false
	}
	return facts.Networks[i], true
}

// Routed reports whether a network of this machine, however wide, shares
// addresses with a prefix.
func Routed(p netip.Prefix, facts Facts) bool {
	return slices.ContainsFunc(facts.Networks, func(n Network) bool { return n.Prefix.Overlaps(p) })
}

// LeadsToInternet reports whether packets for addr leave by an interface that
// leads to the internet as well, or by one that is not known. The longest
// prefix decides, as it does in the kernel.
func LeadsToInternet(addr netip.Addr, facts Facts) bool {
	n, found := networkOf(addr, facts)
	return !found || n.Default
}

// InNetwork reports whether addr lies in a network that this machine has a route to,
// other than by a default route.
func InNetwork(addr netip.Addr, facts Facts) bool {
	_, found := networkOf(addr, facts)
	return found
}

// interfacesTo returns the interfaces by which packets to addr may leave.
func interfacesTo(addr netip.Addr, facts Facts) []string {
	if n, found := networkOf(addr, facts); found {
		return []string{n.Interface}
	}
	return facts.Uplinks
}

// networkOf returns the network of this machine in which addr lies.
func networkOf(addr netip.Addr, facts Facts) (nearest Network, found bool) {
	for _, n := range facts.Networks {
		if n.Prefix.Contains(addr) && (!found || n.Prefix.Bits() > nearest.Prefix.Bits()) {
			nearest, found = n, true
		}
	}
	return nearest, found
}
