package config

import (
	"fmt"
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// check judges what no single key can be judged by.
func (d *gateDecoder) check() {
	unique(d.decoder, "addresses", d.addresses)
	unique(d.decoder, "ssh_ports", d.sshPorts)
	unique(d.decoder, "accept_protocols", d.protocols)
	d.checkOwnPorts()
	d.checkAccept()
	for _, p := range d.policies {
		d.checkPolicy(p)
	}
	d.checkOutside()
}

// one returns a single port.
func one(p forward.Protocol, port uint16) forward.Ports {
	return forward.Ports{Protocol: p, Range: forward.Range{First: port, Last: port}}
}

// checkOwnPorts keeps the gate's own listeners apart.
func (d *gateDecoder) checkOwnPorts() {
	t := &d.gate.Tunnel
	if t.ListenPort == t.ControlPort {
		d.addf(d.place(&t.ControlPort, &t.ListenPort), "control_port and listen_port are both %d; they must differ", t.ListenPort)
	}
	for _, p := range d.sshPorts {
		if p.value == t.ControlPort {
			d.addf(p.at, "port %d is the control_port; sshd cannot have it too", p.value)
		}
	}
}

// checkAccept refuses to accept from everywhere what is none of everyone's
// business, and what is accepted already.
func (d *gateDecoder) checkAccept() {
	t := d.gate.Tunnel
	control := forward.PortSet{one(forward.TCP, t.ControlPort), one(forward.UDP, t.ControlPort)}
	for _, p := range d.accept {
		for _, ports := range p.value {
			switch {
			case overlaps(control, ports):
				d.addf(p.at, "%s contains the control_port %d, which is for homes only", ports, t.ControlPort)
			case ports.Overlaps(one(forward.UDP, t.ListenPort)):
				d.add(p.at, problem{fmt.Sprintf("%s contains WireGuard's own port %d", ports, t.ListenPort), "it is always accepted: leave it out"})
			}
		}
	}
}

func overlaps(s forward.PortSet, p forward.Ports) bool { return len(s.Intersect(p)) > 0 }

// reserved returns the ports that no home is ever given, as far as the file
// says so.
func (d *gateDecoder) reserved() forward.PortSet {
	t := d.gate.Tunnel
	ports := []forward.Ports{
		one(forward.UDP, t.ListenPort),
		one(forward.TCP, t.ControlPort),
		one(forward.UDP, t.ControlPort),
	}
	for _, p := range d.gate.Firewall.SSHPorts {
		ports = append(ports, one(forward.TCP, p))
	}
	return forward.NewPortSet(ports...).Union(d.gate.Firewall.Accept)
}

// checkPolicy finds entries that allow nothing, which their owner surely did
// not mean.
func (d *gateDecoder) checkPolicy(p *gatePolicy) {
	reserved := d.reserved()
	deny, denied := p.deny, p.where
	if deny == nil {
		deny, denied = d.policies[0].deny, d.policies[0].where
	}
	refused := union(deny)
	for _, entry := range p.ports {
		if d.full() {
			return
		}
		switch {
		case len(entry.value.Without(reserved)) == 0:
			d.add(entry.at, problem{fmt.Sprintf("%s is the gate's own and never forwarded", entry.value), "see listen_port, control_port, ssh_ports and accept"})
		case len(entry.value.Without(refused)) == 0:
			hint := "keep one of the two"
			if denied != p.where {
				hint = "add deny = [] to " + p.where
			}
			d.add(entry.at, problem{fmt.Sprintf("%s is denied by %s, at %s", entry.value, denied, d.src.place(deny[0].at)), hint})
		}
	}
}

// checkOutside makes sure that the gate is not to be reached through the very
// tunnel that it is the way to.
func (d *gateDecoder) checkOutside() {
	t := &d.gate.Tunnel
	inside := func(a netip.Addr) bool { return t.Prefix4.Contains(a) || t.Prefix6.Contains(a) }
	for _, p := range d.addresses {
		if inside(p.value) {
			d.addf(p.at, "%s lies within the tunnel's own prefix", p.value)
		}
	}
	for _, p := range d.endpoints {
		endpoint, err := completeEndpoint(p.value, t.ListenPort)
		if err != nil {
			continue
		}
		if a, err := netip.ParseAddrPort(endpoint); err == nil && inside(a.Addr()) {
			d.addf(p.at, "%s lies within the tunnel's own prefix", a.Addr())
		}
	}
}
