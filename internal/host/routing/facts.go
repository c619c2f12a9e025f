package routing

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// Facts finds out what planning needs to know of this machine's network,
// leaving out the tunnel's interface. SSHPorts are not filled in: see SSHPorts.
// UnderlayMTU is the smallest MTU of the interfaces with a default route, 0 if
// there is none; see MTUTo for the way to one address.
func (r *Routing) Facts(_ context.Context, tunnel string) (plan.Facts, error) {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return plan.Facts{}, fmt.Errorf("cannot list interfaces: %w", err)
	}
	routes, err := mainRoutes()
	if err != nil {
		return plan.Facts{}, err
	}
	facts := plan.Facts{}
	_, err = r.ReadSysctl("net.ipv6.conf.all.forwarding")
	facts.IPv6 = err == nil
	if facts.LocalPorts, err = r.localPorts(); err != nil {
		return plan.Facts{}, err
	}
	if facts.Connections, err = r.connectionTable(); err != nil {
		return plan.Facts{}, err
	}
	for _, link := range links {
		if link.Attrs().Name == tunnel || link.Attrs().RawFlags&unix.IFF_LOOPBACK != 0 {
			continue
		}
		if err := r.addLink(&facts, link, routes); err != nil {
			return plan.Facts{}, err
		}
	}
	return facts, nil
}

// addLink adds what one interface contributes: its addresses if it leads to
// the internet, and the networks behind it.
func (r *Routing) addLink(facts *plan.Facts, link netlink.Link, routes []netlink.Route) error {
	name, index := link.Attrs().Name, link.Attrs().Index
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("cannot list the addresses of %s: %w", name, err)
	}
	default4, default6 := hasDefault(routes, index, true), hasDefault(routes, index, false)
	add := func(p netip.Prefix) {
		n := plan.Network{Prefix: p.Masked(), Interface: name, Default: default4 || default6}
		if !p.Addr().IsLinkLocalUnicast() && !slices.Contains(facts.Networks, n) {
			facts.Networks = append(facts.Networks, n)
		}
	}
	for _, a := range addrs {
		p, ok := prefixOf(a.IPNet)
		if !ok {
			continue
		}
		add(p)
		leads := p.Addr().Is4() && default4 || p.Addr().Is6() && default6
		if leads && isStable(a) && p.Addr().IsGlobalUnicast() {
			facts.Public = append(facts.Public, p.Addr())
		}
	}
	// Networks behind a router or another VPN are as much this machine's own
	// as those on link.
	for _, route := range routes {
		if p, ok := prefixOf(route.Dst); ok && route.LinkIndex == index && p.Bits() > 1 {
			add(p)
		}
	}
	if !default4 && !default6 {
		return nil
	}
	if mtu := link.Attrs().MTU; facts.UnderlayMTU == 0 || mtu < facts.UnderlayMTU {
		facts.UnderlayMTU = mtu
	}
	accept, err := r.ReadSysctl("net.ipv6.conf." + sysctlPart(name) + ".accept_ra")
	if err == nil && accept != "0" {
		facts.AcceptingRA = append(facts.AcceptingRA, name)
	}
	return nil
}

// mainRoutes lists the unicast routes of the main table, both families.
func mainRoutes() ([]netlink.Route, error) {
	var all []netlink.Route
	for _, fam := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST}
		routes, err := dump(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(fam, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
		})
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return nil, fmt.Errorf("cannot list routes: %w", err)
		}
		all = append(all, routes...)
	}
	return all, nil
}

func hasDefault(routes []netlink.Route, index int, is4 bool) bool {
	want := family(!is4)
	return slices.ContainsFunc(routes, func(r netlink.Route) bool {
		if r.Family != want || !isDefault(r) {
			return false
		}
		return r.LinkIndex == index || slices.ContainsFunc(r.MultiPath, func(h *netlink.NexthopInfo) bool { return h.LinkIndex == index })
	})
}

func isDefault(r netlink.Route) bool {
	p, ok := prefixOf(r.Dst)
	return !ok || p.Bits() == 0
}

// isStable leaves out addresses that come and go: those of privacy extensions
// (RFC 8981), and those that are not valid yet or no longer preferred.
func isStable(a netlink.Addr) bool {
	const passing = unix.IFA_F_TEMPORARY | unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	if a.IP.To4() != nil {
		return true // IPv4 knows none; IFA_F_TEMPORARY is IFA_F_SECONDARY there
	}
	return a.Flags&passing == 0
}
