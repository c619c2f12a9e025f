package doctor

import (
	"fmt"
	"net/netip"
	"slices"
)

// homeDrops is what the gate's probes could not pass at home, although the
// service is there: it says what others there were found to do to it, or that
// this is not known.
func homeDrops(here Side, lost []Forward, does, seems string) []Finding {
	lost = slices.DeleteFunc(lost, func(f Forward) bool { return f.Protocol == "udp" })
	if len(lost) == 0 {
		return nil
	}
	if f, ok := culpritAtHome(here, lost, does); ok {
		return []Finding{f}
	}
	return []Finding{{ID: HomeDrops, Where: AtHome, Severity: Broken, On: "here",
		Sentence: fmt.Sprintf("This machine %s what comes by the tunnel for %s, although the service is there; no rule was seen to do that, so it is a firewall whose rule depends on the visitor, or the service itself.", seems, names(lost)),
		Command:  showRules(here.Machine), Hint: "let in what comes from the interface of the tunnel; with ufw: ufw allow in on gatelodge; with firewalld: firewall-cmd --zone=trusted --add-interface=gatelodge"}}
}

// culpritAtHome finds the rule of others that keeps a forward from being
// answered.
func culpritAtHome(here Side, lost []Forward, does string) (Finding, bool) {
	protocol, port := lost[0].Protocol, lost[0].LocalPort
	f := Finding{ID: HomeDrops, Where: AtHome, Severity: Broken, On: "here"}
	if d, ok := deedAt(here, Drops, protocol, port, Input, Passing); ok {
		f.Sentence, f.Command = fmt.Sprintf("%s here %s what visitors of %s send.", d, does, names(lost)), d.command()
		return f, true
	}
	if d, ok := deedAt(here, Drops, protocol, port, Output, Leaving, Arrival); ok {
		f.Sentence, f.Command = fmt.Sprintf("%s here drops the answers to visitors of %s.", d, names(lost)), d.command()
		f.Hint = "have its owner let out what goes to the interface of the tunnel"
		return f, true
	}
	if d, ok := deedAt(here, Untracks, protocol, port, Arrival, Output); ok {
		return untracked(d, AtHome, "here", lost), true
	}
	if d, ok := deedAt(here, Remarks, protocol, port, Output, Arrival); ok {
		f.ID, f.Where = MarkOverwritten, AtWayBack
		f.Sentence = fmt.Sprintf("%s here overwrites the mark that leads the answers to visitors of %s back into the tunnel.", d, names(lost))
		f.Command, f.Hint = d.command(), "have its owner change only their own bits: meta mark set meta mark and 0xf0000000 or VALUE; with iptables: --set-xmark VALUE/0x0fffffff"
		return f, true
	}
	return f, false
}

// untracked is a rule that hides packets from conntrack, so that nothing can be
// translated.
func untracked(d Drop, where Hop, on string, lost []Forward) Finding {
	machine := "the gate"
	if where == AtHome {
		machine = "this machine"
	}
	return Finding{ID: Untracked, Where: where, Severity: Broken, On: on,
		Sentence: fmt.Sprintf("%s on %s exempts packets of %s from connection tracking (notrack), and no forward works without it.", d, machine, names(lost)),
		Command:  d.command(), Hint: "have its owner exempt this port from that rule, or delete it"}
}

// showRules lists all rules of a machine.
func showRules(m Machine) string {
	if len(m.Legacy) > 0 {
		return "nft list ruleset; iptables-legacy-save; ip6tables-legacy-save"
	}
	return "nft list ruleset"
}

// gateDrops is what our table on the gate has sent on, and to which no answer
// came.
func gateDrops(e Evidence, lost []Forward) []Finding {
	if e.There == nil || len(lost) == 0 {
		return nil
	}
	if d, ok := deedAt(*e.There, Drops, lost[0].Protocol, lost[0].Port, Passing, Leaving); ok {
		return []Finding{{ID: GateForwardDrops, Where: AtGate, Severity: Broken, On: "the gate",
			Sentence: fmt.Sprintf("%s on the gate drops what visitors of %s send.", d, names(lost)), Command: d.command()}}
	}
	if f, ok := culpritAtHome(e.Here, lost, "drops"); ok {
		return []Finding{f}
	}
	return []Finding{{ID: NoAnswer, Where: AtGate, Severity: Broken, On: "the gate",
		Sentence: fmt.Sprintf("Gatelodge on the gate forwards what visitors of %s send, and the gate itself reaches the service, but no answer gets back to a visitor; no rule was seen to drop it.", names(lost)),
		Command:  showRules(e.There.Machine), Hint: "look there, and here, for a rule or a route about the visitors' addresses; on the gate, let through what goes to the interface of the tunnel (with ufw: ufw route allow out on gatelodge)"}}
}

// neverArrived is what was sent to the gate's public address and was not sent on
// there.
func neverArrived(e Evidence, lost []Forward) []Finding {
	if len(lost) == 0 || e.There == nil {
		return nil
	}
	if f, ok := culpritAtGate(*e.There, lost); ok {
		return []Finding{f}
	}
	if tried := e.Here.Tunnel.Tried.Addr(); lost[0].Unwanted {
		return []Finding{unwanted(*e.There, tried, lost)}
	}
	if lost[0].Arrived {
		return []Finding{{ID: GateForwardDrops, Where: AtGate, Severity: Broken, On: "the gate",
			Sentence: fmt.Sprintf("What visitors of %s send arrives at the gate and is lost there before Gatelodge's rules see it, and no rule was seen to drop it.", names(lost)),
			Command:  "ip -s link", Hint: "look at routing there (ip rule, ip route get), and at programs that take packets off the interface"}}
	}
	if own := e.Here.Tunnel.Observed.Addr(); own.IsValid() && (own.IsPrivate() || slices.Contains(e.There.Public, own)) {
		return []Finding{{ID: Hairpin, Where: AtAddress, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("From this network %s cannot be reached at the public address %s, which is on this side of the router: the router would have to turn the packets round, and does not.", names(lost), join(e.There.Public)),
			Hint:     "use the service's own address inside this network (a name of its own in the router's DNS); or enable NAT loopback (hairpinning) on the router"}}
	}
	return []Finding{{ID: ProviderFirewall, Where: AtProvider, Severity: Broken, On: "the gate",
		Sentence: fmt.Sprintf("What is sent to the gate's public address for %s never arrives there: the firewall of the VPS's provider drops it.", names(lost)),
		Hint:     "in the provider's web console, let in " + ports(lost)}}
}

// culpritAtGate finds the rule of others that keeps visitors from our table.
func culpritAtGate(there Side, lost []Forward) (Finding, bool) {
	protocol, port := lost[0].Protocol, lost[0].Port
	if d, ok := deedAt(there, Drops, protocol, port, Arrival, Passing, Input); ok {
		id := GateForwardDrops
		if d.Hook == Input {
			id = GateInputDrops
		}
		return Finding{ID: id, Where: AtGate, Severity: Broken, On: "the gate",
			Sentence: fmt.Sprintf("%s on the gate drops what visitors of %s send.", d, names(lost)), Command: d.command()}, true
	}
	if d, ok := deedAt(there, Untracks, protocol, port, Arrival); ok {
		return untracked(d, AtGate, "the gate", lost), true
	}
	return Finding{}, false
}

// unwanted is a visit that our own table on the gate took for one of the gate
// itself.
func unwanted(there Side, tried netip.Addr, lost []Forward) Finding {
	if !slices.Contains(there.Public, tried) {
		return Finding{ID: AddressNotServed, Where: AtAddress, Severity: Broken, On: "the gate",
			Sentence: fmt.Sprintf("Visitors of %s who come to the gate's address %s get no answer: forwards are served at %s only.", names(lost), tried, join(there.Public)),
			Command:  "gatelodge apply", Hint: fmt.Sprintf("first list that address under addresses in [public] of gate.toml: %q", tried)}
	}
	return Finding{ID: GateForwardDrops, Where: AtGate, Severity: Broken, On: "the gate",
		Sentence: fmt.Sprintf("What visitors of %s send arrives at the gate, and Gatelodge's table there treats it as meant for the gate itself; the reason is not known.", names(lost)),
		Command:  "gatelodge doctor", Hint: "on the gate; and look there for rules that exempt packets from connection tracking: nft list ruleset"}
}

// judgeUnserved finds public addresses of the gate at which visitors find
// nothing.
func judgeUnserved(s Side) []Finding {
	if len(s.Unserved) == 0 {
		return nil
	}
	u := s.Unserved[0]
	return []Finding{{ID: AddressNotServed, Where: AtAddress, Severity: Warning, On: "here",
		Sentence: fmt.Sprintf("This machine also has the address %s (interface %s), at which visitors get no answer: forwards are served at %s only.", u.Addr, u.Interface, join(s.Public)),
		Command:  "gatelodge apply", Hint: "first list all addresses for visitors under addresses in [public] of gate.toml; to leave one out, list the others"}}
}
