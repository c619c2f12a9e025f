package firewall

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// homeInput lets in from the tunnel what was published, by the port that the
// visitor used, and answers to what this machine asked of the gate.
func homeInput(h plan.HomeFirewall) []chain {
	chains := []chain{
		{
			name: "home_input",
			hook: inputHook,
			rules: rules(`
				iifname != $tunnel goto other_ways
				ct state invalid counter name total_invalid drop
				ct state related meta l4proto { icmp, icmpv6 } goto let_in
				meta nfproto vmap { ipv4 : goto input4, ipv6 : goto input6 }
			`),
		},
		otherWays(h.Connections),
		letIn,
	}
	for _, fam := range families {
		chains = append(chains,
			chain{name: "input" + fam.digit, rules: slices.Concat(
				fam.rules(`ct direction reply goto replies{n}`),
				fam.portIs("published", "ct original proto-dst", "goto asked{n}"),
				fam.rules(`
					{icmp} type echo-request limit rate 10/second burst 10 packets goto let_in
					counter name total_tunnel drop
				`))},
			replies(fam), asked(h, fam), newFromGate(fam), visitor(h.Connections, fam), noted(h.Connections, fam))
	}
	return chains
}

// letIn shows other firewalls by a mark what ours accepts.
var letIn = chain{name: "let_in", rules: rules(`meta mark set meta mark or $accepted accept`)}

// replies lets in what answers the daemon, and pings. Where conntrack was
// emptied under a connection, a service's packet may have made it look like one
// that this machine began: then its port has to be published as well.
func replies(fam family) chain {
	return chain{name: "replies" + fam.digit, rules: slices.Concat(
		fam.rules(`
			ct original {ip} daddr @gate{n} meta l4proto { tcp, udp } th sport $control goto let_in
			{icmp} type echo-reply goto let_in
		`),
		fam.portIs("published", "th dport", "goto let_in"),
		rules(`counter name total_tunnel drop`))}
}

// asked admits the first packet of a connection, and knows the later ones.
func asked(h plan.HomeFirewall, fam family) chain {
	return chain{name: "asked" + fam.digit, rules: slices.Concat(
		fam.rules(`
			ct status confirmed meta l4proto != udp goto let_in
			ct status confirmed `+nowAndThen+` jump noted{n}
			ct status confirmed goto visitor{n}
			{ip} saddr @gate{n} jump new_from_gate{n}
		`),
		jumpRoom(h.Connections > 0),
		fam.rules(`
			meta l4proto udp jump noted{n}
			goto visitor{n}
		`))}
}

// newFromGate lets the gate's own address begin only what the gate hides
// visitors behind it for: services trust private addresses.
func newFromGate(fam family) chain {
	return chain{name: "new_from_gate" + fam.digit, rules: slices.Concat(
		fam.portIs("hidden", "ct original proto-dst", "return"),
		rules(`counter name total_tunnel drop`))}
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
func homeForward(h plan.HomeFirewall) []chain {
	chains := []chain{{
		name: "home_forward",
		hook: "type filter hook forward priority filter - 5",
		rules: slices.Concat(
			rules(`
				iifname != $tunnel oifname != $tunnel accept
				ct state invalid counter name total_invalid drop
				ct state related meta l4proto { icmp, icmpv6 } goto let_in
				iifname $tunnel meta nfproto vmap { ipv4 : goto forward4, ipv6 : goto forward6 }
			`),
			eachFamily(`ct direction reply ct original {ip} daddr @own{n} goto let_in`),
			rules(`counter name total_tunnel drop`),
		),
	}}
	for _, fam := range families {
		chains = append(chains,
			chain{name: "forward" + fam.digit, rules: slices.Concat(
				rules(`
					ct direction reply goto unasked
					ct status & dnat == 0 goto unasked
				`),
				fam.portIs("published", "ct original proto-dst", "goto passed{n}"),
				rules(`goto unasked`))},
			chain{name: "passed" + fam.digit, rules: slices.Concat(
				fam.rules(`
					ct status confirmed `+nowAndThen+` jump noted{n}
					ct status confirmed goto let_in
					{ip} saddr @gate{n} jump new_from_gate{n}
				`),
				jumpRoom(h.Connections > 0),
				fam.rules(`
					jump noted{n}
					goto let_in
				`))})
	}
	return append(chains, chain{name: "unasked", rules: rules(`counter name total_tunnel drop`)})
}

// The sets of visitors: see visitorFlows.
const (
	udpSet     = "udp%s_%d"
	visitedSet = "visited%s_%d"
)

// How long a UDP visitor of a service is remembered: as long as conntrack does
// where there was one question and perhaps its answer, and where the two go on
// talking, longer than most services keep silent between two datagrams.
const (
	udpOnce   = "timeout 30s"
	udpStream = "timeout 5m"
)

// visitedTime is how long answers to a visitor are kept from leaving by another
// way than the tunnel.
const visitedTime = "timeout 1h"

// nowAndThen is one packet in sixteen: often enough to keep remembering who
// goes on talking, and cheap.
const nowAndThen = "numgen random mod 16 0"

// visitorFlows returns the sets of visitors. A UDP socket bound to any address
// answers from the address of the default route, and conntrack would take that
// for a new flow. So visitors of UDP services are remembered in one set, with
// the port as the service knows it, for udpSource to put the address right.
//
// The set has room for all connections that visitors may have, and room gives
// each of them a share. If it is full all the same, a new visitor is turned
// away: the answer would show them this machine's own address.
//
// Another set remembers for longer who is not to be answered by another way:
// those that had no place in it are remembered by the service's port alone.
// Another size makes other sets: it cannot be changed.
func visitorFlows(connections int) []set {
	n := flowsOf(connections)
	var sets []set
	for _, fam := range families {
		key := fam.addrType + " . inet_service . inet_service"
		sets = append(sets,
			flowSet(fmt.Sprintf(udpSet, fam.digit, n), key, udpOnce, 2*n),
			flowSet(fmt.Sprintf(visitedSet, fam.digit, n), key, visitedTime, 2*n))
	}
	return append(sets, flowSet("guarded", "inet_service", visitedTime, 65535))
}

func flowSet(name, key, timeout string, size int) set {
	return set{name: name, key: key, options: []string{"flags dynamic,timeout", timeout, fmt.Sprintf("size %d", size)}, dynamic: true}
}

// flowsOf is how many flows of visitors there may be at once.
func flowsOf(connections int) int {
	if connections == 0 {
		return 65535
	}
	return connections
}

// flowRules are rules of a family that name sets of visitors.
func (f family) flowRules(connections int, text string) []string {
	n := flowsOf(connections)
	return f.rules(strings.NewReplacer(
		"@udp", "@"+fmt.Sprintf(udpSet, f.digit, n),
		"@visited", "@"+fmt.Sprintf(visitedSet, f.digit, n),
	).Replace(text))
}

// visitor lets in a packet of a visitor. What is translated to another address
// of this machine, conntrack itself finds the answers of.
func visitor(connections int, fam family) chain {
	return chain{name: "visitor" + fam.digit, rules: fam.flowRules(connections, `
		meta l4proto != udp goto let_in
		{ip} daddr != @own{n} goto let_in
		ct status assured update @udp { {ip} saddr . udp sport . udp dport `+udpStream+` } goto let_in
		update @udp { {ip} saddr . udp sport . udp dport `+udpOnce+` } goto let_in
		`+turnAway)}
}

// noted remembers whom late answers must not reach by another way.
func noted(connections int, fam family) chain {
	return chain{name: "noted" + fam.digit, rules: fam.flowRules(connections, `
		update @visited { {ip} saddr . th sport . th dport } return
		add @guarded { th dport }
	`)}
}

// otherWays forgets the visitor of a UDP service who now comes by another way
// than the tunnel: that way answers them, as it does the partners of flows
// that this machine's own programs have begun from such a port.
func otherWays(connections int) chain {
	c := chain{name: "other_ways", rules: rules(`meta l4proto != udp accept`)}
	for _, fam := range families {
		c.rules = append(c.rules, fam.flowRules(connections, `
			delete @udp { {ip} saddr . udp sport . udp dport }
			delete @visited { {ip} saddr . udp sport . udp dport }
		`)...)
	}
	return c
}

// udpSource restores the tunnel address of answers of UDP sockets that are
// bound to any address, before conntrack looks; see visitorFlows. Answers then
// has the packet routed again.
func udpSource(h plan.HomeFirewall) chain {
	c := chain{name: "udp_source", hook: "type filter hook output priority raw"}
	for _, fam := range families {
		if i := slices.IndexFunc(h.Addresses, fam.has); i >= 0 {
			c.rules = append(c.rules, fam.flowRules(h.Connections, "{ip} daddr . udp dport . udp sport @udp {ip} saddr set "+h.Addresses[i].String())...)
		}
	}
	return c
}

// answers marks the answers of this machine, and WireGuard's own connections.
// The chain is of type route, so that what it marks is routed again.
func answers(connections int) []chain {
	chains := []chain{{
		name: "answers",
		hook: "type route hook output priority " + afterMangle,
		rules: slices.Concat(
			eachFamily(`ct direction reply ct original {ip} daddr @own{n} goto answer{n}`),
			rules(`meta mark and $mask == $outer ct mark set ct mark and $others or $outer`),
		),
	}}
	for _, fam := range families {
		chains = append(chains,
			chain{name: "answer" + fam.digit, rules: fam.rules(`
				meta mark set meta mark and $others or $answer
				meta l4proto udp {ip} saddr @own{n} goto answer_udp{n}
			`)},
			chain{name: "answer_udp" + fam.digit, rules: fam.flowRules(connections, `
				ct status assured update @udp { {ip} daddr . udp dport . udp sport `+udpStream+` } return
				update @udp { {ip} daddr . udp dport . udp sport `+udpOnce+` }
			`)})
	}
	return chains
}
