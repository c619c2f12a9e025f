package plan

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// Keepalive is the interval of WireGuard keepalives on both sides: shorter
// than the 30 seconds after which many routers forget a UDP mapping, and than
// the time a visitor who only receives would wait after an outage.
const Keepalive = 15 * time.Second

// Overhead is what WireGuard adds to a packet over IPv6, in bytes: 40 of IPv6,
// 8 of UDP, 32 of its own. IPv4 needs 20 less, but the underlay may change
// under a running tunnel.
const Overhead = 80

// The tunnel's MTU stays within what IPv6 demands and what every underlay of
// ordinary links gives.
const (
	minMTU     = 1280
	defaultMTU = 1420
)

// GateInput is what the gate knows beside its configuration: its key, who may
// come in, and which input policy has been confirmed or is on trial.
type GateInput struct {
	PrivateKey key.Private
	Tenants    []Tenant
	Forwards   []forward.Grant
	Input      InputPolicy
	Trial      *Trial
}

// Tenant is a home, or somebody with an invite: a WireGuard peer of the gate
// with addresses of its own.
type Tenant struct {
	PublicKey key.Public
	Addresses []netip.Addr
	Endpoint  netip.AddrPort // last seen at; zero: not known
	Invited   bool           // only an invite, no home yet
}

// ForGate plans a gate.
func ForGate(c config.Gate, in GateInput, facts Facts) State {
	mtu := tunnelMTU(c.Tunnel.MTU, facts.UnderlayMTU)
	public := c.Public.Addresses
	if len(public) == 0 {
		public = facts.Public
	}
	firewall := GateFirewall{
		Interface:   c.Tunnel.Interface,
		Public:      public,
		Input:       in.Input,
		Trial:       in.Trial,
		SSHPorts:    mergePorts(c.Firewall.SSHPorts, facts.SSHPorts),
		ListenPort:  c.Tunnel.ListenPort,
		ControlPort: c.Tunnel.ControlPort,
		User:        facts.User,
		Addresses:   GateAddresses(c),
		Tenants:     tenantAddresses(in.Tenants),
		Forwards:    in.Forwards,
		Connections: facts.Connections.forVisitors(),
		Marks:       marks(c.Marks),
	}
	return State{
		Role:      forward.Gate,
		WireGuard: gateWireGuard(c, in, mtu),
		Routing: Routing{
			Interface: c.Tunnel.Interface,
			MTU:       mtu,
			Addresses: gatePrefixes(c, facts),
			Sysctls:   slices.Concat(gateSysctls(c, facts), answerSysctls(c.Tunnel.Interface, public), facts.LocalPorts.sysctls(firewall)),
		},
		Firewall: Firewall{
			Table: c.Tunnel.Interface,
			Gate:  &firewall,
		},
	}
}

// GateAddresses returns the gate's own addresses in the tunnel: the first of
// each prefix.
func GateAddresses(c config.Gate) []netip.Addr {
	addrs := []netip.Addr{c.Tunnel.Prefix4.Addr().Next()}
	if c.Tunnel.Prefix6.IsValid() {
		addrs = append(addrs, c.Tunnel.Prefix6.Addr().Next())
	}
	return addrs
}

func gateWireGuard(c config.Gate, in GateInput, mtu int) WireGuard {
	w := WireGuard{
		Interface:  c.Tunnel.Interface,
		PrivateKey: in.PrivateKey,
		ListenPort: c.Tunnel.ListenPort,
		MTU:        mtu,
	}
	for _, t := range in.Tenants {
		peer := Peer{PublicKey: t.PublicKey, Endpoint: t.Endpoint}
		for _, a := range t.Addresses {
			peer.AllowedIPs = append(peer.AllowedIPs, netip.PrefixFrom(a, a.BitLen()))
		}
		if !t.Invited {
			peer.PersistentKeepalive = Keepalive
		}
		w.Peers = append(w.Peers, peer)
	}
	return w
}

func gatePrefixes(c config.Gate, facts Facts) []netip.Prefix {
	var prefixes []netip.Prefix
	for i, a := range GateAddresses(c) {
		bits := c.Tunnel.Prefix4.Bits()
		if i > 0 {
			bits = c.Tunnel.Prefix6.Bits()
		}
		if a.Is4() || facts.IPv6 {
			prefixes = append(prefixes, netip.PrefixFrom(a, bits))
		}
	}
	return prefixes
}

func gateSysctls(c config.Gate, facts Facts) []Sysctl {
	sysctls := append(facts.Connections.sysctls(), forwardIPv4(c.Tunnel.Interface, facts.Uplinks)...)
	if c.Tunnel.Prefix6.IsValid() && facts.IPv6 {
		sysctls = append(sysctls, forwardIPv6(c.Tunnel.Interface, facts)...)
	}
	return sysctls
}

// answerSysctls lets answers come out of the tunnel with one of the gate's own
// addresses, where there are several; see answer_source in the gate's table. A
// strict reverse path filter would look for that address at its own interface.
func answerSysctls(tunnel string, public []netip.Addr) []Sysctl {
	four := 0
	for _, a := range public {
		if a.Unmap().Is4() {
			four++
		}
	}
	if four < 2 {
		return nil
	}
	conf := "net.ipv4.conf." + sysctlName(tunnel)
	return []Sysctl{{conf + ".accept_local", "1"}, {conf + ".rp_filter", "2"}}
}

// forwardIPv4 switches on IPv4 forwarding. The kernel asks each interface for
// itself whether it passes on what comes in there; to set it for all sets each
// as well, once.
func forwardIPv4(tunnel string, others []string) []Sysctl {
	var sysctls []Sysctl
	for _, name := range append([]string{tunnel}, others...) {
		sysctls = append(sysctls, Sysctl{"net.ipv4.conf." + sysctlName(name) + ".forwarding", "1"})
	}
	return append(sysctls, Sysctl{ipForward, "1"})
}

const ipForward = "net.ipv4.ip_forward"

// forwardIPv6 switches on IPv6 forwarding. A forwarding host ignores router
// advertisements unless told otherwise (accept_ra, ip-sysctl.rst), and would
// lose its own default route: so it is told otherwise, before.
func forwardIPv6(tunnel string, facts Facts) []Sysctl {
	sysctls := []Sysctl{{"net.ipv6.conf." + sysctlName(tunnel) + ".disable_ipv6", "0"}}
	for _, name := range facts.AcceptingRA {
		sysctls = append(sysctls, Sysctl{"net.ipv6.conf." + sysctlName(name) + ".accept_ra", "2"})
	}
	return append(sysctls, Sysctl{"net.ipv6.conf.all.forwarding", "1"})
}

func tenantAddresses(tenants []Tenant) []netip.Addr {
	var addrs []netip.Addr
	for _, t := range tenants {
		addrs = append(addrs, t.Addresses...)
	}
	return addrs
}

// tunnelMTU leaves room for WireGuard's overhead on the way to the other side.
func tunnelMTU(configured, underlay int) int {
	switch {
	case configured != 0:
		return configured
	case underlay == 0:
		return defaultMTU
	default:
		return min(max(underlay-Overhead, minMTU), defaultMTU)
	}
}

func mergePorts(a, b []uint16) []uint16 {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func marks(m config.Marks) Marks {
	return Marks{Mask: m.Mask, Answer: m.Answer, Outer: m.Outer, Forward: m.Forward, AcceptedBit: m.Accepted}
}
