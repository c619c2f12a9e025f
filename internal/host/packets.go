package host

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/foreign"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// outside is the interface that leads to the internet.
func outside(facts plan.Facts) string {
	for _, n := range facts.Networks {
		if n.Default {
			return n.Interface
		}
	}
	return ""
}

// gatePackets are what has to get through on a gate: visitors and their
// answers, WireGuard, and the control channel.
func gatePackets(g plan.GateFirewall, facts plan.Facts) []foreign.Packet {
	base := foreign.Packet{Tunnel: g.Interface, Mark: g.Marks.AcceptedBit, Priority: ourPriority}
	wan := outside(facts)
	var packets []foreign.Packet
	for _, v6 := range []bool{false, true} {
		if !serves(g, v6) {
			continue
		}
		p := base
		p.IPv6, p.Hook = v6, foreign.Input
		wireguard, control := p, p
		wireguard.What, wireguard.In, wireguard.Protocol, wireguard.Port = "WireGuard's packets", wan, unix.IPPROTO_UDP, g.ListenPort
		control.What, control.In, control.Protocol, control.Port = "the control channel of homes", g.Interface, unix.IPPROTO_TCP, g.ControlPort
		packets = append(packets, wireguard, said(wireguard))
		if !v6 {
			packets = append(packets, control, said(control))
		}
		for _, f := range expected(g) {
			packets = append(packets, visitorPackets(p, f, wan)...)
		}
	}
	return packets
}

func serves(g plan.GateFirewall, v6 bool) bool {
	for _, a := range g.Public {
		if a.Is6() == v6 {
			return true
		}
	}
	return false
}

// said is what this machine answers to a packet that comes in.
func said(p foreign.Packet) foreign.Packet {
	p.What = "the answers to " + p.What
	p.Hook, p.In, p.Out, p.Answer, p.Mark = foreign.Output, "", p.In, true, 0
	return p
}

// visitorSourceAt is the priority of our chain on the gate that settles which
// address the service sees; see firewall.
const visitorSourceAt = 0

// visitorPackets are a visitor's first packet at the places where others can do
// something to it, and the answers to them.
func visitorPackets(p foreign.Packet, f forward.Grant, wan string) []foreign.Packet {
	target := f.Target4
	if p.IPv6 {
		target = f.Target6
	}
	if len(f.Ports) == 0 || !target.IsValid() {
		return nil
	}
	p.Protocol, p.Port = ipProtocol(f.Ports[0].Protocol), f.Ports[0].Range.First
	p.What, p.In = fmt.Sprintf("what %s send", visitorsOf(f)), wan
	arriving := p
	arriving.Hook, arriving.Mark = foreign.Arrival, 0
	passing := p
	passing.Hook, passing.DNAT, passing.Dst, passing.Out = foreign.Forward, true, target, p.Tunnel
	leaving := passing
	leaving.Hook, leaving.In, leaving.Settled, leaving.SettledAt = foreign.Leaving, "", true, visitorSourceAt
	back := passing
	back.What = fmt.Sprintf("the answers to %s", visitorsOf(f))
	back.In, back.Out, back.Answer, back.Dst = p.Tunnel, wan, true, netip.Addr{}
	entering := back
	entering.Hook, entering.Out, entering.Mark = foreign.Arrival, "", 0
	return []foreign.Packet{arriving, passing, leaving, entering, back}
}

func ipProtocol(p forward.Protocol) uint8 {
	if p == forward.UDP {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

// homePackets are what has to get through at home: what comes by the tunnel for
// each forward, to this machine or to another device, and the answers.
func homePackets(h plan.HomeFirewall, facts plan.Facts) []foreign.Packet {
	var packets []foreign.Packet
	for _, f := range h.Forwards[:min(len(h.Forwards), mostAsked)] {
		p := foreign.Packet{
			What: fmt.Sprintf("what visitors of %s send", f.Mapping), In: h.Interface, Tunnel: h.Interface,
			Protocol: ipProtocol(f.Mapping.Public.Protocol), Port: f.Mapping.Local.First, IPv6: !f.Families.IPv4,
		}
		back := p
		back.What, back.Answer, back.In, back.Out = "the answers to "+p.What, true, "", h.Interface
		back.Mark, back.Kept, back.Priority = h.Marks.Answer, h.Marks.Mask, firewall.AnswersPriority
		p.Mark, p.Priority = h.Marks.AcceptedBit, ourPriority
		if f.To.IsValid() {
			packets = append(packets, devicePackets(p, back, f, facts)...)
			continue
		}
		p.Hook, back.Hook = foreign.Input, foreign.Output
		packets = append(packets, p, back)
	}
	return packets
}

// devicePackets are those for another device, and its answers.
func devicePackets(p, back foreign.Packet, f plan.HomeForward, facts plan.Facts) []foreign.Packet {
	p.Hook, p.DNAT, p.IPv6, p.Dst, p.Out = foreign.Forward, true, f.To.Is6(), f.To, leadsTo(f.To, facts)
	back.Hook, back.In, back.Out, back.IPv6 = foreign.Arrival, p.Out, "", p.IPv6
	passing := back
	passing.Hook, passing.Out, passing.Kept, passing.Mark, passing.Priority = foreign.Forward, p.Tunnel, 0, p.Mark, p.Priority
	packets := []foreign.Packet{p, back, passing}
	if !f.Masquerade {
		leaving := p
		leaving.Hook, leaving.In = foreign.Leaving, ""
		packets = append(packets, leaving)
	}
	return packets
}

// leadsTo is the interface by which a device is reached; "" where several could
// be meant.
func leadsTo(to netip.Addr, facts plan.Facts) string {
	var names []string
	for _, n := range facts.Networks {
		if n.Prefix.Contains(to) && !slices.Contains(names, n.Interface) {
			names = append(names, n.Interface)
		}
	}
	if len(names) != 1 {
		return ""
	}
	return names[0]
}
