package firewall

import "slices"

// wayOut guards what leaves. Into the tunnel go answers to what came by it, and
// what the daemon says to the gate: the gate knows this machine by its address,
// which any program here could use. By other ways goes nothing with that
// address, and no answer to a visitor that conntrack no longer knows: it would
// show them this machine's own.
//
// The last word is behind all translation, where the way is known for good. The
// chain before is for programs, which learn there at once that they are refused.
func wayOut(connections int) []chain {
	return []chain{
		{
			name: "local_way_out",
			hook: "type filter hook output priority filter",
			rules: slices.Concat(
				rules(`
					oifname != $tunnel accept
					ct direction reply accept
					jump may_leave
				`),
				refuseLocal("reject with icmpx type admin-prohibited")),
		},
		{
			name: "way_out",
			hook: "type filter hook postrouting priority 300",
			rules: rules(`
				oifname $tunnel goto into_tunnel
				oifname "lo" accept
				ip saddr @own4 counter name total_leaked drop
				ip6 saddr @own6 counter name total_leaked drop
				ct state established,related accept
				meta l4proto udp goto late
				tcp flags & (syn | ack) != syn goto late
			`),
		},
		{
			name: "into_tunnel",
			rules: slices.Concat(
				rules(`
					ct direction reply ip saddr @own4 accept
					ct direction reply ip6 saddr @own6 accept
					jump may_leave
				`),
				refuseLocal("drop")),
		},
		mayLeave(),
		toGate,
		late(connections),
	}
}

// late drops answers whose connection conntrack does not know, or takes for a
// new one. Then other rules may have changed the port that they come from.
func late(connections int) chain {
	c := chain{name: "late"}
	for _, fam := range families {
		for _, port := range []string{"th sport", "ct original proto-src"} {
			c.rules = append(c.rules, fam.flowRules(connections, `
				meta l4proto { tcp, udp } {ip} daddr . th dport . `+port+` @visited counter name total_leaked drop
				{ip} daddr != @refused{n} meta l4proto { tcp, udp } `+port+` @guarded counter name total_leaked drop
			`)...)
		}
	}
	return c
}

// refuseLocal ends in a verdict. Multicast is what the kernel says to every link it
// has; it is dropped without being counted, as nobody meant it.
func refuseLocal(verdict string) []string {
	return rules(`
		ip daddr 224.0.0.0/4 drop
		ip6 daddr ff00::/8 drop
		counter name total_local ` + verdict)
}

// mayLeave accepts what this machine itself may say in the tunnel: what the
// daemon asks of the gate, root's pings, and what services go on saying where
// conntrack was emptied under their connections.
func mayLeave() chain {
	c := chain{name: "may_leave"}
	for _, fam := range families {
		c.rules = append(c.rules, fam.rules(`
			{ip} daddr @gate{n} meta l4proto { tcp, udp } th dport $control goto to_gate
			{ip} daddr @gate{n} {icmp} type echo-request meta skuid { 0, $daemon } accept
			{ip} saddr @own{n} tcp flags & syn == 0 meta l4proto . tcp sport @published{n} accept
			{ip} saddr @own{n} tcp flags & syn == 0 meta l4proto . tcp sport @published{n}_ranges accept
		`)...)
	}
	return c
}

// toGate lets the daemon alone speak to the gate. A connection that it has
// closed still has packets to send, which are no longer anybody's.
var toGate = chain{
	name: "to_gate",
	rules: rules(`
		meta skuid != $daemon return
		ct state established accept
		meta skuid $daemon accept
	`),
}
