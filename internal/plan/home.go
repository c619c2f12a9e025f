package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// HomeInput is what a home knows beside its configuration, from its enrolment
// and from looking up the gate's name.
type HomeInput struct {
	PrivateKey    key.Private
	Addresses     []netip.Addr // ours in the tunnel
	GatePublicKey key.Public
	GateAddresses []netip.Addr   // the gate's in the tunnel
	Endpoint      netip.AddrPort // where the gate is; zero: not known yet
	ControlPort   uint16         // of the gate
	GateMTU       int            // of the tunnel at the gate; 0: not known
	// GatePublic are the public addresses of the gate, from the invite or the
	// owner, never from the gate itself: to these, this machine's own
	// connections are led elsewhere.
	GatePublic []netip.Addr
	Granted    []string // names of the forwards that the gate is known to publish
}

// ForHome plans a home.
func ForHome(c config.Home, in HomeInput, facts Facts) State {
	c.Forwards = Followed(c.Forwards, facts)
	mtu := homeMTU(c, in.GateMTU, facts)
	addrs := usable(in.Addresses, facts)
	m := marks(c.Marks)
	forwards := homeForwards(c.Forwards, facts)
	return State{
		Role: forward.Home,
		WireGuard: WireGuard{
			Interface:    c.Tunnel.Interface,
			PrivateKey:   in.PrivateKey,
			FirewallMark: m.Outer,
			MTU:          mtu,
			Peers: []Peer{{
				PublicKey: in.GatePublicKey,
				Endpoint:  in.Endpoint,
				// Visitors have any address at all. No route in the main
				// table follows from this.
				AllowedIPs: []netip.Prefix{
					netip.PrefixFrom(netip.IPv4Unspecified(), 0),
					netip.PrefixFrom(netip.IPv6Unspecified(), 0),
				},
				PersistentKeepalive: Keepalive,
			}},
		},
		Routing: homeRouting(c, addrs, mtu, m, facts),
		Firewall: Firewall{
			Table: c.Tunnel.Interface,
			Home: &HomeFirewall{
				Interface:   c.Tunnel.Interface,
				Addresses:   addrs,
				Gate:        in.GateAddresses,
				Forwards:    forwards,
				Local:       localPrefixes(facts),
				DropPrivate: c.Firewall.DropPrivate,
				MSS4:        mtu - 40, // 20 bytes of IPv4, 20 of TCP
				MSS6:        mtu - 60, // 40 bytes of IPv6, 20 of TCP
				Marks:       m,
				Connections: facts.Connections.forVisitors(),
				User:        facts.User,
				ControlPort: in.ControlPort,
				Hairpin:     hairpin(c.Forwards, in, facts),
			},
		},
	}
}

// hairpin decides what a home's visits to itself need. Those by IPv4 come back
// with the address that its router has given them, as do those of a home whose
// router translates IPv6. A port that was not granted may be another home's.
func hairpin(forwards []forward.Forward, in HomeInput, facts Facts) Hairpin {
	global := func(a netip.Addr) bool { return a.Is6() && a.IsGlobalUnicast() && !a.IsPrivate() }
	refused := func(f forward.Forward) bool { return !slices.Contains(in.Granted, f.Name) || !f.Families().IPv6 }
	h := Hairpin{
		Gate:     slices.DeleteFunc(slices.Clone(in.GatePublic), netip.Addr.Is4),
		Forwards: homeForwards(slices.DeleteFunc(slices.Clone(forwards), refused), facts),
	}
	if len(h.Gate) == 0 || len(h.Forwards) == 0 || !slices.ContainsFunc(facts.Own, global) {
		return Hairpin{}
	}
	return h
}

// usable leaves out IPv6 where the machine has none.
func usable(addrs []netip.Addr, facts Facts) []netip.Addr {
	var list []netip.Addr
	for _, a := range addrs {
		if a.Is4() || facts.IPv6 {
			list = append(list, a)
		}
	}
	return list
}

func localPrefixes(facts Facts) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, n := range facts.Networks {
		prefixes = append(prefixes, n.Prefix)
	}
	return prefixes
}

// homeForwards lists the mappings one by one, each with its way to the target
// decided.
func homeForwards(forwards []forward.Forward, facts Facts) []HomeForward {
	var list []HomeForward
	for _, f := range forwards {
		source := ResolveSource(f, facts)
		for _, m := range f.Mappings {
			list = append(list, HomeForward{
				Mapping:    m,
				To:         f.To,
				Masquerade: f.To.IsValid() && source == forward.Masquerade,
				Hidden:     f.Published().Masquerade,
				Families:   f.Families(),
			})
		}
	}
	return list
}

// ResolveSource decides what Auto means for a forward. Answers of this host
// and of networks behind it, such as those of containers, come back by
// themselves; a device of a network that leads to the internet answers by the
// router instead, as does one that is not on link at all.
func ResolveSource(f forward.Forward, facts Facts) forward.Source {
	if f.Source != forward.Auto {
		return f.Source
	}
	if !f.To.IsValid() || slices.Contains(facts.Own, f.To) {
		return forward.Preserve
	}
	if LeadsToInternet(f.To, facts) {
		return forward.Masquerade
	}
	return forward.Preserve
}

func homeRouting(c config.Home, addrs []netip.Addr, mtu int, m Marks, facts Facts) Routing {
	r := Routing{Interface: c.Tunnel.Interface, MTU: mtu, Sysctls: homeSysctls(c, addrs, facts)}
	for _, a := range addrs {
		r.Addresses = append(r.Addresses, netip.PrefixFrom(a, a.BitLen()))
		r.Rules = append(r.Rules, homeRules(c, a, m, facts)...)
		r.Routes = append(r.Routes, homeRoutes(c, a)...)
	}
	return r
}

// homeRules sends answers back by the tunnel that their connection came by,
// and leaves the machine's own routes alone.
//
// In order: WireGuard's own packets always leave by the main table, also
// beside another VPN. Marked packets to this machine's own networks
// (containers, LAN devices) follow the main table, all others the tunnel: a
// visitor may come from where another of the machine's routes leads. What has
// the tunnel address as its source needs no mark.
func homeRules(c config.Home, addr netip.Addr, m Marks, facts Facts) []Rule {
	base := Rule{IPv6: addr.Is6(), SuppressPrefixLength: -1}
	outer, local, answer, from := base, base, base, base
	outer.Priority, outer.Mark, outer.Mask, outer.Table = c.Tunnel.RulePriority, m.Outer, m.Mask, MainTable
	rules := []Rule{outer}
	local.Priority, local.Mark, local.Mask, local.Table = c.Tunnel.RulePriority+1, m.Answer, m.Mask, MainTable
	local.SuppressPrefixLength = widest(addr.Is6()) - 1
	for _, p := range ownRanges(addr.Is6(), facts) {
		local.To = p
		rules = append(rules, local)
	}
	answer.Priority, answer.Mark, answer.Mask, answer.Table = c.Tunnel.RulePriority+2, m.Answer, m.Mask, c.Tunnel.Table
	from.Priority, from.From, from.Table = c.Tunnel.RulePriority+3, netip.PrefixFrom(addr, addr.BitLen()), c.Tunnel.Table
	rules = append(rules, answer, from)
	if addr.Is4() {
		rules = append(rules, lastResort(c, m))
	}
	return rules
}

// lastResort gives the answers of a home without IPv4 of its own a way that
// they have before the firewall sees whose they are. It stands behind all
// others, so that it changes nothing where the machine knows a way; and the
// firewall refuses what is no answer. IPv6 needs none: there the kernel takes
// our address as the source, and with it the rule for that. WireGuard's own
// packets must not find the tunnel.
func lastResort(c config.Home, m Marks) Rule {
	return Rule{Priority: lastPriority + c.Tunnel.RulePriority, Mask: m.Mask, Table: c.Tunnel.Table, SuppressPrefixLength: -1}
}

// lastPriority is behind that of the table "default"; each instance of Gatelodge
// has its own rules behind it.
const lastPriority = 32768

// homeRoutes fills our own table: everything through the tunnel, and nothing
// anywhere else while the tunnel is away.
func homeRoutes(c config.Home, addr netip.Addr) []Route {
	everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if addr.Is6() {
		everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return []Route{
		{Destination: everywhere, Table: c.Tunnel.Table, Interface: c.Tunnel.Interface, Metric: tunnelMetric},
		{Destination: everywhere, Table: c.Tunnel.Table, Blackhole: true, Metric: blackholeMetric},
	}
}

// The metrics of the two routes of our table: lower wins. Both are named,
// because the kernel gives IPv6 routes without one a metric of its own.
const (
	tunnelMetric    = 100
	blackholeMetric = 4294967295
)

func homeSysctls(c config.Home, addrs []netip.Addr, facts Facts) []Sysctl {
	conf := func(family, name, key, value string) Sysctl {
		return Sysctl{fmt.Sprintf("net.%s.conf.%s.%s", family, sysctlName(name), key), value}
	}
	// Answers leave by a table that the reverse path check does not look
	// into; 2 accepts any way back, and wins over a stricter setting for all
	// interfaces because the larger of the two counts (ip-sysctl.rst).
	sysctls := append(facts.Connections.sysctls(), conf("ipv4", c.Tunnel.Interface, "rp_filter", "2"))
	for _, a := range addrs {
		if a.Is6() {
			sysctls = append(sysctls, conf("ipv6", c.Tunnel.Interface, "disable_ipv6", "0"))
		}
	}
	return append(sysctls, lanSysctls(c, facts)...)
}

// lanSysctls are needed only where home passes packets on to other devices.
// A device that keeps the visitor's address answers through home, on the
// interface it was reached by: home must not redirect it to the router.
func lanSysctls(c config.Home, facts Facts) []Sysctl {
	var forward4, forward6 bool
	var behind []string // where IPv4 devices answer
	var sysctls []Sysctl
	add := func(s Sysctl) {
		for _, have := range sysctls {
			if have == s {
				return
			}
		}
		sysctls = append(sysctls, s)
	}
	for _, f := range c.Forwards {
		forward4 = forward4 || f.To.Is4()
		forward6 = forward6 || f.To.Is6()
		if f.To.Is4() {
			behind = append(behind, interfacesTo(f.To, facts)...)
		}
		if !f.To.Is4() || ResolveSource(f, facts) != forward.Preserve {
			continue
		}
		if n, found := networkOf(f.To, facts); found && n.Default && !facts.FixedSysctls {
			add(Sysctl{"net.ipv4.conf.all.send_redirects", "0"})
			add(Sysctl{"net.ipv4.conf." + sysctlName(n.Interface) + ".send_redirects", "0"})
		}
	}
	if forward4 {
		for _, s := range forwardIPv4(c.Tunnel.Interface, behind) {
			add(s)
		}
	}
	if forward6 && facts.IPv6 {
		for _, s := range forwardIPv6(c.Tunnel.Interface, facts) {
			add(s)
		}
	}
	return sysctls
}
