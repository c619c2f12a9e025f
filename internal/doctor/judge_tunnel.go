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
	case t.GaveWay:
		return []Finding{gaveWay()}
	case t.Answers && t.Small == Open && t.Large.failed():
		return []Finding{{ID: MTUBlackHole, Where: AtTunnel, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("Small packets pass the tunnel and full ones (of %d bytes) are lost: a link on the way carries less and does not say so.", t.MTU),
			Command:  "gatelodge apply", Hint: "first set mtu = 1280 under [tunnel] in home.toml, and in the gate's gate.toml"}}
	case t.Answers:
		return nil
	case t.Alone:
		return []Finding{{ID: GateDaemonSilent, Where: AtTunnel, Severity: Broken, On: "the gate",
			Sentence: "The tunnel works, but the gate's daemon does not answer in it: what was published last stays, but nothing new is accepted.",
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
		Command:  "getent ahosts " + hostOf(t.Names[0].Endpoint), Hint: "fix this machine's DNS or the name's record; or write the gate's address under endpoints in [gate] of home.toml"}, true
}

// movedName is a name that now leads elsewhere than where the gate answered.
func movedName(t Tunnel) (Finding, bool) {
	if !t.Answered.IsValid() {
		return Finding{}, false
	}
	var moved *Name
	for i, n := range t.Names {
		same := func(a netip.Addr) bool {
			return a == t.Answered.Addr() || translates(a, t.Answered.Addr()) || translates(t.Answered.Addr(), a)
		}
		if slices.ContainsFunc(n.Addresses, same) {
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
		Command:  "ip route get " + t.Tried.Addr().String(), Hint: "fix this machine's connection to the internet"}, true
}

// silentGate is a gate of which nothing comes back. A key that it has answered
// before is right; one that it never answered, although it answered the invite
// by the same way, is not.
func silentGate(t Tunnel) Finding {
	if !t.Answered.IsValid() {
		return Finding{ID: WrongKey, Where: AtTunnel, Severity: Broken, On: "the gate",
			Sentence: fmt.Sprintf("The gate at %s has answered this home's invite, but never its key: it has another key for this home, or none.", t.Tried),
			Command:  "gatelodge doctor", Hint: "if the home is not listed there, invite it again: gatelodge gate invite NAME"}
	}
	since := "since this start"
	if t.Silence > 0 {
		since = "for " + span(t.Silence)
	}
	return Finding{ID: UDPBlocked, Where: AtTunnel, Severity: Broken, On: "the gate",
		Sentence: fmt.Sprintf("Nothing has come back from the gate at UDP %s %s, although it has answered this home's key before, and the reason cannot be seen from here: it was set up again or has revoked this home, its listen_port has changed, it is down, or a firewall blocks the packets on the way (a provider's, or this network's).", t.Tried, since),
		Command:  "gatelodge doctor", Hint: fmt.Sprintf("if this home is not listed there by gatelodge gate homes, invite it again: gatelodge gate invite NAME; if it is and its port is still %d, let that UDP port in at the VPS's provider", t.Tried.Port())}
}

// judgeNames finds a name that leads elsewhere while the tunnel still works: it
// will not after the next start.
func judgeNames(here, there Side) []Finding {
	if len(there.Public) == 0 {
		return nil
	}
	for _, n := range here.Tunnel.Names {
		known := func(a netip.Addr) bool {
			return slices.ContainsFunc(there.Public, func(p netip.Addr) bool { return p == a || translates(a, p) }) || a == here.Tunnel.Tried.Addr()
		}
		if n.Literal || len(n.Addresses) == 0 || slices.ContainsFunc(n.Addresses, known) {
			continue
		}
		return []Finding{elsewhere(n, there.Public, Warning)}
	}
	return nil
}

// translates reports whether an IPv6 address is an IPv4 one in the spelling of a
// NAT64, of whatever prefix (RFC 6052, section 2.2: byte 8 is left out).
func translates(six, four netip.Addr) bool {
	if !six.Is6() || !four.Is4() {
		return false
	}
	b, want := six.As16(), four.As4()
	without8 := slices.Concat(b[:8], b[9:])
	for _, start := range []int{4, 5, 6, 7, 8} {
		if slices.Equal(without8[start:start+4], want[:]) {
			return true
		}
	}
	return slices.Equal(b[12:], want[:])
}

// judgeIPv6 finds visitors of IPv6 who arrive at the gate and cannot be sent
// on.
func judgeIPv6(here, there Side) []Finding {
	is6 := func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() }
	wants := slices.ContainsFunc(here.Forwards, func(f Forward) bool { return f.WantsIPv6 })
	if !slices.ContainsFunc(there.Public, is6) || !wants || here.Machine.hasIPv6() && there.Machine.hasIPv6() {
		return nil
	}
	f := Finding{ID: IPv6OneSide, Where: AtAddress, Severity: Warning, On: "here",
		Sentence: "The gate has a public IPv6 address, but this machine has no IPv6 in the tunnel: visitors who come by IPv6 get no answer.",
		Hint:     "enable IPv6 here (the kernel's ipv6.disable and net.ipv6.conf.*.disable_ipv6), or publish no AAAA record"}
	if !there.Machine.hasIPv6() {
		f.On, f.Sentence = "the gate", "The gate has a public IPv6 address, but the tunnel has none: visitors who come by IPv6 get no answer."
		f.Hint = "set prefix6 under [tunnel] in gate.toml and let this home join again, or publish no AAAA record"
	}
	return []Finding{f}
}

// hasIPv6 reports whether the tunnel has IPv6, as far as it is known.
func (m Machine) hasIPv6() bool { return m.IPv6 || m.StateUnseen }

// insistent returns an address that calls again and again, each time from
// another port, as a home does that is not answered.
func insistent(strangers []netip.AddrPort) (netip.AddrPort, bool) {
	const calls = 3 // in the half minute for which the gate remembers them; who scans the internet calls once
	from := map[netip.Addr]int{}
	for _, s := range strangers {
		if from[s.Addr()]++; from[s.Addr()] >= calls {
			return s, true
		}
	}
	return netip.AddrPort{}, false
}

// judgePeers judges a gate's homes.
func judgePeers(s Side) []Finding {
	found := judgeTwins(s)
	revoked, s := judgeRevoked(s)
	found = append(found, revoked...)
	silent := silentHomes(s)
	if caller, insists := insistent(s.Strangers); insists && len(silent) == 0 && len(s.Homes) > 0 {
		return append(found, Finding{ID: WrongKey, Where: AtTunnel, Severity: Warning, On: "here",
			Sentence: fmt.Sprintf("Somebody at %s calls this gate's WireGuard port again and again with a key that it does not know; all its homes are there, so it may be one that was revoked, or of a gate that this machine was before.", caller.Addr()),
			Command:  "gatelodge gate homes", Hint: "if it is a home of yours, invite it again (gatelodge gate invite NAME), and there: gatelodge leave, gatelodge join INVITE"})
	}
	if len(s.Strangers) > 0 && (len(silent) > 0 || len(s.Homes) == 0) {
		return append(found, Finding{ID: WrongKey, Where: AtTunnel, Severity: Broken, On: "here",
			Sentence: fmt.Sprintf("WireGuard packets come from %s with a key that this gate does not know%s.", s.Strangers[0], whose(silent)),
			Command:  "gatelodge gate homes", Hint: "invite the home again (gatelodge gate invite NAME), and there: gatelodge leave, gatelodge join INVITE"})
	}
	for _, p := range silent {
		found = append(found, Finding{ID: HandshakeStale, Where: AtTunnel, Severity: Broken, On: "the home",
			Sentence: fmt.Sprintf("Nothing comes from home %s; %s.", p.Name, lastHeard(p)),
			Command:  "gatelodge doctor", Hint: "if it runs there and gets no answer: it calls the port that the gate had when it joined, so see whether listen_port in gate.toml has changed since; if not, let the gate's WireGuard port (UDP) in at the VPS's provider"})
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
		return "it has not been heard since this gate's interface was made"
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
