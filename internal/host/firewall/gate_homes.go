package firewall

import (
	"fmt"
	"net/netip"
)

// homesShare is how many connections of each protocol a home may have with the
// gate at once. A home pings every two seconds, and a ping takes one for half a
// minute, or for as long as the gate's owner has set: so it has room for four
// minutes of them. Without it one home could fill the conntrack
// table.
const homesShare = 128

// pingsPerSecond is how many pings a home may send, of either kind.
const pingsPerSecond = 50

// homesSets are what homes are counted in.
func homesSets() []set {
	var sets []set
	for _, fam := range families {
		sets = append(sets,
			set{name: "asking" + fam.digit, key: fam.addrType + " . inet_proto", options: []string{"flags dynamic"}, dynamic: true},
			set{name: "pinging" + fam.digit, key: fam.addrType, options: []string{"flags dynamic,timeout", "timeout 1m"}, dynamic: true},
		)
	}
	return sets
}

// fromHomes is all that homes and invites may ask of the gate: answers to what
// the gate itself has begun, and the control channel and pings at its own
// address, which every packet is asked for. Each home has a share of its own.
func fromHomes() []chain {
	refuse := "counter name " + countTunnel + " drop"
	return []chain{
		{
			name: "from_homes",
			rules: rules(`
				ct direction reply counter name ct mark map @count_out meta mark set meta mark or $accepted accept
				ct direction reply meta mark set meta mark or $accepted accept
				ct state related meta l4proto { icmp, icmpv6 } meta mark set meta mark or $accepted accept
				ct state invalid counter name total_invalid drop
				ip daddr @own4 jump to_gate
				ip6 daddr @own6 jump to_gate
				` + refuse + `
			`),
		},
		{
			name: "to_gate",
			rules: rules(fmt.Sprintf(`
				ct status ! confirmed add @asking4 { ip saddr . meta l4proto ct count over %[1]d } %[3]s
				ct status ! confirmed add @asking6 { ip6 saddr . meta l4proto ct count over %[1]d } %[3]s
				tcp dport $control meta mark set meta mark or $accepted accept
				meta l4proto { icmp, icmpv6, udp } update @pinging4 { ip saddr limit rate over %[2]d/second burst %[2]d packets } %[3]s
				meta l4proto { icmp, icmpv6, udp } update @pinging6 { ip6 saddr limit rate over %[2]d/second burst %[2]d packets } %[3]s
				icmp type echo-request meta mark set meta mark or $accepted accept
				icmpv6 type echo-request meta mark set meta mark or $accepted accept
				udp dport $control meta mark set meta mark or $accepted accept
			`, homesShare, pingsPerSecond, refuse)),
		},
	}
}

// gateOutput lets users of the gate itself into the tunnel no further than a
// visitor: to a forward, by its public address and within its limits. What
// speaks to homes as the gate is the daemon, and root may look for faults; a
// TCP connection of theirs begins with a SYN, so that none of a service of the
// gate's own which conntrack has forgotten is taken for one.
var gateOutput = []chain{
	{
		name: "gate_output",
		hook: "type filter hook output priority filter - 5",
		rules: rules(`
			ip daddr @tenants4 goto into_tunnel
			ip6 daddr @tenants6 goto into_tunnel
		`),
	},
	{
		name: "into_tunnel",
		rules: rules(`
			ip saddr @tenants4 counter name total_spoofed drop
			ip6 saddr @tenants6 counter name total_spoofed drop
			ct direction reply accept
			ct status & (expected | dnat | confirmed) == dnat jump begins
			ct status & (expected | dnat) == dnat counter name ct mark map @count_in accept
			ct state related meta l4proto { icmp, icmpv6 } accept
			ct state new tcp flags & (fin | syn | rst | ack) != syn counter name total_leaked drop
			ct status ! dnat meta skuid { 0, $daemon } accept
			goto strays
		`),
	},
}

// nobody are addresses that no sender on the internet has, and that no route
// leads back to. Private ones may be of a neighbour of the gate.
var nobody = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast, reserved and broadcast
	netip.MustParsePrefix("::/64"),       // see sourceGuard
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
}
