package routing

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// internet are addresses of which each is far away from any machine that asks,
// in both halves of IPv4: a VPN's pair of routes may have only one of them left.
// They are resolvers and root servers of DNS, which a full routing table without
// a default route knows as well. Nothing is ever sent to them.
var internet = map[int][]netip.Addr{
	netlink.FAMILY_V4: {netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("193.0.14.129")},
	netlink.FAMILY_V6: {netip.MustParseAddr("2606:4700:4700::1111"), netip.MustParseAddr("2001:7fd::1")},
}

// inquiry asks the kernel where packets would go: it knows of all tables, rules
// and kinds of default route.
type inquiry struct{ handle *netlink.Handle }

func newInquiry() (inquiry, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return inquiry{}, fmt.Errorf("cannot ask for routes: %w", err)
	}
	return inquiry{h}, nil
}

func (q inquiry) close() { q.handle.Close() }

// way returns the interface by which packets to the internet leave that come
// from src, if it is valid, and have to leave by link, if it is not 0.
func (q inquiry) way(family int, src netip.Addr, link int) (index int, ok bool) {
	o := &netlink.RouteGetOptions{OifIndex: link, FIBMatch: true}
	if src.IsValid() {
		o.SrcAddr = src.AsSlice()
	}
	for _, far := range internet[family] {
		routes, err := q.handle.RouteGetWithOptions(far.AsSlice(), o)
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_UNICAST {
			return routes[0].LinkIndex, true
		}
	}
	return 0, false
}

// leads reports whether packets to the internet may leave by an interface:
// those from one of its addresses, or those of a socket that is bound to it.
func (q inquiry) leads(family int, n netInterface) bool {
	for _, a := range n.addrs {
		if a.family() == family && a.isGlobal() {
			if _, ok := q.way(family, a.prefix.Addr(), n.index()); ok {
				return true
			}
		}
	}
	_, ok := q.way(family, netip.Addr{}, n.index())
	return ok
}

// isPublic reports whether visitors can arrive at an address of an interface:
// its packets find a way to the internet. One that the internet does not route
// is an address behind a translation one to one, which is made for networks
// with a router and not for the ends of tunnels, and leads out by itself.
func (q inquiry) isPublic(a localAddress, n netInterface, tunnel int) bool {
	if !a.isGlobal() || !a.isStable() {
		return false
	}
	if _, ok := q.way(a.family(), a.prefix.Addr(), n.index()); ok && n.hasNeighbours() {
		return true
	}
	if plan.Private(a.prefix) {
		return false
	}
	index, ok := q.way(a.family(), a.prefix.Addr(), 0)
	return ok && index != tunnel
}
