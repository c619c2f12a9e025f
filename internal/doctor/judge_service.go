package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// judgeService judges the end of the way: the service, and how it answers.
func judgeService(f Forward) (Finding, bool) {
	has6 := slices.ContainsFunc(f.Listeners, func(l netip.AddrPort) bool { return l.Addr().Is6() })
	if f.Inside == Open && f.Inside6 == Closed && len(f.Listeners) > 0 && !has6 && !f.To.IsValid() {
		return oneFamily(f, "IPv4", "IPv6")
	}
	if f.Inside == Open || f.Inside == Untried && f.Outside == Open {
		return Finding{}, false
	}
	if f.To.IsValid() {
		return judgeTarget(f)
	}
	if f.Inside == Closed && f.Inside6 == Open && f.Local == Closed {
		return oneFamily(f, "IPv6", "IPv4")
	}
	show := fmt.Sprintf("ss -lnp sport = :%d", f.LocalPort)
	open, bound := sortListeners(f.Listeners)
	switch {
	case f.OnlyOn != "" && f.Inside.failed():
		return Finding{ID: BoundElsewhere, Where: AtService, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("The service of %s (%s) is bound to the interface %s, and visitors come by the tunnel's.", f.Name, port(f), f.OnlyOn),
			Command:  show, Hint: "have the service listen on all interfaces, and start it again"}, true
	case open || f.Inside == Untried && f.Protocol == "udp" && len(f.Listeners) == 0:
		return Finding{}, false // a container's port has no listener of this machine
	case bound.IsValid() && f.Inside.failed():
		return boundElsewhere(f, bound, show), true
	case bound.IsValid():
		return Finding{}, false
	case len(f.Listeners) > 0:
		return Finding{ID: LoopbackOnly, Where: AtService, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("The service of %s listens on %s only, where visitors never come: they arrive at this machine's own addresses.", f.Name, f.Listeners[0]),
			Command:  show, Hint: "have the service listen on 0.0.0.0 and [::], and start it again"}, true
	case f.Inside == TimedOut && f.Protocol == "udp":
		return Finding{}, false // silence is what most UDP services answer to a stranger
	}
	return Finding{ID: NotListening, Where: AtService, Severity: Broken, On: "here",
		Sentence: fmt.Sprintf("Nothing listens on %s port %d here, which %s (%s) publishes.", strings.ToUpper(f.Protocol), f.LocalPort, f.Name, port(f)),
		Command:  show, Hint: "start the service, or: gatelodge unexpose " + f.Name}, true
}

// sortListeners reports whether one of them is open to all addresses, and else
// which is bound to a single one that is not loopback.
func sortListeners(list []netip.AddrPort) (open bool, bound netip.AddrPort) {
	for _, l := range list {
		switch {
		case l.Addr().IsUnspecified():
			open = true
		case !l.Addr().IsLoopback() && !bound.IsValid():
			bound = l
		}
	}
	return open, bound
}

// boundElsewhere is a service that has chosen one address of this machine.
func boundElsewhere(f Forward, at netip.AddrPort, show string) Finding {
	ports := fmt.Sprintf("%d/%s", f.Port, f.Protocol)
	if f.LocalPort != f.Port {
		ports = fmt.Sprintf("%d:%d/%s", f.Port, f.LocalPort, f.Protocol)
	}
	return Finding{ID: BoundElsewhere, Where: AtService, Severity: Broken, On: "here",
		Sentence: fmt.Sprintf("The service of %s (%s) listens on %s only, and visitors come to this machine's address in the tunnel.", f.Name, port(f), at.Addr()),
		Command:  show, Hint: fmt.Sprintf("lead the forward there: gatelodge unexpose %s, then gatelodge expose %s --to %s --name %[1]s; or have the service listen on all addresses", f.Name, ports, at.Addr())}
}

// oneFamily is a service that visitors of one family find, and the others do not.
func oneFamily(f Forward, has, lacks string) (Finding, bool) {
	severity, hint := Warning, "have the service listen on [::] as well, or publish no AAAA record for it"
	if lacks == "IPv4" {
		severity, hint = Broken, "have the service listen on 0.0.0.0 as well"
	}
	return Finding{ID: OneFamily, Where: AtService, Severity: severity, On: "here",
		Sentence: fmt.Sprintf("The service of %s (%s) answers by %s only: visitors who come by %s are refused.", f.Name, port(f), has, lacks),
		Command:  fmt.Sprintf("ss -lnp sport = :%d", f.LocalPort), Hint: hint}, true
}

// judgeWay4 finds UDP services of a home without IPv4 of its own: the kernel looks
// for a way to the visitor before our rules see the answer, and finds none.
func judgeWay4(e Evidence) []Finding {
	is4 := func(a netip.Addr) bool { return a.Is4() }
	if !e.Here.Machine.NoWay4 || e.There == nil || !slices.ContainsFunc(e.There.Public, is4) {
		return nil
	}
	for _, f := range e.Here.Forwards {
		if there, known := counterpart(e.There, f); f.Protocol != "udp" || f.To.IsValid() || !known || !there.Granted {
			continue
		}
		return []Finding{{ID: NoIPv4Route, Where: AtWayBack, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("This machine has no default route of IPv4, so it sends no answer to IPv4 visitors of %s (%s).", f.Name, port(f)),
			Command:  "ip -4 route get 192.0.2.1", Hint: "give it any IPv4 default route, even one that leads nowhere: the answers leave by the tunnel"}}
	}
	return nil
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
			Sentence: fmt.Sprintf("%s answers visitors of %s by its own router and not by this machine, so they get no answer.", f.To, f.Name),
			Command:  "gatelodge apply", Hint: fmt.Sprintf("first set source = \"masquerade\" under [forward.%s] in home.toml; or give the device this machine as its gateway", f.Name)}, true
	}
	return Finding{}, false
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
			Sentence: fmt.Sprintf("%s publishes %s with one of our addresses as the source (masquerade): every visitor comes with a private address, which such a service commonly trusts; it may be an open relay for the whole internet.", upperFirst(f.Name), kind),
			Command:  "gatelodge apply", Hint: fmt.Sprintf("first set source = \"preserve\" or an allow list under [forward.%s] in home.toml; or have the service trust no private address", f.Name)})
	}
	return found
}
