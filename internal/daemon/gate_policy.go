package daemon

import (
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// policies returns what gate.toml lets each home have. The caller holds mu.
func (g *gate) policies() registry.Policies {
	reserved := g.reserved()
	families := forward.Families{IPv4: true, IPv6: g.config.Tunnel.Prefix6.IsValid() && g.facts.IPv6}
	return func(home string) registry.Policy {
		p := g.config.PolicyOf(home)
		return registry.Policy{
			Allowed:     p.Ports,
			Denied:      p.Deny,
			Reserved:    reserved,
			MaxForwards: p.MaxForwards,
			Families:    families,
		}
	}
}

// reserved names the ports that this gate keeps for itself.
func (g *gate) reserved() []registry.Reserved {
	one := func(p forward.Protocol, ports ...uint16) forward.PortSet {
		var set []forward.Ports
		for _, port := range ports {
			set = append(set, forward.Ports{Protocol: p, Range: forward.Range{First: port, Last: port}})
		}
		return forward.NewPortSet(set...)
	}
	t := g.config.Tunnel
	return []registry.Reserved{
		{Ports: one(forward.TCP, slices.Concat(g.config.Firewall.SSHPorts, g.facts.SSHPorts)...), Use: "ssh"},
		{Ports: one(forward.UDP, t.ListenPort), Use: "WireGuard"},
		{Ports: one(forward.TCP, t.ControlPort).Union(one(forward.UDP, t.ControlPort)), Use: "the control channel"},
		{Ports: plan.DHCPPorts(), Use: "DHCP, for its own address"},
		{Ports: g.config.Firewall.Accept, Use: "a service of the gate itself"},
	}
}

// compareForwards returns which forwards are gone or now lead elsewhere, and
// which are new or have more ports: those whose flows need a hand.
func compareForwards(before, after []plan.GateForward) (removed, added []plan.GateForward) {
	return differing(before, after), differing(after, before)
}

// differing returns the forwards that the others lack, or have with another way.
func differing(forwards, others []plan.GateForward) []plan.GateForward {
	byID := make(map[uint32]plan.GateForward, len(others))
	for _, o := range others {
		byID[o.ID] = o
	}
	var differ []plan.GateForward
	for _, f := range forwards {
		if o, there := byID[f.ID]; !there || !sameWay(f, o) {
			differ = append(differ, f)
		}
	}
	return differ
}

// numbers returns the numbers of some forwards.
func numbers(forwards []plan.GateForward) []uint32 {
	ids := make([]uint32, len(forwards))
	for i, f := range forwards {
		ids[i] = f.ID
	}
	return ids
}

// living returns the numbers of the forwards whose flows are to go on: all but
// those that are gone, or lead elsewhere now.
func living(now, removed []plan.GateForward) []uint32 {
	gone := map[uint32]bool{}
	for _, f := range removed {
		gone[f.ID] = true
	}
	return slices.DeleteFunc(numbers(now), func(id uint32) bool { return gone[id] })
}

// portsOf returns the ports of some forwards, together.
func portsOf(forwards []plan.GateForward) forward.PortSet {
	var all []forward.Ports
	for _, f := range forwards {
		all = append(all, f.Ports...)
	}
	return forward.NewPortSet(all...)
}

// sameWay reports whether packets take the same way under both. Limits do not
// matter: they bound new connections only.
func sameWay(a, b plan.GateForward) bool {
	return slices.Equal(a.Ports, b.Ports) && a.Target4 == b.Target4 && a.Target6 == b.Target6 &&
		a.Masquerade == b.Masquerade && slices.Equal(a.Allow, b.Allow)
}

func addresses(list ...netip.Addr) []netip.Addr {
	return slices.DeleteFunc(list, func(a netip.Addr) bool { return !a.IsValid() })
}
