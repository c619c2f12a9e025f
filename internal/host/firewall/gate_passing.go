package firewall

// gateForward lets visitors in and answers out, and nothing else through the
// tunnel: neither homes among each other, nor homes into the internet, nor
// packets whose translation conntrack has forgotten and which would show a
// home's tunnel address to the world. What does not concern the tunnel is left
// to others.
//
// Every packet is asked for the forward of its connection, not only the first:
// the look-up of the counter finds nothing for the mark of one that is gone,
// and the rest of that rule is not carried out. So what has got in while the
// table was away, or has outlived its forward, ends with its next packet. An
// error of ICMP has the mark and the direction of the connection that it is
// about; a connection that a helper expects (as for FTP) has them too, and is
// nobody's forward.
//
// Visitors who are not allowed are turned away first, so that they take nothing of
// the room; what remembers visitors comes last, so that it sees no more of them than begin.
//
// A connection begins with a packet that conntrack has not confirmed, and only
// that costs room, limits and the counter of connections: "new" would also be
// all of a UDP flow that its service never answers.
func gateForward(bounded bool) []chain {
	begins := chain{name: "begins", rules: rules(`
		ip saddr @nobody4 counter name total_spoofed drop
		ip6 saddr @nobody6 counter name total_spoofed drop
		ct mark vmap @allowed
	`)}
	if bounded {
		begins.rules = append(begins.rules, "jump room")
	}
	begins.rules = append(begins.rules, "ct mark vmap @limits", "counter name ct mark map @count_new")
	return []chain{
		begins,
		{
			name: "gate_forward",
			hook: "type filter hook forward priority filter - 5",
			rules: rules(`
				iifname $tunnel goto answers_of_homes
				oifname != $tunnel accept
				ct status & (expected | dnat | confirmed) == dnat jump begins
				ct direction original ct status & (expected | dnat) == dnat counter name ct mark map @count_in meta mark set meta mark or $accepted accept
				goto strays
			`),
		},
		{
			name: "answers_of_homes",
			rules: rules(`
				ct direction reply counter name ct mark map @count_out meta mark set meta mark or $accepted accept
				goto strays
			`),
		},
		{
			name: "strays",
			rules: rules(`
				ct state invalid counter name total_invalid drop
				counter name total_leaked drop
			`),
		},
	}
}
