package firewall

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// buildHome writes the table of a home. A visitor's packet passes it in this
// order: tunnelGuard, classify, homeNAT, and then homeInput for a service of
// this machine, or homeForward for a device behind it. Its answer passes
// classify or answers, which send it back by the tunnel.
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
		counters: totals(),
		sets:     slices.Concat(homeAddressSets(h), ports, udpFlows()),
	}
	d.chains = append(d.chains, tunnelGuard...)
	d.chains = append(d.chains, classify, homeNAT, lanMasquerade)
	if h.Connections > 0 {
		d.addRoom(h.Connections)
	}
	d.chains = append(d.chains, homeInput(h.Connections > 0)...)
	d.chains = append(d.chains, homeForward(h.Connections > 0)...)
	d.chains = append(d.chains, udpSource(h.Addresses), answers, homeMSS(h), leakGuard)
	return d, nil
}

func homeConstants(h plan.HomeFirewall) []define {
	return append(common(h.Interface, h.Marks),
		define{"others", hex32(^h.Marks.Mask)},
		define{"answer", hex32(h.Marks.Answer)},
		define{"outer", hex32(h.Marks.Outer)},
	)
}

func homeAddressSets(h plan.HomeFirewall) []set {
	refused := h.Local
	if h.DropPrivate {
		refused = slices.Concat(refused, private)
	}
	return slices.Concat(
		addressSets("own", h.Addresses),
		addressSets("gate", h.Gate),
		prefixSets("refused", refused),
	)
}

// private is what the internet does not route and no visitor can have as an
// address (IANA's special-purpose address registries).
var private = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/127"), // unspecified and loopback
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// tunnelGuard believes neither the gate nor the neighbours. Nothing for our
// tunnel address comes in elsewhere (CVE-2019-14899). By the tunnel comes only
// what is for that address, and never from an address of this machine, of its
// own networks, or with DropPrivate of any private network: services trust
// such sources. Multicast is what the gate's kernel says to every link it has;
// it is dropped without being counted, as nobody meant it.
var tunnelGuard = []chain{
	{
		name: "tunnel_guard",
		hook: "type filter hook prerouting priority raw",
		rules: rules(`
			iifname $tunnel goto arrivals
			iifname != "lo" ip daddr @own4 counter name total_spoofed drop
			iifname != "lo" ip6 daddr @own6 counter name total_spoofed drop
		`),
	},
	{
		name: "arrivals",
		rules: rules(`
			ip daddr 224.0.0.0/4 drop
			ip6 daddr ff00::/8 drop
			ip daddr != @own4 counter name total_tunnel drop
			ip6 daddr != @own6 counter name total_tunnel drop
			fib saddr type local counter name total_spoofed drop
			ip saddr @gate4 accept
			ip6 saddr @gate6 accept
			ip saddr @refused4 counter name total_spoofed drop
			ip6 saddr @refused6 counter name total_spoofed drop
		`),
	},
}

// classify marks connections that come by the tunnel, and the answers of
// containers and LAN devices to them, so that routing sends those back. The
// third rule lets a strict reverse path check find the way of WireGuard's own
// packets beside another VPN.
var classify = chain{
	name: "classify",
	hook: "type filter hook prerouting priority mangle",
	rules: rules(`
		iifname $tunnel ct state new ct mark set ct mark and $others or $answer
		iifname != $tunnel ct direction reply ct mark and $mask == $answer meta mark set meta mark and $others or $answer
		iifname != $tunnel ct mark and $mask == $outer meta mark set meta mark and $others or $outer
	`),
}

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
	rules: byPublicPort(
		"oifname != $tunnel ct mark and $mask == $answer ct status dnat", "masqueraded", "masquerade"),
}

// byPublicPort returns rules that match the port which the visitor used,
// whatever it has been translated to, against the sets of that name.
func byPublicPort(match, name, statement string) []string {
	var list []string
	for _, fam := range families {
		for _, suffix := range []string{"", "_ranges"} {
			list = append(list, fmt.Sprintf("%s meta nfproto ipv%s meta l4proto { tcp, udp } meta l4proto . ct original proto-dst @%s%s%s %s",
				match, fam.digit, name, fam.digit, suffix, statement))
		}
	}
	return list
}

// homeInput lets in from the tunnel what was published, by the port that the
// visitor used, and answers to what this machine asked of the gate.
//
// A UDP socket bound to any address answers from the address of the default
// route, and conntrack would take that for a new flow. So visitors of UDP
// services are remembered here, with the port as the service knows it, for
// udpSource to put the address right.
func homeInput(bounded bool) []chain {
	return []chain{
		{
			name: "home_input",
			hook: inputHook,
			rules: slices.Concat(
				rules(`
					iifname != $tunnel accept
					ct state invalid counter name total_invalid drop
					ct state established,related goto arrived
					icmp type echo-request limit rate 10/second burst 10 packets meta mark set meta mark or $accepted accept
					icmpv6 type echo-request limit rate 10/second burst 10 packets meta mark set meta mark or $accepted accept
				`),
				byPublicPort("ct state new", "published", "goto admitted"),
				rules(`counter name total_tunnel drop`),
			),
		},
		{
			name:  "admitted",
			rules: append(jumpRoom(bounded), "goto arrived"),
		},
		{
			name: "arrived",
			rules: rules(`
				ct direction original meta nfproto ipv4 meta l4proto udp update @udp4 { ip saddr . udp sport . udp dport }
				ct direction original meta nfproto ipv6 meta l4proto udp update @udp6 { ip6 saddr . udp sport . udp dport }
				meta mark set meta mark or $accepted accept
			`),
		},
	}
}

// jumpRoom leads new connections by what bounds their number, if anything does.
func jumpRoom(bounded bool) []string {
	if bounded {
		return []string{"jump room"}
	}
	return nil
}

// homeForward lets visitors through to declared targets only, and to where
// another table (a container engine's) led a declared port.
func homeForward(bounded bool) []chain {
	return []chain{
		{
			name: "home_forward",
			hook: "type filter hook forward priority filter - 5",
			rules: slices.Concat(
				rules(`
					iifname != $tunnel oifname != $tunnel accept
					ct state invalid counter name total_invalid drop
					ct state established,related meta mark set meta mark or $accepted accept
				`),
				byPublicPort("iifname $tunnel ct state new ct status dnat", "published", "goto passed"),
				rules(`counter name total_tunnel drop`),
			),
		},
		{
			name:  "passed",
			rules: append(jumpRoom(bounded), "meta mark set meta mark or $accepted accept"),
		},
	}
}

// udpSource puts the tunnel address back on answers of UDP sockets that are
// bound to any address, before conntrack looks; see homeInput. The chain is of
// type route, so that the packet is routed anew.
func udpSource(own []netip.Addr) chain {
	c := chain{name: "udp_source", hook: "type route hook output priority raw"}
	for _, fam := range families {
		if i := slices.IndexFunc(own, fam.has); i >= 0 {
			ip := map[string]string{"4": "ip", "6": "ip6"}[fam.digit]
			flow := ip + " daddr . udp dport . udp sport"
			c.rules = append(c.rules, fmt.Sprintf("%s @udp%s update @udp%s { %s } %s saddr set %s", flow, fam.digit, fam.digit, flow, ip, own[i]))
		}
	}
	return c
}

// answers marks the answers of this machine, and WireGuard's own connections.
var answers = chain{
	name: "answers",
	hook: "type route hook output priority mangle",
	rules: rules(`
		ct direction reply ct mark and $mask == $answer meta mark set meta mark and $others or $answer
		meta mark and $mask == $outer ct mark set ct mark and $others or $outer
	`),
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

// leakGuard keeps the tunnel address off other interfaces, also while the
// tunnel is away.
var leakGuard = chain{
	name: "leak_guard",
	hook: "type filter hook postrouting priority filter",
	rules: rules(`
		oifname != { $tunnel, "lo" } ip saddr @own4 counter name total_leaked drop
		oifname != { $tunnel, "lo" } ip6 saddr @own6 counter name total_leaked drop
	`),
}
