// Package plan turns what the owner wants and what the machine is into the
// state the machine should be in, and that into the changes that lead there.
//
// It is pure: it reads no file, no clock and no kernel. The rooms under host
// carry its State out and report what they see as Observed.
package plan

import (
	"net/netip"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// State is all that Gatelodge wants of a machine.
type State struct {
	Role      forward.Role
	WireGuard WireGuard
	Routing   Routing
	Firewall  Firewall
}

// WireGuard is the wanted WireGuard device.
type WireGuard struct {
	Interface    string
	PrivateKey   key.Private
	ListenPort   uint16 // 0: a port of the kernel's choice, kept while it works
	FirewallMark uint32 // of the outer packets; 0: none
	MTU          int    // of the tunnel, in bytes
	Peers        []Peer
}

// Peer is the wanted configuration of one WireGuard peer.
type Peer struct {
	PublicKey key.Public
	// Endpoint is where to send the first packet. A zero one is not set; one
	// that the device has learned from the peer since is not overwritten,
	// unless Endpoint itself changes.
	Endpoint            netip.AddrPort
	AllowedIPs          []netip.Prefix
	PersistentKeepalive time.Duration // 0: off
}

// Routing is the wanted addresses, routes, rules and sysctls.
type Routing struct {
	Interface string // the tunnel's
	MTU       int
	Addresses []netip.Prefix // of the tunnel interface
	Routes    []Route
	Rules     []Rule
	Sysctls   []Sysctl
}

// RouteProtocol marks routes and rules as ours (rtnetlink(7), rtm_protocol).
// It is free in iproute2's rt_protos.
const RouteProtocol = 155

// Route is a route in a routing table of our own.
type Route struct {
	Destination netip.Prefix
	Table       int
	Interface   string // "" for a blackhole
	Blackhole   bool
	Metric      uint32 // 0: the kernel's default
}

// Rule is a policy routing rule (ip-rule(8)).
type Rule struct {
	IPv6     bool
	Priority int
	From     netip.Prefix // the zero Prefix: from anywhere
	To       netip.Prefix // the zero Prefix: to anywhere
	Mark     uint32       // with Mask: matches packets with mark&Mask == Mark; both 0: any
	Mask     uint32
	Table    int
	// SuppressPrefixLength ignores routes of the table with a prefix of this
	// length or shorter; -1 ignores none.
	SuppressPrefixLength int
}

// Sysctl is a kernel setting by its dotted name, such as
// "net.ipv4.ip_forward". A dot inside an interface name is written "/", as
// sysctl(8) has it.
type Sysctl struct {
	Name  string
	Value string
}

// Firewall is the wanted nftables table: that of a gate or that of a home.
// Exactly one of the two is set.
type Firewall struct {
	Table string // name of the table, family inet
	Gate  *GateFirewall
	Home  *HomeFirewall
}

// Marks are the mark values we use, all inside Mask, which is a range of bits
// of our own: others (Docker, Kubernetes, Tailscale) use marks too. Nothing
// outside Mask is ever written, and AcceptedBit lies outside Mask on purpose:
// see there.
type Marks struct {
	Mask   uint32 // e.g. 0xf0000000
	Answer uint32 // at home, on connections that came by the tunnel: answers go back by it
	Outer  uint32 // at home, on WireGuard's own packets
	// Forward is the ct mark of forwarded connections on the gate, joined with
	// the forward's ID in the bits outside Mask. Those connections are ours
	// alone, which is why their whole mark is.
	Forward uint32
	// AcceptedBit is set on packets that our filter chains accept, after
	// routing, so that one rule in a foreign firewall can recognise them.
	AcceptedBit uint32
}

// GateFirewall is what the gate's table is made from.
type GateFirewall struct {
	Interface string       // the tunnel's
	Public    []netip.Addr // addresses at which visitors arrive, IPv4 and IPv6
	// Input is what the gate lets in for itself, and Trial what it lets in
	// instead while that lives; nil: no trial.
	Input    InputPolicy
	Trial    *Trial
	SSHPorts []uint16 // of sshd, always accepted, never forwarded
	// ListenPort and ControlPort are WireGuard's (UDP) and that of the control
	// channel (TCP and UDP, tunnel only).
	ListenPort  uint16
	ControlPort uint16
	User        uint32       // that the daemon runs as
	Addresses   []netip.Addr // the gate's own in the tunnel
	Tenants     []netip.Addr // addresses in the tunnel that homes and invites may send from
	Forwards    []forward.Grant
	// Connections is how many connections visitors may have at once, over all
	// forwards; 0: as many as the kernel has room for.
	Connections int
	Marks       Marks
}

// Reserved returns the ports that are never forwarded, whatever a home asks.
func (g GateFirewall) Reserved() forward.PortSet {
	one := func(p forward.Protocol, port uint16) forward.Ports {
		return forward.Ports{Protocol: p, Range: forward.Range{First: port, Last: port}}
	}
	ports := []forward.Ports{
		one(forward.UDP, g.ListenPort),
		one(forward.TCP, g.ControlPort),
		one(forward.UDP, g.ControlPort),
	}
	for _, p := range g.SSHPorts {
		ports = append(ports, one(forward.TCP, p))
	}
	reserved := forward.NewPortSet(ports...).Union(DHCPPorts()).Union(g.Input.Accept)
	if g.Trial != nil {
		reserved = reserved.Union(g.Trial.Policy.Accept)
	}
	return reserved
}

// DHCPPorts are where a machine waits for its own address (RFC 2131, RFC 8415).
// An answer there is none to conntrack, as the question went to everyone: a
// forward would lead it to a home, and the gate would lose its lease.
func DHCPPorts() forward.PortSet {
	client := func(port uint16) forward.Ports {
		return forward.Ports{Protocol: forward.UDP, Range: forward.Range{First: port, Last: port}}
	}
	return forward.NewPortSet(client(68), client(546))
}

// HomeFirewall is what a home's table is made from.
type HomeFirewall struct {
	Interface string
	Addresses []netip.Addr // ours in the tunnel: one IPv4, one IPv6 or both
	Gate      []netip.Addr // the gate's in the tunnel
	Forwards  []HomeForward
	// Local are the prefixes of this machine's own networks. Nothing with a
	// source among them may arrive by the tunnel: the gate would be posing as
	// a neighbour.
	Local []netip.Prefix
	// DropPrivate also refuses visitors from private, loopback, link-local
	// and other addresses that the internet does not route.
	DropPrivate bool
	MSS4, MSS6  int // bytes; larger TCP segments are not offered through the tunnel
	Marks       Marks
	// Connections is how many connections visitors may have at once, over all
	// forwards; 0: as many as there is room for.
	Connections int
	// User is the number of the user that the daemon runs as: the only one who
	// speaks to the gate in the tunnel, at its ControlPort.
	User        uint32
	ControlPort uint16
	Hairpin     Hairpin
}

// Hairpin is how a home visits itself by the gate's public address: it goes
// straight to its own services.
type Hairpin struct {
	Gate     []netip.Addr  // public addresses of the gate
	Forwards []HomeForward // that the gate has granted
}

// HomeForward is one port mapping at home. The public ports are the ports as
// they arrive by the tunnel: the gate never changes them.
type HomeForward struct {
	Mapping forward.Mapping
	To      netip.Addr // zero: this host
	// Masquerade hides the visitor from a device of the LAN behind this host's
	// own address, so that its answers come back this way.
	Masquerade bool
	// Hidden says that the gate hides the visitor, behind its own address in the
	// tunnel.
	Hidden   bool
	Families forward.Families
}

// Kind says which WireGuard runs the device.
type Kind string

// The kinds of device.
const (
	Kernel   Kind = "kernel"   // the kernel's module
	Embedded Kind = "embedded" // wireguard-go inside this program, over a TUN device
)

// Facts is what planning needs to know of the machine.
type Facts struct {
	// Public are the addresses of the interfaces that lead to the internet.
	Public []netip.Addr
	// Networks are this machine's own networks, the tunnel's left out, each with
	// its interface: those that are on link, and private ones behind a router
	// or a VPN. A route to a part of the internet makes it nobody's own.
	Networks []Network
	// Uplinks are the interfaces by which visitors' packets may come: those that
	// lead to the internet, and those with a public address.
	Uplinks []string
	// Own are the addresses of this machine's interfaces, of whatever kind.
	Own []netip.Addr
	// Led are the ports of those addresses that others lead elsewhere, such as a
	// container engine, in order.
	Led []Led
	// SSHPorts are those that an sshd listens on.
	SSHPorts []uint16
	// IPv6 reports whether the tunnel's interface can have IPv6.
	IPv6 bool
	// FixedSysctls reports that no setting of the kernel's can be changed, as in a
	// container whose /proc/sys is read-only. Only those without which nothing
	// works are wanted then.
	FixedSysctls bool
	// AcceptingRA are the interfaces that take router advertisements
	// (accept_ra is not 0) and would cease to once forwarding is on.
	AcceptingRA []string
	// UnderlayMTU is the MTU of the route to the other side, in bytes.
	UnderlayMTU int
	// Connections is the kernel's conntrack table.
	Connections ConnectionTable
	// LocalPorts are those of this machine's own connections.
	LocalPorts LocalPorts
	// User is the number of the user that the daemon runs as.
	User uint32
}

// OfInterface reports whether the setting belongs to the named interface and
// so disappears with it.
func (s Sysctl) OfInterface(name string) bool {
	return strings.Contains(s.Name, ".conf."+sysctlName(name)+".")
}

// sysctlName spells an interface's name the way sysctl(8) does.
func sysctlName(name string) string { return strings.ReplaceAll(name, ".", "/") }
