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
// mssClamp, masquerade. What is for the gate itself ends in gateInput.
func buildGate(g plan.GateFirewall) (*document, error) {
	if err := checkInterfaceName(g.Interface); err != nil {
		return nil, err
	}
	g.Forwards = slices.Clone(g.Forwards)
	slices.SortFunc(g.Forwards, func(a, b plan.GateForward) int { return int(a.ID) - int(b.ID) })
	d := &document{
		defines:  gateConstants(g),
		counters: totals(),
		sets:     gateSets(g),
	}
	if err := d.addForwards(g); err != nil {
		return nil, err
	}
	d.chains = append(d.chains, sourceGuard)
	d.chains = append(d.chains, visitorNAT...)
	if g.Connections > 0 {
		d.addRoom(g.Connections)
	}
	d.chains = append(d.chains, gateForward(g.Connections > 0)...)
	d.chains = append(d.chains, gateMSS)
	d.chains = append(d.chains, gateInput(g)...)
	return d, nil
}

func gateConstants(g plan.GateFirewall) []define {
	return append(common(g.Interface, g.Marks),
		define{"ours", hex32(g.Marks.Forward)},
		define{"control", fmt.Sprint(g.ControlPort)},
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
		},
		trialSets(g),
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
var sourceGuard = chain{
	name: "source_guard",
	hook: "type filter hook prerouting priority raw",
	rules: rules(`
		iifname $tunnel ip saddr != @tenants4 counter name total_spoofed drop
		iifname $tunnel ip6 saddr != @tenants6 counter name total_spoofed drop
		iifname { $tunnel, "lo" } accept
		ip saddr @inside4 counter name total_spoofed drop
		ip6 saddr @inside6 counter name total_spoofed drop
		ip daddr @inside4 counter name total_spoofed drop
		ip6 daddr @inside6 counter name total_spoofed drop
	`),
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
	{
		name:  "masquerade_some",
		hook:  "type nat hook postrouting priority srcnat - 1",
		rules: rules(`oifname $tunnel ct mark @masqueraded masquerade`),
	},
}

// gateForward lets visitors in and answers out, and nothing else through the
// tunnel: neither homes among each other, nor homes into the internet, nor
// packets whose translation conntrack has forgotten and which would show a
// home's tunnel address to the world. What does not concern the tunnel is left
// to others.
func gateForward(bounded bool) []chain {
	room := ""
	if bounded {
		room = "iifname != $tunnel oifname $tunnel ct state new ct status dnat jump room"
	}
	return []chain{
		{
			name: "gate_forward",
			hook: "type filter hook forward priority filter - 5",
			rules: rules(`
				iifname != $tunnel oifname != $tunnel accept
				ct state invalid counter name total_invalid drop
				ct state established,related goto passed
				` + room + `
				iifname != $tunnel oifname $tunnel ct state new ct status dnat ct mark vmap @limits
				iifname != $tunnel oifname $tunnel ct state new ct status dnat ct mark and $mask == $ours counter name ct mark map @count_new goto passed
				counter name total_leaked drop
			`),
		},
		{
			name: "passed",
			rules: rules(`
				ct direction original counter name ct mark map @count_in
				ct direction reply counter name ct mark map @count_out
				meta mark set meta mark or $accepted accept
			`),
		},
	}
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

// fromHomes is all that homes and invites may ask of the gate.
var fromHomes = chain{
	name: "from_homes",
	rules: rules(`
		ct state invalid counter name total_invalid drop
		ct state established,related meta mark set meta mark or $accepted accept
		ip daddr @own4 icmp type echo-request limit rate 50/second burst 50 packets meta mark set meta mark or $accepted accept
		ip6 daddr @own6 icmpv6 type echo-request limit rate 50/second burst 50 packets meta mark set meta mark or $accepted accept
		ip daddr @own4 meta l4proto { tcp, udp } th dport $control meta mark set meta mark or $accepted accept
		ip6 daddr @own6 meta l4proto { tcp, udp } th dport $control meta mark set meta mark or $accepted accept
		counter name total_tunnel drop
	`),
}

// fromInternet admits the neighbour and multicast messages without which IPv6
// does not work on a link, pings, and errors about connections that somebody
// has exempted from tracking; errors about others are related to them.
// Neighbour messages count only from the link itself (RFC 4861, 6.1 and 7.1).
var fromInternet = chain{
	name: "icmp_from_internet",
	rules: rules(`
		icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept
		icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept
		icmp type echo-request limit rate 50/second burst 50 packets accept
		icmpv6 type echo-request limit rate 50/second burst 50 packets accept
	`),
}

// targetOf returns the home's address in a family, if the forward serves it.
func targetOf(f plan.GateForward, fam family) (netip.Addr, bool) {
	target := f.Target4
	if fam.digit == "6" {
		target = f.Target6
	}
	return target, target.IsValid()
}
