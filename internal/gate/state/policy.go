package state

import (
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Policies returns what gate.toml lets each home have.
func (s State) Policies() registry.Policies {
	reserved := s.Reserved()
	families := forward.Families{IPv4: true, IPv6: s.Config.Tunnel.Prefix6.IsValid() && s.Facts.IPv6}
	return func(home string) registry.Policy {
		p := s.Config.PolicyOf(home)
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
func (s State) Reserved() []registry.Reserved {
	one := func(p forward.Protocol, ports ...uint16) forward.PortSet {
		var set []forward.Ports
		for _, port := range ports {
			set = append(set, forward.Ports{Protocol: p, Range: forward.Range{First: port, Last: port}})
		}
		return forward.NewPortSet(set...)
	}
	t := s.Config.Tunnel
	return []registry.Reserved{
		{Ports: one(forward.TCP, slices.Concat(s.Config.Firewall.SSHPorts, s.Facts.SSHPorts)...), Use: "ssh"},
		{Ports: one(forward.UDP, t.ListenPort), Use: "WireGuard"},
		{Ports: one(forward.TCP, t.ControlPort).Union(one(forward.UDP, t.ControlPort)), Use: "the control channel"},
		{Ports: plan.DHCPPorts(), Use: "DHCP, for its own address"},
		{Ports: s.Config.Firewall.Accept, Use: "a service of the gate itself"},
	}
}
