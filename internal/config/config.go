// Package config reads gate.toml and home.toml into types, and edits them in
// place.
//
// Reading is strict: whatever is not understood is an error with its file,
// line and column, and all errors of a file come at once. What the owner left
// out has the default that the field's comment names. Editing changes the one
// table it is about and leaves every other byte as it was.
//
// The package works on bytes; its callers open and write the files.
package config

import (
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Version is the version of the files that this package reads and writes.
const Version = 1

// The names of the two files.
const (
	GateFile = "gate.toml"
	HomeFile = "home.toml"
)

// MaxFileSize is the size, in bytes, above which a file is refused unread.
const MaxFileSize = 1 << 20

// The defaults of both files.
const (
	DefaultInterface   = "gatelodge"
	DefaultListenPort  = 55107
	DefaultControlPort = 55108
	DefaultMaxForwards = 256
	DefaultTable       = 6700
	DefaultPriority    = 100
	DefaultSSHPort     = 22
)

// Device says which WireGuard to use.
type Device string

// The choices of a device.
const (
	Auto     Device = "auto"     // the kernel's where it has one, the embedded one otherwise
	Kernel   Device = "kernel"   // the kernel's or none
	Embedded Device = "embedded" // the one inside this program
)

// Marks are the packet and connection marks we use. Other programs use marks
// too; a clash is fixed by moving ours. The low 24 bits are not free:
// they number the forwards.
type Marks struct {
	Mask     uint32 // the bits that are ours; default 0xf0000000
	Answer   uint32 // within Mask; default 0x10000000
	Outer    uint32 // within Mask; default 0x20000000
	Forward  uint32 // within Mask; default 0x60000000
	Accepted uint32 // one bit outside Mask; default 0x08000000
}

// DefaultMarks returns the marks used unless a file says otherwise.
func DefaultMarks() Marks {
	return Marks{
		Mask:     0xf0000000,
		Answer:   0x10000000,
		Outer:    0x20000000,
		Forward:  0x60000000,
		Accepted: 0x08000000,
	}
}

// DefaultPrefix4 returns the IPv4 prefix of the tunnel that a gate has unless
// its file says otherwise.
func DefaultPrefix4() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 99, 0, 0}), 24)
}

// AllPorts returns every port of every protocol.
func AllPorts() forward.PortSet {
	all := forward.Range{First: 1, Last: 65535}
	return forward.NewPortSet(
		forward.Ports{Protocol: forward.TCP, Range: all},
		forward.Ports{Protocol: forward.UDP, Range: all},
	)
}

// Gate is what gate.toml says.
type Gate struct {
	Tunnel   GateTunnel
	Public   Public
	Firewall GateFirewall
	Policy   Policy       // of every home without one of its own
	Homes    []HomePolicy // in the order of the file
	Marks    Marks
}

// GateTunnel is the [tunnel] table of gate.toml.
type GateTunnel struct {
	Interface   string       // also the name of our nftables table; default "gatelodge"
	ListenPort  uint16       // WireGuard's, UDP; default 55107
	ControlPort uint16       // of the control channel, inside the tunnel; default 55108
	Prefix4     netip.Prefix // default 10.99.0.0/24
	Prefix6     netip.Prefix // a /64; default: none, and no IPv6 in the tunnel
	Device      Device       // default Auto
	MTU         int          // in bytes; 0, the default, derives it
}

// Public is the [public] table of gate.toml.
type Public struct {
	// Endpoints are what homes dial, best first, each as HOST:PORT. Default:
	// none, which leaves the addresses found on the machine.
	Endpoints []string
	// Addresses are where visitors arrive. Default: none, which leaves the
	// addresses found on the machine.
	Addresses []netip.Addr
}

// GateFirewall is the [firewall] table of gate.toml.
type GateFirewall struct {
	Protect  bool            // input = "protect", the default, filters what arrives for the gate itself
	SSHPorts []uint16        // beside those an sshd is found on; default 22
	Accept   forward.PortSet // ports of the gate's own services; default: none
	// AcceptProtocols are IP protocols of tunnels and the like that end on the
	// gate, in order; default: none.
	AcceptProtocols []forward.Protocol
}

// Policy bounds what a home may publish.
type Policy struct {
	Ports       forward.PortSet // default: all
	Deny        forward.PortSet // taken from Ports; default: none
	MaxForwards int             // default 256
}

// Allowed returns the ports that the policy lets a home publish.
func (p Policy) Allowed() forward.PortSet { return p.Ports.Without(p.Deny) }

// HomePolicy is the policy of one home: a [home.NAME] table of gate.toml.
// Every key in it takes the place of the same key of [policy].
type HomePolicy struct {
	Name string
	Policy
}

// PolicyOf returns the policy that bounds the named home.
func (g Gate) PolicyOf(home string) Policy {
	for _, h := range g.Homes {
		if h.Name == home {
			return h.Policy
		}
	}
	return g.Policy
}

// Home is what home.toml says.
type Home struct {
	Tunnel   HomeTunnel
	Gate     HomeGate
	Firewall HomeFirewall
	Forwards []forward.Forward // in the order of the file
	Marks    Marks
}

// HomeTunnel is the [tunnel] table of home.toml.
type HomeTunnel struct {
	Interface    string // also the name of our nftables table; default "gatelodge"
	Device       Device // default Auto
	MTU          int    // in bytes; 0, the default, derives it
	Table        int    // the routing table of answers to visitors; default 6700
	RulePriority int    // of the first of our policy routing rules; default 100
}

// HomeGate is the [gate] table of home.toml.
type HomeGate struct {
	// Endpoints take the place of those learned from the invite, each as
	// HOST:PORT. Default: none.
	Endpoints []string
}

// HomeFirewall is the [firewall] table of home.toml.
type HomeFirewall struct {
	// DropPrivate refuses visitors whose addresses the internet does not
	// route: private_sources = "drop", the default.
	DropPrivate bool
}
