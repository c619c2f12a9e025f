package firewall

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// buildGate writes the table of a gate. A visitor's packet passes it in this
// order: sourceGuard, visitorNAT, gateForward with the limits of its forward,
// mssClamp, visitorSource. What is for the gate itself ends in gateInput.
func buildGate(before *document, g plan.GateFirewall) (*document, error) {
	if err := checkInterfaceName(g.Interface); err != nil {
		return nil, err
	}
	d := &document{
		defines:  gateConstants(g),
		counters: totals(),
		sets:     slices.Concat(gateSets(g), sharedSets()),
		marks:    g.Marks,
	}
	if err := d.addForwards(before, g.Forwards); err != nil {
		return nil, err
	}
	d.chains = append(d.chains, sourceGuard...)
	d.chains = append(d.chains, visitorNAT...)
	d.chains = append(d.chains, answerSource(g.Public)...)
	if g.Connections > 0 {
		d.addRoom(g.Connections, d.addHomeShares(g)...)
	}
	d.chains = append(d.chains, gateForward(g.Connections > 0)...)
	d.chains = append(d.chains, gateMSS)
	d.chains = append(d.chains, gateInput(g)...)
	d.chains = append(d.chains, gateOutput...)
	return d, nil
}

func gateConstants(g plan.GateFirewall) []define {
	return append(common(g.Interface, g.Marks),
		define{"ours", hex32(g.Marks.Forward)},
		define{"control", fmt.Sprint(g.ControlPort)},
		define{"wireguard", fmt.Sprint(g.ListenPort)},
		define{"daemon", fmt.Sprint(g.User)},
	)
}

func gateSets(g plan.GateFirewall) []set {
	return slices.Concat(
		addressSets("public", g.Public),
		addressSets("own", g.Addresses),
		addressSets("tenants", g.Tenants),
		addressSets("inside", slices.Concat(g.Addresses, g.Tenants)),
		[]set{
			portSet("reserved", g.Reserved()),
			portSet("open", openPorts(g, g.Input)),
			protocolSet("open_protocols", g.Input.Protocols),
		},
		trialSets(g),
		pingers(g),
		homesSets(),
		prefixSets("nobody", nobody),
	)
}

// openPorts are what an input policy lets in from anywhere, with what the gate
// cannot do without. The control channel answers inside the tunnel only,
// whatever else the owner lets in.
func openPorts(g plan.GateFirewall, p plan.InputPolicy) forward.PortSet {
	open := forward.PortSet{single(forward.UDP, g.ListenPort)}
	for _, port := range g.SSHPorts {
		open = append(open, single(forward.TCP, port))
	}
	control := forward.PortSet{single(forward.TCP, g.ControlPort), single(forward.UDP, g.ControlPort)}
	return forward.NewPortSet(open...).Union(p.Accept).Without(control)
}

// sourceGuard believes a source address only where it can be true: homes send
// from their own addresses, and nobody else sends from inside the tunnel, or to
// an address there before translation.
//
// No address that begins with 64 zero bits is anybody's on a link: they spell
// IPv4 addresses in IPv6 (mapped, compatible, translated) and loopback, and a
// service with one socket for both families takes such a source for the IPv4
// address, 127.0.0.1 if it says so. Only "::" is for who has none yet.
var sourceGuard = []chain{
	{
		name: "source_guard",
		hook: "type filter hook prerouting priority raw",
		rules: rules(`
			iifname $tunnel goto homes_guard
			iifname "lo" goto own_guard
			ip saddr 127.0.0.0/8 counter name total_spoofed drop
			ip6 saddr ::/64 ip6 saddr != :: counter name total_spoofed drop
			ip saddr @inside4 jump inside_guard
			ip6 saddr @inside6 jump inside_guard
			ip daddr @inside4 counter name total_spoofed drop
			ip6 daddr @inside6 counter name total_spoofed drop
		`),
	},
	{
		name: "homes_guard",
		rules: rules(`
			ip saddr != @tenants4 counter name total_spoofed drop
			ip6 saddr != @tenants6 counter name total_spoofed drop
		`),
	},
	// Any program may send from an IPv6 address that its machine does not have
	// (IPV6_FREEBIND in ipv6(7)): a home's, to be taken for that home.
	{
		name: "own_guard",
		rules: rules(`
			ip saddr @tenants4 counter name total_spoofed drop
			ip6 saddr @tenants6 counter name total_spoofed drop
		`),
	},
	// A router on the way may have the address that a home has in the tunnel.
	// What it says about a connection is an error of that connection; about
	// none, it gets no further than gate_forward.
	{
		name: "inside_guard",
		rules: rules(`
			icmp type { destination-unreachable, time-exceeded, parameter-problem } return
			icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } return
			counter name total_spoofed drop
		`),
	},
}

// visitorNAT sends visitors home. The address changes and the port does not, so
// that a range is one element. The ct mark is set in the rule that translates:
// a connection has both or neither. It also serves the gate's own connections
// to its public addresses, and only to those: 127.0.0.1 stays the gate's.
//
// Going first lets a forward win over a container that publishes the same port;
// the first chain that translates ends the matter.
var visitorNAT = []chain{
	{
		name: "visitor_nat",
		hook: "type nat hook prerouting priority dstnat - 1",
		rules: rules(`
			iifname != $tunnel ip daddr @public4 jump to_homes
			iifname != $tunnel ip6 daddr @public6 jump to_homes
		`),
	},
	{
		name: "local_nat",
		hook: "type nat hook output priority -101", // "dstnat" is no name in this hook
		rules: rules(`
			ip daddr @public4 jump to_homes
			ip6 daddr @public6 jump to_homes
		`),
	},
	{
		name: "to_homes",
		rules: rules(`
			meta l4proto . th dport @reserved return
			meta nfproto ipv4 meta l4proto { tcp, udp } ct mark set meta l4proto . th dport map @marks4 dnat ip to meta l4proto . th dport map @homes4
			meta nfproto ipv4 meta l4proto { tcp, udp } ct mark set meta l4proto . th dport map @marks4_ranges dnat ip to meta l4proto . th dport map @homes4_ranges
			meta nfproto ipv6 meta l4proto { tcp, udp } ct mark set meta l4proto . th dport map @marks6 dnat ip6 to meta l4proto . th dport map @homes6
			meta nfproto ipv6 meta l4proto { tcp, udp } ct mark set meta l4proto . th dport map @marks6_ranges dnat ip6 to meta l4proto . th dport map @homes6_ranges
		`),
	},
	visitorSource,
}

// visitorSource keeps the visitor's address, and the doctor's, unless home has asked for
// masquerade. To translate a source to itself settles the matter: a masquerade
// for everything, left on the gate from another set-up, would hide all visitors.
// So it goes far before the chains of others; among chains of nat, nothing else
// follows from the priority.
var visitorSource = chain{
	name: "visitor_source",
	hook: "type nat hook postrouting priority srcnat - 100",
	rules: rules(`
		oifname $tunnel ct mark @masqueraded masquerade
		oifname $tunnel ct status dnat ct mark and $mask == $ours snat ip to ip saddr
		oifname $tunnel ct status dnat ct mark and $mask == $ours snat ip6 to ip6 saddr
		oifname $tunnel ip saddr @public4 snat ip to ip saddr
		oifname $tunnel ip6 saddr @public6 snat ip6 to ip6 saddr
	`),
}

// answerSource gives answers the address back that the visitor has called, before
// they are routed: so they leave where that address belongs, by the owner's own
// rules for it. NAT would restore it only afterwards. Where a family has one
// public address, there is nothing to choose.
func answerSource(public []netip.Addr) []chain {
	c := chain{name: "answer_source", hook: "type filter hook prerouting priority mangle"}
	for _, fam := range families {
		if len(addresses(fam, public)) > 1 {
			c.rules = append(c.rules, fmt.Sprintf("iifname $tunnel ct direction reply ct status dnat %[1]s saddr set ct original %[1]s daddr", fam.ip()))
		}
	}
	if len(c.rules) == 0 {
		return nil
	}
	return []chain{c}
}

// gateMSS keeps TCP segments within what the tunnel carries, both ways: "rt
// mtu" also looks at the way back, and many networks drop the ICMP messages
// that would say so.
var gateMSS = chain{
	name: "mss_clamp",
	hook: "type filter hook forward priority mangle",
	rules: rules(`
		oifname $tunnel tcp flags syn / syn,rst tcp option maxseg size set rt mtu
		iifname $tunnel tcp flags syn / syn,rst tcp option maxseg size set rt mtu
	`),
}

// targetOf returns the home's address in a family, if the forward serves it.
func targetOf(f forward.Grant, fam family) (netip.Addr, bool) {
	target := f.Target4
	if fam.digit == "6" {
		target = f.Target6
	}
	return target, target.IsValid()
}
