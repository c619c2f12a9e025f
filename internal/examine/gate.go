package examine

import (
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Addresses finds public addresses of this machine that are not served. An owner who
// has listed those that are has left the others out themselves.
func (n *Notebook) Addresses(c config.Gate, served []netip.Addr) {
	n.Look("the gate's addresses", func() (func(*doctor.Side), error) { return lookAtAddresses(c, served) })
}

func lookAtAddresses(c config.Gate, served []netip.Addr) (func(*doctor.Side), error) {
	if len(c.Public.Addresses) > 0 {
		return nil, nil
	}
	all, err := host.PublicAddresses(c.Tunnel.Interface)
	return func(s *doctor.Side) {
		for _, a := range all {
			if !slices.Contains(served, a.Addr) {
				s.Unserved = append(s.Unserved, doctor.Unserved{Addr: a.Addr, Interface: a.Interface})
			}
		}
	}, err
}

// Listeners finds what else the gate has on published ports, and where
// its sshd is.
func (n *Notebook) Listeners(c config.Gate) {
	n.Look("who listens", func() (func(*doctor.Side), error) { return lookAtListeners(c) })
}

func lookAtListeners(c config.Gate) (func(*doctor.Side), error) {
	listeners, err := host.Listeners()
	if err != nil {
		return nil, err
	}
	tunnel := []netip.Prefix{c.Tunnel.Prefix4}
	if c.Tunnel.Prefix6.IsValid() {
		tunnel = append(tunnel, c.Tunnel.Prefix6)
	}
	return func(s *doctor.Side) {
		s.SSHOnlyInTunnel = host.SSHOnlyIn(listeners, tunnel)
		for i, f := range s.Forwards {
			s.Forwards[i].Holder = holder(listeners, f, tunnel)
		}
	}, nil
}

// holder names the program that listens where visitors of a forward arrive.
func holder(listeners []host.Listener, f doctor.Forward, tunnel []netip.Prefix) string {
	for _, l := range listeners {
		inside := slices.ContainsFunc(tunnel, func(p netip.Prefix) bool { return p.Masked().Contains(l.Addr) })
		if l.Port != f.Port || l.Protocol.String() != f.Protocol || l.Addr.IsLoopback() || inside {
			continue
		}
		if name := l.Owner(); name != "" {
			return name
		}
		return "A program"
	}
	return ""
}

// Revoked lists the homes that a gate remembers to have revoked.
func Revoked(former []registry.Former) []doctor.Revoked {
	var list []doctor.Revoked
	for _, f := range former {
		list = append(list, doctor.Revoked{Name: f.Name, Endpoint: f.Endpoint, At: f.Revoked.Local()})
	}
	return list
}

// Published lists the first port of each range that the homes publish.
func Published(homes []registry.Home) []doctor.Forward {
	var list []doctor.Forward
	for _, h := range homes {
		for _, f := range h.Forwards {
			for _, p := range f.Wanted.Ports {
				if len(list) == MaxProbes {
					return list
				}
				list = append(list, doctor.Forward{
					Name: f.Wanted.Name, Home: h.Name, Protocol: p.Protocol.String(), Port: p.Range.First, LastPort: p.Range.Last,
					Granted: f.Granted, Reason: f.Why(),
				})
			}
		}
	}
	return list
}
