package firewall

import (
	"fmt"
	"slices"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// buildHome writes the table of a home. A visitor's packet passes it in this
// order: tunnelGuard, homeNAT, and then homeInput for a service of this machine,
// or homeForward for a device behind it. Its answer passes classify or answers,
// which send it back by the tunnel, and the wayOut.
//
// No verdict is remembered. conntrack says only whether a packet asks or
// answers: whatever asks is looked up in what is published now, so that a
// connection which came in while the table was away, or whose port is no longer
// published, gets no further.
func buildHome(h plan.HomeFirewall) (*document, error) {
	if err := checkInterfaceName(h.Interface); err != nil {
		return nil, err
	}
	ports, err := homePorts(h)
	if err != nil {
		return nil, err
	}
	d := &document{
		defines:  homeConstants(h),
		counters: append(totals(), countLocal),
		sets:     slices.Concat(homeAddressSets(h), ports, visitorFlows(h.Connections)),
	}
	d.chains = append(d.chains, tunnelGuard()...)
	d.chains = append(d.chains, classify, homeNAT, lanMasquerade)
	if h.Connections > 0 {
		d.addRoom(h.Connections)
	} else {
		d.counters = append(d.counters, countFull)
	}
	d.chains = append(d.chains, homeInput(h)...)
	d.chains = append(d.chains, homeForward(h)...)
	d.chains = append(d.chains, udpSource(h))
	d.chains = append(d.chains, answers(h.Connections)...)
	d.chains = append(d.chains, wayOut(h.Connections)...)
	d.chains = append(d.chains, homeMSS(h))
	return d, d.addHairpin(h.Hairpin)
}

func homeConstants(h plan.HomeFirewall) []define {
	return append(common(h.Interface, h.Marks),
		define{"others", hex32(^h.Marks.Mask)},
		define{"answer", hex32(h.Marks.Answer)},
		define{"outer", hex32(h.Marks.Outer)},
		define{"daemon", fmt.Sprint(h.User)},
		define{"control", fmt.Sprint(h.ControlPort)},
	)
}

func homeAddressSets(h plan.HomeFirewall) []set {
	return slices.Concat(
		addressSets("own", h.Addresses),
		addressSets("gate", h.Gate),
		prefixSets("refused", refusedSources(h)),
	)
}

// tunnelGuard believes neither the gate nor the neighbours. Nothing for our
// tunnel address comes in elsewhere (CVE-2019-14899). By the tunnel comes only
// what is for that address, and never from an address of this machine, of its
// own networks, or with DropPrivate of any private network: services trust
// such sources. Multicast is what the gate's kernel says to every link it has;
// it is dropped without being counted, as nobody meant it.
//
// ICMP errors come from any router on the way, and carriers' have private
// addresses: conntrack finds out whether there is a connection that they are
// about, and homeInput and homeForward drop the others.
func tunnelGuard() []chain {
	chains := []chain{{
		name: "tunnel_guard",
		hook: "type filter hook prerouting priority raw",
		rules: rules(`
			iifname $tunnel meta nfproto vmap { ipv4 : goto arrivals4, ipv6 : goto arrivals6 }
			iifname != "lo" ip daddr @own4 counter name total_spoofed drop
			iifname != "lo" ip6 daddr @own6 counter name total_spoofed drop
		`),
	}}
	for _, fam := range families {
		chains = append(chains, chain{name: "arrivals" + fam.digit, rules: fam.rules(`
			{ip} daddr != @own{n} goto astray
			fib saddr type local counter name total_spoofed drop
			{ip} saddr @gate{n} goto from_gate{n}
			{ip} saddr != @refused{n} accept
			{errors} accept
			counter name total_spoofed drop
		`)}, chain{name: "from_gate" + fam.digit, rules: fam.rules(`
			meta l4proto . th dport @hidden{n} accept
			meta l4proto . th dport @hidden{n}_ranges accept
			meta l4proto { tcp, udp } th sport $control accept
			meta l4proto {icmp} accept
			counter name total_tunnel drop
		`)})
	}
	return append(chains, chain{name: "astray", rules: rules(`
		ip daddr 224.0.0.0/4 drop
		ip6 daddr ff00::/8 drop
		counter name total_tunnel drop
	`)})
}

// classify marks the answers of containers and LAN devices to visitors, so that
// routing sends those back by the tunnel. Which way a connection came stands in
// its own addresses: unlike a mark, other programs do not write there. The last
// rule lets a strict reverse path check find the way of WireGuard's own packets
// beside another VPN.
var classify = chain{
	name: "classify",
	hook: "type filter hook prerouting priority " + afterMangle,
	rules: rules(`
		iifname $tunnel accept
		ct direction reply ct original ip daddr @own4 meta mark set meta mark and $others or $answer
		ct direction reply ct original ip6 daddr @own6 meta mark set meta mark and $others or $answer
		ct mark and $mask == $outer meta mark set meta mark and $others or $outer
	`),
}

// AnswersPriority is that of the chains of a home that mark answers. It is after
// the chains in which other programs write marks, whole ones too: of two chains
// of one priority the one loaded last would run first.
const (
	AnswersPriority = mangle + 40
	mangle          = -150 // NF_IP_PRI_MANGLE
)

var afterMangle = fmt.Sprintf("mangle + %d", AnswersPriority-mangle)

// homeNAT leads public ports to where their service is. Ports that stay the
// same may be ranges; nft(8) has no range with an offset, so that others are
// one element each.
var homeNAT = chain{
	name: "home_nat",
	hook: "type nat hook prerouting priority dstnat - 1",
	rules: rules(`
		iifname $tunnel meta nfproto ipv4 meta l4proto { tcp, udp } dnat ip to meta l4proto . th dport map @ports4
		iifname $tunnel meta nfproto ipv4 meta l4proto { tcp, udp } dnat ip to meta l4proto . th dport map @targets4_ranges
		iifname $tunnel meta nfproto ipv6 meta l4proto { tcp, udp } dnat ip6 to meta l4proto . th dport map @ports6
		iifname $tunnel meta nfproto ipv6 meta l4proto { tcp, udp } dnat ip6 to meta l4proto . th dport map @targets6_ranges
	`),
}

// lanMasquerade hides the visitor from LAN devices that would otherwise answer
// by their router.
var lanMasquerade = chain{
	name: "lan_masquerade",
	hook: "type nat hook postrouting priority srcnat - 1",
	rules: slices.Concat(
		rules(`
			oifname $tunnel return
			ct status & dnat == 0 return
		`),
		eachFamily(`
			ct original {ip} daddr @own{n} meta l4proto { tcp, udp } meta l4proto . ct original proto-dst @masqueraded{n} masquerade
			ct original {ip} daddr @own{n} meta l4proto { tcp, udp } meta l4proto . ct original proto-dst @masqueraded{n}_ranges masquerade
		`)),
}

// homeMSS keeps TCP segments within what the tunnel carries. The values are
// fixed: the route of an unmarked packet does not show that its answer leaves
// by the tunnel.
func homeMSS(h plan.HomeFirewall) chain {
	c := chain{name: "mss_clamp", hook: "type filter hook forward priority mangle"}
	add := func(nfproto string, mss int) {
		for _, way := range []string{"oifname", "iifname"} {
			if mss > 0 {
				c.rules = append(c.rules, fmt.Sprintf("%s $tunnel meta nfproto %s tcp flags syn / syn,rst tcp option maxseg size > %d tcp option maxseg size set %d", way, nfproto, mss, mss))
			}
		}
	}
	add("ipv4", h.MSS4)
	add("ipv6", h.MSS6)
	return c
}
