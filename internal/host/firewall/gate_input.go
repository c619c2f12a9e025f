package firewall

import (
	"fmt"
	"slices"

	"github.com/gatelodge/gatelodge/internal/plan"
)

const inputHook = "type filter hook input priority filter - 5"

// gateInput filters what is for the gate itself: always what comes from the
// tunnel, and with protection everything.
//
// A policy on trial goes before the confirmed one, for as long as its set has
// elements. They have a timeout, so the kernel itself reverts a policy
// that has locked the owner out: no process has to live for that, no disk has to
// take writes, no clock has to be right; and a reboot forgets it all.
func gateInput(g plan.GateFirewall) []chain {
	input := chain{name: "gate_input", hook: inputHook, rules: inputRules(g.Input, "open")}
	chains := append([]chain{input}, fromHomes()...)
	if g.Trial != nil {
		chains[0].rules = slices.Concat([]string{"meta nfproto @" + trialSet(g.Trial) + " goto on_trial"}, input.rules)
		chains = append(chains, chain{name: "on_trial", rules: inputRules(g.Trial.Policy, "open_trial")})
	}
	if g.Input.Protect || g.Trial != nil {
		chains = append(chains, fromInternet())
	}
	return chains
}

// trialSet names the set whose elements are a trial's life. Each trial has its
// own: elements are only ever added to a set that is new.
func trialSet(t *plan.Trial) string { return fmt.Sprintf("trial_%d", t.Number) }

// trialSets are what a policy on trial needs.
func trialSets(g plan.GateFirewall) []set {
	if g.Trial == nil {
		return nil
	}
	timeout := fmt.Sprintf(" timeout %dms", max(g.Trial.Left.Milliseconds(), 1))
	return []set{
		{
			name: trialSet(g.Trial), key: "nf_proto", options: []string{"flags timeout"}, fleeting: true,
			elements: []string{"ipv4" + timeout, "ipv6" + timeout},
		},
		portSet("open_trial", openPorts(g, g.Trial.Policy)),
		protocolSet("open_trial_protocols", g.Trial.Policy.Protocols),
	}
}

// inputRules let in what answers the gate, what the gate offers in the named
// set, and what it needs: ICMP, and answers of DHCP servers, which conntrack
// does not recognise as such because the question went to everyone.
//
// Only the answers to what the gate itself has begun are let in for having been
// let in before. All that others send is asked for with each packet: a session
// of the owner lives as long as its port is open, and what has slipped in to a
// closed one ends with its next packet.
func inputRules(p plan.InputPolicy, open string) []string {
	if !p.Protect {
		return rules(`iifname $tunnel goto from_homes`)
	}
	return rules(`
		iifname "lo" accept
		iifname $tunnel goto from_homes
		ct direction reply meta mark set meta mark or $accepted accept
		udp dport $wireguard meta mark set meta mark or $accepted accept
		meta l4proto { icmp, icmpv6 } jump icmp_from_internet
		meta nfproto ipv4 udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
		ct state invalid counter name total_invalid drop
		meta l4proto . th dport @` + open + ` meta mark set meta mark or $accepted accept
		meta l4proto @` + open + `_protocols meta mark set meta mark or $accepted accept
		counter name total_closed drop
	`)
}

// pingers are the addresses of the internet that ping the gate, each with a
// share of its own. Pings take entries of conntrack: so all together are bounded.
func pingers(g plan.GateFirewall) []set {
	if !g.Input.Protect && g.Trial == nil {
		return nil
	}
	return visitorSets("pingers", "flags dynamic,timeout", "timeout 10s")
}

// fromInternet admits the neighbour and multicast messages without which IPv6
// does not work on a link, pings, and errors about connections that somebody
// has exempted from tracking; errors about others are related to them.
// Neighbour messages count only from the link itself (RFC 4861, 6.1 and 7.1).
func fromInternet() chain {
	icmp := rules(`
		ct state related meta mark set meta mark or $accepted accept
		icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept
		icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept
		icmp type != echo-request return
		icmpv6 type != echo-request return
	`)
	icmp = append(icmp, perVisitor("update", "pingers", "limit rate over 20/second burst 20 packets", "counter name "+countClosed+" drop")...)
	icmp = append(icmp, "limit rate 100/second burst 100 packets accept")
	return chain{name: "icmp_from_internet", rules: icmp}
}
