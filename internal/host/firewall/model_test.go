package firewall_test

import (
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// policy is a gate and a home at random, over so few ports that everything
// meets everything.
type policy struct {
	gate plan.Firewall
	home plan.Firewall
}

// maxPort bounds the public ports of random policies; beyond lie the ports of
// the gate's own, and local ones.
const maxPort = 12

// drawPolicy draws forwards of disjoint ports at both ends, so that the ends
// may disagree, and what the gate itself offers.
func drawPolicy(t *rapid.T) policy {
	p := policy{gate: gateWant(), home: homeWant()}
	g := p.gate.Gate
	g.Input = drawInput(t, "input")
	if rapid.IntRange(0, 2).Draw(t, "trial") == 0 {
		g.Trial = &plan.Trial{Policy: drawInput(t, "on trial"), Left: time.Hour}
	}
	g.SSHPorts = []uint16{drawPort(t, "ssh")}
	p.home.Home.DropPrivate = rapid.Bool().Draw(t, "drop private")
	for _, r := range drawRanges(t, "at the gate") {
		f := forward.Grant{ID: uint32(len(g.Forwards) + 1), Published: forward.Published{Ports: []forward.Ports{r}}}
		if rapid.Bool().Draw(t, "IPv4") {
			f.Target4 = homeTunnel4
		}
		if rapid.Bool().Draw(t, "IPv6") {
			f.Target6 = homeTunnel6
		}
		if rapid.IntRange(0, 3).Draw(t, "allow") == 0 {
			f.Allow = []netip.Prefix{prefix("203.0.113.10/32"), prefix("2001:db8:c::/64")}
		}
		g.Forwards = append(g.Forwards, f)
	}
	for _, r := range drawRanges(t, "at home") {
		p.home.Home.Forwards = append(p.home.Home.Forwards, drawTarget(t, r))
	}
	return p
}

func drawInput(t *rapid.T, label string) plan.InputPolicy {
	return plan.InputPolicy{Protect: rapid.Bool().Draw(t, label+": protect"), Accept: drawPorts(t, label+": accept")}
}

func drawPort(t *rapid.T, label string) uint16 {
	return rapid.Uint16Range(1, maxPort).Draw(t, label)
}

func drawPorts(t *rapid.T, label string) forward.PortSet {
	var list []forward.Ports
	for _, r := range drawRanges(t, label) {
		if r.Range.First%3 == 0 {
			list = append(list, r)
		}
	}
	return forward.NewPortSet(list...)
}

// drawRanges cuts the ports of each protocol into pieces and keeps some.
func drawRanges(t *rapid.T, label string) []forward.Ports {
	var list []forward.Ports
	for _, protocol := range []forward.Protocol{tcp, udp} {
		for first := uint16(1); first <= maxPort; {
			last := min(first+rapid.Uint16Range(0, 4).Draw(t, label), maxPort)
			if rapid.IntRange(0, 3).Draw(t, "published") > 0 {
				list = append(list, forward.Ports{Protocol: protocol, Range: forward.Range{First: first, Last: last}})
			}
			first = last + 1
		}
	}
	return list
}

func drawTarget(t *rapid.T, public forward.Ports) plan.HomeForward {
	to := rapid.SampledFrom([]netip.Addr{{}, {}, lan4, lan6}).Draw(t, "to")
	f := plan.HomeForward{
		Mapping:  forward.Mapping{Public: public, Local: public.Range},
		To:       to,
		Families: forward.Forward{To: to}.Families(),
	}
	if shift := rapid.SampledFrom([]uint16{0, 0, 100, 1}).Draw(t, "shift"); shift > 0 {
		f.Mapping.Local = forward.Range{First: public.Range.First + shift, Last: public.Range.Last + shift}
	}
	f.Masquerade = to.IsValid() && rapid.Bool().Draw(t, "masquerade")
	f.Hidden = !to.IsValid() && rapid.Bool().Draw(t, "hidden")
	return f
}

// drawProbe draws a packet of somebody outside, of a home, or of a gate that
// does what it likes.
func (w *world) drawProbe(t *rapid.T) probe {
	protocol := rapid.SampledFrom([]forward.Protocol{tcp, udp}).Draw(t, "protocol")
	six := rapid.Bool().Draw(t, "six")
	pick := func(label string, four, other string) netip.Addr {
		list := strings.Fields(four)
		if six {
			list = strings.Fields(other)
		}
		return addr(rapid.SampledFrom(list).Draw(t, label))
	}
	to := func(a netip.Addr) string {
		port := rapid.SampledFrom([]uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 102, 7117, 51820}).Draw(t, "port")
		return netip.AddrPortFrom(a, port).String()
	}
	switch rapid.IntRange(0, 5).Draw(t, "from") {
	case 0:
		return w.probe(w.home, tunnelName, protocol,
			pick("home", "10.99.0.2 10.99.0.3 10.99.0.77 203.0.113.10", "fd99::2 fd99::3 fd99::77 2001:db8:c::10"),
			to(pick("to", "10.99.0.1 198.51.100.2 203.0.113.10 10.99.0.3", "fd99::1 2001:db8:a::2 2001:db8:c::10 fd99::3")))
	case 1:
		return w.probe(w.gate, tunnelName, protocol,
			pick("gate", "10.99.0.1 203.0.113.10 10.1.2.3 192.168.1.20 192.168.1.10", "fd99::1 2001:db8:c::10 fd12::1 2001:db8:1::20 2001:db8:1::10"),
			to(pick("to", "10.99.0.2 10.99.0.2 192.168.1.10 192.168.1.20", "fd99::2 fd99::2 2001:db8:1::10 2001:db8:1::20")))
	default:
		return w.probe(w.internet, "eth0", protocol,
			pick("visitor", "203.0.113.10 203.0.113.11 203.0.113.10 10.99.0.2", "2001:db8:c::10 2001:db8:c:1::10 2001:db8:c::10 fd99::2"),
			to(pick("to", "198.51.100.2 198.51.100.2 198.51.100.2 10.99.0.1 10.99.0.2", "2001:db8:a::2 2001:db8:a::2 2001:db8:a::2 fd99::1 fd99::2")))
	}
}

// end is the model: where the packet must end by the policy.
func (p policy) end(w *world, b probe) place {
	switch b.from {
	case w.internet:
		return p.fromInternet(b)
	case w.home:
		return p.fromHome(b)
	default:
		return p.fromGate(b)
	}
}

func at(host string, protocol forward.Protocol, a netip.Addr, port uint16) place {
	return place(fmt.Sprintf("%s %s %s", host, protocol, netip.AddrPortFrom(a, port)))
}

func inTunnel(a netip.Addr) bool {
	return prefix("10.99.0.0/24").Contains(a) || prefix("fd99::/64").Contains(a)
}

func (p policy) fromInternet(b probe) place {
	g, to := p.gate.Gate, one(b.protocol, b.dst.Port())
	if inTunnel(b.src.Addr()) || inTunnel(b.dst.Addr()) {
		return ""
	}
	reserved := g.Reserved().Contains(to)
	for _, f := range g.Forwards {
		target := f.Target4
		if b.dst.Addr().Is6() {
			target = f.Target6
		}
		if reserved || !target.IsValid() || !forward.NewPortSet(f.Ports...).Contains(to) {
			continue
		}
		if !allows(f.Allow, b.src.Addr()) {
			return ""
		}
		return p.atHome(b, target)
	}
	if letsIn(*g, to) {
		return at("gate", b.protocol, b.dst.Addr(), b.dst.Port())
	}
	return ""
}

// letsIn judges by the policy on trial, if there is one: it lives as long as
// the test.
func letsIn(g plan.GateFirewall, to forward.Ports) bool {
	in := g.Input
	if g.Trial != nil {
		in = g.Trial.Policy
	}
	switch {
	case !in.Protect:
		return true
	case to.Range.First == g.ControlPort:
		return false
	case to == one(udp, g.ListenPort), to == one(tcp, g.SSHPorts[0]):
		return true
	}
	return in.Accept.Contains(to)
}

func allows(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return len(list) == 0
}

// fromGate is what home makes of a packet from the tunnel.
func (p policy) fromGate(b probe) place {
	own := map[string]bool{"10.99.0.2": true, "fd99::2": true}
	refused := map[string]bool{"192.168.1.10": true, "192.168.1.20": true, "2001:db8:1::10": true, "2001:db8:1::20": true}
	private := map[string]bool{"10.1.2.3": true, "fd12::1": true}
	src := b.src.Addr().String()
	if !own[b.dst.Addr().String()] || refused[src] || p.home.Home.DropPrivate && private[src] {
		return ""
	}
	if src == gateTunnel4.String() || src == gateTunnel6.String() {
		visits := func(f plan.HomeForward) bool {
			return f.Hidden && f.Mapping.Public.Protocol == b.protocol && f.Mapping.Public.Range.Contains(b.dst.Port())
		}
		if !slices.ContainsFunc(p.home.Home.Forwards, visits) {
			return ""
		}
	}
	return p.atHome(b, b.dst.Addr())
}

func (p policy) atHome(b probe, own netip.Addr) place {
	for _, f := range p.home.Home.Forwards {
		served := own.Is4() && f.Families.IPv4 || own.Is6() && f.Families.IPv6
		if !served || f.Mapping.Public.Protocol != b.protocol || !f.Mapping.Public.Range.Contains(b.dst.Port()) {
			continue
		}
		local := f.Mapping.Local.First + b.dst.Port() - f.Mapping.Public.Range.First
		if f.To.IsValid() {
			return at("lan", b.protocol, f.To, local)
		}
		return at("home", b.protocol, own, local)
	}
	return ""
}

// fromHome is what the gate makes of a packet from the tunnel.
func (p policy) fromHome(b probe) place {
	tenants := map[string]bool{"10.99.0.2": true, "10.99.0.3": true, "fd99::2": true, "fd99::3": true}
	gate := map[string]bool{"10.99.0.1": true, "fd99::1": true}
	if tenants[b.src.Addr().String()] && gate[b.dst.Addr().String()] && b.dst.Port() == p.gate.Gate.ControlPort {
		return at("gate", b.protocol, b.dst.Addr(), b.dst.Port())
	}
	return ""
}

func one(p forward.Protocol, port uint16) forward.Ports {
	return forward.Ports{Protocol: p, Range: forward.Range{First: port, Last: port}}
}

// TestKernelAgreesWithModel sends random packets through random policies. Each
// policy replaces the last one in place.
func TestKernelAgreesWithModel(t *testing.T) {
	const policies, packets = 40, 40
	w := newWorld(t)
	fix(t, "rapid.seed", "1")
	fix(t, "rapid.checks", fmt.Sprint(policies))
	delivered, dropped := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPolicy(rt)
		w.apply(t, p.gate, p.home)
		w.forget(t, w.gate) // a home may have so many connections with the gate
		var probes []probe
		for range packets {
			b := w.drawProbe(rt)
			b.send(t, b.from, b.device)
			probes = append(probes, b)
		}
		places := w.settle(t)
		for _, b := range probes {
			want := p.end(w, b)
			if got := places[b.src.Port()]; got != want {
				rt.Errorf("from %s: %s ends at %q, by the policy at %q", b.from.Name, b, got, want)
			}
			if want == "" {
				dropped++
			} else {
				delivered++
			}
		}
	})
	t.Logf("%d packets delivered and %d dropped as the model says", delivered, dropped)
	if delivered < policies*packets/8 || dropped < policies*packets/8 {
		t.Errorf("%d delivered, %d dropped: that tests too little of one of them", delivered, dropped)
	}
}

// fix gives a flag of rapid a value, unless the command line has given it one.
func fix(t *testing.T, name, value string) {
	t.Helper()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if !given {
		must(t, flag.Set(name, value))
	}
}
