package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// judgeTunnel judges a home's way to its gate. It finds nothing where the gate
// answers messages of any size.
func judgeTunnel(s Side) []Finding {
	t := s.Tunnel
	switch {
	case t.Answers && t.Small == Open && t.Large.failed():
		return []Finding{{ID: MTUBlackHole, Where: AtTunnel, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("Small packets pass the tunnel and full ones (of %d bytes) are lost: a link on the way carries less and does not say so.", t.MTU),
			Command:  "gatelodge apply", Hint: "first set mtu = 1280 under [tunnel] in home.toml, and in the gate's gate.toml"}}
	case t.Answers:
		return nil
	case t.Alone:
		return []Finding{{ID: GateDaemonSilent, Where: AtTunnel, Severity: Broken, On: "the gate",
			Sentence: "The tunnel works, but the gate's daemon does not answer in it: what was published last stays, and nothing new is taken.",
			Command:  "systemctl restart gatelodge", Hint: "without systemd: gatelodge up"}}
	}
	if t.Carries {
		return []Finding{{ID: GateInputDrops, Where: AtGate, Severity: Broken, On: "the gate",
			Sentence: "The tunnel works, but what this home says to the gate's daemon in it is lost: a firewall on the gate drops what comes in by the tunnel for the gate itself.",
			Command:  "gatelodge doctor", Hint: "on the gate, where it names the rule"}}
	}
	for _, judge := range []func(Tunnel) (Finding, bool){failingName, movedName, noRoute} {
		if f, ok := judge(t); ok {
			return []Finding{f}
		}
	}
	return []Finding{silentGate(t)}
}

// failingName is a gate whose names all lead nowhere.
func failingName(t Tunnel) (Finding, bool) {
	for _, n := range t.Names {
		if n.Error == "" {
			return Finding{}, false
		}
	}
	if len(t.Names) == 0 {
		return Finding{}, false
	}
	return Finding{ID: NameFails, Where: AtName, Severity: Broken, On: "here",
		Sentence: fmt.Sprintf("The gate's name %s cannot be looked up: %s.", t.Names[0].Endpoint, t.Names[0].Error),
		Command:  "getent ahosts " + hostOf(t.Names[0].Endpoint), Hint: "mend this machine's DNS or the name's record; or write the gate's address under endpoints in [gate] of home.toml"}, true
}

// movedName is a name that now leads elsewhere than where the gate answered.
func movedName(t Tunnel) (Finding, bool) {
	if !t.Answered.IsValid() {
		return Finding{}, false
	}
	var moved *Name
	for i, n := range t.Names {
		if slices.Contains(n.Addresses, t.Answered.Addr()) {
			return Finding{}, false
		}
		if moved == nil && !n.Literal && len(n.Addresses) > 0 {
			moved = &t.Names[i]
		}
	}
	if moved == nil {
		return Finding{}, false
	}
	return elsewhere(*moved, []netip.Addr{t.Answered.Addr()}, Broken), true
}

func elsewhere(n Name, gate []netip.Addr, severity Severity) Finding {
	return Finding{ID: NameElsewhere, Where: AtName, Severity: severity, On: "here",
		Sentence: fmt.Sprintf("The gate's name %s leads to %s, and the gate is at %s.", hostOf(n.Endpoint), join(n.Addresses), join(gate)),
		Command:  "getent ahosts " + hostOf(n.Endpoint), Hint: "change the name's record at your DNS provider, and what names it in /etc/hosts"}
}

func noRoute(t Tunnel) (Finding, bool) {
	if t.Route || !t.Tried.IsValid() {
		return Finding{}, false
	}
	return Finding{ID: NoRoute, Where: AtTunnel, Severity: Broken, On: "here",
		Sentence: fmt.Sprintf("This machine has no route to the gate at %s: it is not connected, or lacks %s.", t.Tried.Addr(), familyOf(t.Tried.Addr())),
		Command:  "ip route get " + t.Tried.Addr().String(), Hint: "mend this machine's connection to the internet"}, true
}

// silentGate is a gate of which nothing comes back. A key that it has answered
// before is right; one that it never answered, although it answered the invite
// by the same way, is not.
func silentGate(t Tunnel) Finding {
	if !t.Answered.IsValid() {
		return Finding{ID: WrongKey, Where: AtTunnel, Severity: Broken, On: "the gate",
			Sentence: fmt.Sprintf("The gate at %s has answered this home's invite and never its key: it has another key for this home, or none.", t.Tried),
			Command:  "gatelodge doctor", Hint: "if the home is not listed there, invite it again: gatelodge gate invite NAME"}
	}
	since := "since this start"
	if t.Silence > 0 {
		since = "for " + span(t.Silence)
	}
	return Finding{ID: UDPBlocked, Where: AtTunnel, Severity: Broken, On: "the gate",
		Sentence: fmt.Sprintf("Nothing has come back from the gate at UDP %s %s, whose key has answered before: the packets are blocked on the way (a provider's firewall, or this network's), or the gate is down or has revoked this home.", t.Tried, since),
		Command:  "gatelodge doctor", Hint: fmt.Sprintf("let UDP port %d in at the VPS's provider", t.Tried.Port())}
}

// judgeNames finds a name that leads elsewhere while the tunnel still works: it
// will not after the next start.
func judgeNames(here, there Side) []Finding {
	if len(there.Public) == 0 {
		return nil
	}
	for _, n := range here.Tunnel.Names {
		known := func(a netip.Addr) bool {
			return slices.Contains(there.Public, a) || a == here.Tunnel.Tried.Addr() && n.Literal
		}
		if n.Literal || len(n.Addresses) == 0 || slices.ContainsFunc(n.Addresses, known) {
			continue
		}
		return []Finding{elsewhere(n, there.Public, Warning)}
	}
	return nil
}

// judgeIPv6 finds visitors of IPv6 who arrive at the gate and cannot be sent
// on.
func judgeIPv6(here, there Side) []Finding {
	is6 := func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() }
	wants := slices.ContainsFunc(here.Forwards, func(f Forward) bool { return f.WantsIPv6 })
	if !slices.ContainsFunc(there.Public, is6) || !wants || here.Machine.IPv6 && there.Machine.IPv6 {
		return nil
	}
	f := Finding{ID: IPv6OneSide, Where: AtAddress, Severity: Warning, On: "here",
		Sentence: "The gate has a public IPv6 address, but this machine has no IPv6 in the tunnel: visitors who come by IPv6 find nothing.",
		Hint:     "enable IPv6 here (the kernel's ipv6.disable and net.ipv6.conf.*.disable_ipv6), or publish no AAAA record"}
	if !there.Machine.IPv6 {
		f.On, f.Sentence = "the gate", "The gate has a public IPv6 address, but the tunnel has none: visitors who come by IPv6 find nothing."
		f.Hint = "set prefix6 under [tunnel] in gate.toml and let this home join again, or publish no AAAA record"
	}
	return []Finding{f}
}

// judgePeers judges a gate's homes.
func judgePeers(s Side) []Finding {
	var found []Finding
	for _, p := range s.Homes {
		if len(p.Flapped) > 1 {
			found = append(found, Finding{ID: TwinKey, Where: AtTunnel, Severity: Broken, On: "the home",
				Sentence: fmt.Sprintf("Two machines use the key of home %s at once: its packets come from %s and from %s in turn.", p.Name, p.Flapped[0], p.Flapped[1]),
				Command:  "gatelodge down", Hint: "on the copy; then remove home.json there, and join it as a home of its own"})
		}
	}
	silent := silentHomes(s)
	if len(s.Strangers) > 0 && (len(silent) > 0 || len(s.Homes) == 0) {
		return append(found, Finding{ID: WrongKey, Where: AtTunnel, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("WireGuard packets come from %s with a key that this gate does not know%s.", s.Strangers[0], whose(silent)),
			Command:  "gatelodge gate homes", Hint: "invite the home again (gatelodge gate invite NAME), and there: gatelodge down, remove home.json, gatelodge join INVITE"})
	}
	for _, p := range silent {
		found = append(found, Finding{ID: HandshakeStale, Where: AtTunnel, Severity: Broken, On: "the home",
			Sentence: fmt.Sprintf("Nothing comes from home %s; %s.", p.Name, lastHeard(p)),
			Command:  "gatelodge doctor", Hint: "if it runs there and finds the way blocked: let the gate's WireGuard port (UDP) in at the VPS's provider"})
	}
	return found
}

// silentHomes are those whose packets do not come.
func silentHomes(s Side) []Peer {
	var silent []Peer
	for _, p := range s.Homes {
		if !p.Heard {
			silent = append(silent, p)
		}
	}
	return silent
}

func whose(silent []Peer) string {
	if len(silent) == 0 {
		return ""
	}
	return ", while nothing comes from home " + silent[0].Name
}

func lastHeard(p Peer) string {
	if p.Handshake <= 0 {
		return "it has not come since this gate's interface was made"
	}
	return fmt.Sprintf("its last handshake is %s old, from %s", span(p.Handshake.Round(time.Second)), p.Endpoint)
}

// hostOf is HOST of HOST:PORT.
func hostOf(endpoint string) string {
	if i := strings.LastIndexByte(endpoint, ':'); i > 0 {
		return strings.Trim(endpoint[:i], "[]")
	}
	return endpoint
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func join(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}
