package routing

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// Facts finds out what planning needs to know of this machine's network,
// leaving out the tunnel's interface. SSHPorts are not filled in: see SSHPorts.
// UnderlayMTU is the smallest MTU of the interfaces that lead to the internet,
// 0 if there is none; see MTUTo for the way to one address.
func (r *Routing) Facts(_ context.Context, tunnel string) (plan.Facts, error) {
	facts, err := r.settings()
	if err != nil {
		return plan.Facts{}, err
	}
	if facts.Connections, err = r.connectionTable(); err != nil {
		return plan.Facts{}, err
	}
	found, err := interfaces()
	if err != nil {
		return plan.Facts{}, err
	}
	ask, err := newInquiry()
	if err != nil {
		return plan.Facts{}, err
	}
	defer ask.close()
	l := look{Routing: r, ask: ask, facts: &facts, networks: map[networkKey]int{}}
	if l.routes, err = tellingRoutes(); err != nil {
		return plan.Facts{}, err
	}
	if own, ok := indexOf(found, tunnel); ok {
		l.tunnel = found[own].index()
		found = append(found[:own], found[own+1:]...)
	}
	for i := range found {
		l.addInterface(&found[i])
	}
	l.addRoutes(found)
	return facts, nil
}

// settings looks at what can be set here.
func (r *Routing) settings() (plan.Facts, error) {
	can, err := changeable("net.ipv4.ip_forward")
	if err != nil {
		return plan.Facts{}, err
	}
	facts := plan.Facts{FixedSysctls: !can}
	off, err := r.ReadSysctl("net.ipv6.conf.default.disable_ipv6")
	facts.IPv6 = err == nil && (can || off == "0")
	if can {
		facts.LocalPorts, err = r.localPorts()
		return facts, err
	}
	return facts, nil
}

// look is one look at this machine's network.
type look struct {
	*Routing
	ask      inquiry
	tunnel   int // index of its interface; 0: there is none
	facts    *plan.Facts
	routes   []listedRoute
	networks map[networkKey]int // which of the facts' networks
}

type networkKey struct {
	prefix netip.Prefix
	link   string
}

// addInterface adds what one interface contributes: its addresses at which
// visitors arrive, and the networks in which it has an address.
func (l *look) addInterface(n *netInterface) {
	if !n.isLoopback() {
		n.leads4, n.leads6 = l.leads(netlink.FAMILY_V4, *n), l.leads(netlink.FAMILY_V6, *n)
	}
	public := len(l.facts.Public)
	for _, a := range n.addrs {
		if a.isGlobal() {
			l.addNetwork(n, a.prefix.Masked(), true)
		}
		if l.ask.isPublic(a, *n, l.tunnel) {
			l.facts.Public = append(l.facts.Public, a.prefix.Addr())
		}
	}
	leads := n.leads4 || n.leads6
	if leads {
		l.addUnderlay(n)
	}
	if !n.isLoopback() && (leads || len(l.facts.Public) > public) {
		l.facts.Uplinks = append(l.facts.Uplinks, n.name())
	}
}

func (l *look) leads(family int, n netInterface) bool {
	return l.ask.leads(family, n) || l.hasDefault(family, n.index())
}

func (l *look) addUnderlay(n *netInterface) {
	if mtu := n.link.Attrs().MTU; l.facts.UnderlayMTU == 0 || mtu < l.facts.UnderlayMTU {
		l.facts.UnderlayMTU = mtu
	}
	accept, err := l.ReadSysctl("net.ipv6.conf." + sysctlPart(n.name()) + ".accept_ra")
	if err == nil && accept != "0" && !l.facts.FixedSysctls {
		l.facts.AcceptingRA = append(l.facts.AcceptingRA, n.name())
	}
}

func (l *look) addNetwork(n *netInterface, p netip.Prefix, onLink bool) {
	key := networkKey{p, n.name()}
	i, have := l.networks[key]
	if !have {
		i = len(l.facts.Networks)
		l.networks[key] = i
		l.facts.Networks = append(l.facts.Networks, plan.Network{Prefix: p, Interface: n.name(), Default: n.leads4 || n.leads6})
	}
	l.facts.Networks[i].OnLink = l.facts.Networks[i].OnLink || onLink
}

// addRoutes adds the networks of its own to which the main table leads.
func (l *look) addRoutes(found []netInterface) {
	byIndex := map[int]*netInterface{}
	for i := range found {
		byIndex[found[i].index()] = &found[i]
	}
	for _, r := range l.routes {
		n := byIndex[r.link]
		if n == nil {
			continue
		}
		if onLink := !r.gateway && n.hasNeighbours(); plan.OwnNetwork(r.dst, onLink) {
			l.addNetwork(n, r.dst, onLink)
		}
	}
}

// hasDefault reports whether a default route of the main table, or a part of
// one, leaves by an interface. Of a machine whose packets all go by a VPN, the
// inquiry finds no more than that.
func (l *look) hasDefault(family, index int) bool {
	return slices.ContainsFunc(l.routes, func(r listedRoute) bool {
		return r.link == index && r.family() == family && plan.DefaultRoute(r.dst)
	})
}

// netInterface is an interface with its addresses.
type netInterface struct {
	link           netlink.Link
	addrs          []localAddress
	leads4, leads6 bool // to the internet
}

func (n netInterface) name() string { return n.link.Attrs().Name }
func (n netInterface) index() int   { return n.link.Attrs().Index }

func (n netInterface) isLoopback() bool { return n.link.Attrs().RawFlags&unix.IFF_LOOPBACK != 0 }

// hasNeighbours tells an Ethernet from a tunnel, at whose other end is whatever
// the tunnel leads to.
func (n netInterface) hasNeighbours() bool {
	return n.link.Attrs().RawFlags&(unix.IFF_LOOPBACK|unix.IFF_POINTOPOINT|unix.IFF_NOARP) == 0
}

func indexOf(found []netInterface, name string) (int, bool) {
	for i, n := range found {
		if n.name() == name {
			return i, true
		}
	}
	return 0, false
}

// interfaces lists all interfaces, loopback last.
func interfaces() ([]netInterface, error) {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("cannot list interfaces: %w", err)
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("cannot list addresses: %w", err)
	}
	byLink := map[int][]localAddress{}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok {
			byLink[a.LinkIndex] = append(byLink[a.LinkIndex], localAddress{p, a.Flags})
		}
	}
	var found, loopback []netInterface
	for _, link := range links {
		n := netInterface{link: link, addrs: byLink[link.Attrs().Index]}
		if n.isLoopback() {
			loopback = append(loopback, n)
			continue
		}
		found = append(found, n)
	}
	return append(found, loopback...), nil
}

// localAddress is an address of an interface.
type localAddress struct {
	prefix netip.Prefix
	flags  int // IFA_F_*
}

func (a localAddress) family() int    { return family(a.prefix.Addr().Is6()) }
func (a localAddress) isGlobal() bool { return a.prefix.Addr().IsGlobalUnicast() }

// isStable leaves out addresses that come and go: those of privacy extensions
// (RFC 8981), and those that are not valid yet or no longer preferred. One that
// is not preferred and yet valid for ever is no passing one: its owner has set
// it so, to have another as the source of what the machine sends.
func (a localAddress) isStable() bool {
	const unusable = unix.IFA_F_TEMPORARY | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	if a.prefix.Addr().Is4() {
		return true // IPv4 knows none; IFA_F_TEMPORARY is IFA_F_SECONDARY there
	}
	return a.flags&unusable == 0 && (a.flags&unix.IFA_F_DEPRECATED == 0 || a.flags&unix.IFA_F_PERMANENT != 0)
}
