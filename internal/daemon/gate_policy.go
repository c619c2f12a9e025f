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

func addresses(list ...netip.Addr) []netip.Addr {
	return slices.DeleteFunc(list, func(a netip.Addr) bool { return !a.IsValid() })
}
