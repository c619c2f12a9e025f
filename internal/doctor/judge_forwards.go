package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// judgeForwards judges each published port of a home. Where something else
// stops all visitors, lost probes prove nothing and are not judged.
func judgeForwards(e Evidence, blocked bool) []Finding {
	var found []Finding
	var lost, refusedBack, unarrived []Forward
	for _, f := range e.Here.Forwards {
		there, known := counterpart(e.There, f)
		if f, is := verdict(f, there, known); is {
			found = append(found, f)
			continue
		}
		if known {
			found = append(found, judgeHeld([]Forward{there}, "the gate")...)
		}
		if blocked {
			continue
		}
		both := merge(f, there)
		if s, is := judgeService(both); is {
			found = append(found, s)
			continue
		}
		switch {
		case both.Inside == TimedOut || both.Inside == Unreachable:
			refusedBack = append(refusedBack, both)
		case !both.Outside.failed() || !known:
		case both.After > both.Before:
			lost = append(lost, both)
		default:
			unarrived = append(unarrived, both)
		}
	}
	found = append(found, homeDrops(e.Here, refusedBack)...)
	found = append(found, gateDrops(e.There, lost)...)
	return append(found, neverArrived(e, unarrived)...)
}

// counterpart finds what the gate says of a forward.
func counterpart(there *Side, f Forward) (Forward, bool) {
	if there == nil {
		return Forward{}, false
	}
	i := slices.IndexFunc(there.Forwards, func(t Forward) bool {
		return t.Name == f.Name && t.Protocol == f.Protocol && t.Port == f.Port
	})
	if i < 0 {
		return Forward{}, false
	}
	return there.Forwards[i], true
}

// merge adds what the gate knows to what the home knows.
func merge(here, there Forward) Forward {
	here.Inside, here.Holder, here.Before, here.After = there.Inside, there.Holder, there.Before, there.After
	here.Traced, here.Arrived = there.Traced, there.Arrived
	return here
}

// verdict is a forward that the gate does not carry out.
func verdict(f, there Forward, known bool) (Finding, bool) {
	reason := f.Reason
	if known && there.Reason != "" {
		reason = there.Reason
	}
	switch {
	case known && there.Granted || !known && f.Granted:
		return Finding{}, false
	case f.Pending && !known:
		return Finding{ID: NotGrantedYet, Where: AtMap, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("The gate has not said yet whether it publishes %s (%s).", f.Name, port(f)),
			Command:  "gatelodge apply", Hint: reason}, true
	}
	return Finding{ID: RefusedByPolicy, Where: AtMap, Severity: Broken, On: "the gate",
		Sentence: fmt.Sprintf("The gate refuses to publish %s (%s): %s.", f.Name, port(f), strings.TrimSuffix(reason, ".")),
		Hint:     "publish another port, or have the gate's owner change gate.toml and run there: gatelodge apply"}, true
}

// judgeHeld finds programs of the gate that visitors no longer see.
func judgeHeld(forwards []Forward, on string) []Finding {
	var found []Finding
	for _, f := range forwards {
		if f.Holder == "" || !f.Granted {
			continue
		}
		found = append(found, Finding{ID: PortHeld, Where: AtMap, Severity: Warning, On: on,
			Sentence: fmt.Sprintf("%s on the gate listens on %s as well: visitors get the forward %s, and nobody reaches that program.", f.Holder, port(f), f.Name),
			Command:  fmt.Sprintf("ss -lnp sport = :%d", f.Port), Hint: "stop the program; or keep the port for it: accept, under [firewall] in gate.toml"})
	}
	return found
}

// judgeService judges the end of the way: the service, and how it answers.
func judgeService(f Forward) (Finding, bool) {
	if f.Inside == Open || f.Inside == Untried && f.Outside == Open {
		return Finding{}, false
	}
	if f.To.IsValid() {
		return judgeTarget(f)
	}
	reached := slices.ContainsFunc(f.Listeners, func(l netip.AddrPort) bool { return !l.Addr().IsLoopback() })
	switch {
	case reached || f.Inside == Untried && f.Protocol == "udp" && len(f.Listeners) == 0:
		return Finding{}, false // a container's port has no listener of this machine
	case len(f.Listeners) > 0:
		return Finding{ID: LoopbackOnly, Where: AtService, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("The service of %s listens on %s only, where visitors never come: they arrive at this machine's own addresses.", f.Name, f.Listeners[0]),
			Command:  fmt.Sprintf("ss -lnp sport = :%d", f.LocalPort), Hint: "have the service listen on 0.0.0.0 and [::], and start it again"}, true
	case f.Inside == TimedOut && f.Protocol == "udp":
		return Finding{}, false // silence is what most UDP services answer to a stranger
	}
	return Finding{ID: NotListening, Where: AtService, Severity: Broken, On: "here",
		Sentence: fmt.Sprintf("Nothing listens on %s port %d here, which %s (%s) publishes.", strings.ToUpper(f.Protocol), f.LocalPort, f.Name, port(f)),
		Command:  fmt.Sprintf("ss -lnp sport = :%d", f.LocalPort), Hint: "start the service, or: gatelodge unexpose " + f.Name}, true
}

// judgeTarget judges a device of the LAN.
func judgeTarget(f Forward) (Finding, bool) {
	at := netip.AddrPortFrom(f.To, f.LocalPort)
	switch {
	case f.Local.failed():
		return Finding{ID: TargetDown, Where: AtService, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("%s, to which %s leads, does not answer this machine either (%s).", at, f.Name, f.Local),
			Command:  "ping -c 3 " + f.To.String(), Hint: "start the device or its service; or, if it has another address now, change to in home.toml"}, true
	case f.Local == Open && f.ByRouter && !f.Hidden && f.Inside == TimedOut:
		return Finding{ID: AnswersElsewhere, Where: AtWayBack, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("%s answers visitors of %s by its own router and not by this machine, so that they get nothing.", f.To, f.Name),
			Command:  "gatelodge apply", Hint: fmt.Sprintf("first set source = \"masquerade\" under [forward.%s] in home.toml; or give the device this machine as its gateway", f.Name)}, true
	}
	return Finding{}, false
}

// homeDrops is what the gate's probes could not pass at home, although the
// service is there.
func homeDrops(here Side, lost []Forward) []Finding {
	lost = slices.DeleteFunc(lost, func(f Forward) bool { return f.Protocol == "udp" })
	if len(lost) == 0 {
		return nil
	}
	f := Finding{ID: HomeDrops, Where: AtHome, Severity: Broken, On: "here"}
	hook := Input
	if lost[0].To.IsValid() {
		hook = Passing
	}
	if d, ok := dropAt(here, hook, lost[0].Protocol, lost[0].Port); ok {
		f.Sentence = fmt.Sprintf("%s here drops what visitors of %s send.", d, names(lost))
		f.Command = d.Remedy
		return []Finding{f}
	}
	f.Sentence = fmt.Sprintf("Another firewall on this machine drops what comes by the tunnel for %s; the service itself answers here.", names(lost))
	f.Command, f.Hint = "nft list ruleset", "let in what comes from the interface of the tunnel; with ufw: ufw allow in on gatelodge; with firewalld: firewall-cmd --zone=trusted --add-interface=gatelodge"
	return []Finding{f}
}

// gateDrops is what our table on the gate has sent on and the home never saw.
func gateDrops(there *Side, lost []Forward) []Finding {
	if there == nil || len(lost) == 0 {
		return nil
	}
	f := Finding{ID: GateForwardDrops, Where: AtGate, Severity: Broken, On: "the gate"}
	if d, ok := dropAt(*there, Passing, lost[0].Protocol, lost[0].Port); ok {
		f.Sentence = fmt.Sprintf("%s on the gate drops what visitors of %s send.", d, names(lost))
		f.Command = d.command()
		return []Finding{f}
	}
	f.Sentence = fmt.Sprintf("Another firewall on the gate drops what Gatelodge has let through to %s.", names(lost))
	f.Command, f.Hint = "nft list ruleset", "let through what goes to the interface of the tunnel; with ufw: ufw route allow out on gatelodge"
	return []Finding{f}
}

// neverArrived is what was sent to the gate's public address and was not seen
// there.
func neverArrived(e Evidence, lost []Forward) []Finding {
	if len(lost) == 0 || e.There == nil {
		return nil
	}
	for _, hook := range []Hook{Arrival, Passing, Input} {
		if d, ok := dropAt(*e.There, hook, lost[0].Protocol, lost[0].Port); ok {
			id := GateForwardDrops
			if hook == Input {
				id = GateInputDrops
			}
			return []Finding{{ID: id, Where: AtGate, Severity: Broken, On: "the gate",
				Sentence: fmt.Sprintf("%s on the gate drops what visitors of %s send.", d, names(lost)), Command: d.command()}}
		}
	}
	if lost[0].Arrived {
		return []Finding{{ID: GateForwardDrops, Where: AtGate, Severity: Broken, On: "the gate",
			Sentence: fmt.Sprintf("What visitors of %s send arrives at the gate and is lost there before Gatelodge's rules see it, and no rule was seen to drop it.", names(lost)),
			Command:  "ip -s link", Hint: "look at routing there (ip rule, ip route get), and at programs that take packets off the interface"}}
	}
	if own := e.Here.Tunnel.Observed.Addr(); own.IsValid() && (own.IsPrivate() || slices.Contains(e.There.Public, own)) {
		return []Finding{{ID: Hairpin, Where: AtAddress, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("From this network %s cannot be reached at the public address %s, which is on this side of the router: it would have to turn the packets round, and does not.", names(lost), join(e.There.Public)),
			Hint:     "use the service's own address inside this network (a name of its own in the router's DNS); or enable NAT loopback (hairpinning) on the router"}}
	}
	return []Finding{{ID: ProviderFirewall, Where: AtProvider, Severity: Broken, On: "the gate",
		Sentence: fmt.Sprintf("What is sent to the gate's public address for %s never arrives there: the firewall of the VPS's provider drops it.", names(lost)),
		Hint:     "in the provider's web console, let in " + ports(lost)}}
}

// judgePassing passes on what was seen on the gate to drop forwarded packets.
func judgePassing(s Side) []Finding {
	for _, d := range s.Drops {
		if d.Hook == Passing || d.Hook == Arrival {
			return []Finding{{ID: GateForwardDrops, Where: AtGate, Severity: Broken, On: "here",
				Sentence: fmt.Sprintf("%s drops what visitors send.", d), Command: d.Remedy}}
		}
	}
	return nil
}

// judgeInside judges, on a gate, what it found at its homes. Those that are
// silent have been named.
func judgeInside(s Side, silent []Peer) []Finding {
	var found []Finding
	lost := map[string][]Forward{} // by home
	for _, f := range s.Forwards {
		gone := slices.ContainsFunc(silent, func(p Peer) bool { return p.Name == f.Home })
		if !f.Granted || gone {
			continue
		}
		switch {
		case f.Inside == Closed:
			found = append(found, Finding{ID: NotListening, Where: AtService, Severity: Broken, On: "the home",
				Sentence: fmt.Sprintf("At home %s nothing answers for %s (%s).", f.Home, f.Name, port(f)), Command: "gatelodge doctor"})
		case f.Protocol == "tcp" && (f.Inside == TimedOut || f.Inside == Unreachable):
			lost[f.Home] = append(lost[f.Home], f)
		}
	}
	for _, home := range slices.Sorted(maps.Keys(lost)) {
		found = append(found, Finding{ID: HomeDrops, Where: AtHome, Severity: Broken, On: "the home",
			Sentence: fmt.Sprintf("Home %s is there, but does not answer for %s: a firewall there, or a device behind it.", home, names(lost[home])), Command: "gatelodge doctor"})
	}
	return found
}

// inputDrop is a firewall on the gate that lets no WireGuard in.
func inputDrop(d Drop, on string) Finding {
	return Finding{ID: GateInputDrops, Where: AtGate, Severity: Broken, On: on,
		Sentence: fmt.Sprintf("%s drops what is for the gate itself.", d), Command: d.Remedy}
}

// dropAt finds a verdict of others; port 0 stands for any.
func dropAt(s Side, hook Hook, protocol string, port uint16) (Drop, bool) {
	i := slices.IndexFunc(s.Drops, func(d Drop) bool {
		return d.Hook == hook && (d.Protocol == "" || d.Protocol == protocol) && (d.Port == 0 || port == 0 || d.Port == port)
	})
	if i < 0 {
		return Drop{}, false
	}
	return s.Drops[i], true
}

// command mends it, or shows the chain whose owner has to.
func (d Drop) command() string {
	if d.Remedy != "" {
		return d.Remedy
	}
	return fmt.Sprintf("nft --handle list chain %s %s", d.Table, d.Chain)
}

// String names the verdict's place, and whose it is.
func (d Drop) String() string {
	text := fmt.Sprintf("chain %s of table %s", d.Chain, d.Table)
	if d.Rule != "" {
		text += fmt.Sprintf(" (%s)", d.Rule)
	} else {
		text += " (its policy)"
	}
	if d.Owner != "" {
		return d.Owner + "'s " + text
	}
	return upperFirst(text)
}

// trusting are services that commonly let private addresses do what strangers
// may not.
var trusting = map[uint16]string{
	25: "a mail server", 465: "a mail server", 587: "a mail server",
	53: "a DNS server", 1080: "a proxy", 3128: "a proxy", 8118: "a proxy", 8888: "a proxy",
	2049: "a file server", 139: "a file server", 445: "a file server",
	3306: "a database", 5432: "a database", 6379: "a database", 11211: "a cache", 27017: "a database", 9200: "a database",
	123: "a time server", 161: "a management agent", 631: "a print server", 2375: "a container engine",
}

// judgeRelays finds services to which every visitor looks like a neighbour.
func judgeRelays(s Side) []Finding {
	var found []Finding
	for _, f := range s.Forwards {
		kind, trusts := trusting[f.LocalPort]
		if !f.Hidden || !trusts {
			continue
		}
		found = append(found, Finding{ID: OpenRelay, Where: AtService, Severity: Warning, On: "here",
			Sentence: fmt.Sprintf("%s publishes %s behind an address of ours (source masquerade): every visitor comes with a private address, which such a service commonly trusts; it may serve as an open relay for all the world.", upperFirst(f.Name), kind),
			Command:  "gatelodge apply", Hint: fmt.Sprintf("first set source = \"preserve\" or an allow list under [forward.%s] in home.toml; or have the service trust no private address", f.Name)})
	}
	return found
}

func port(f Forward) string { return fmt.Sprintf("%d/%s", f.Port, f.Protocol) }

func names(list []Forward) string {
	words := make([]string, len(list))
	for i, f := range list {
		words[i] = fmt.Sprintf("%s (%s)", f.Name, port(f))
	}
	return strings.Join(firstFew(words), ", ")
}

func ports(list []Forward) string {
	words := make([]string, len(list))
	for i, f := range list {
		words[i] = fmt.Sprintf("%s port %d", strings.ToUpper(f.Protocol), f.Port)
	}
	return strings.Join(words, ", ")
}
