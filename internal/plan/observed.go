package plan

import (
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
)

// Observed is what the machine has of ours.
type Observed struct {
	WireGuard ObservedWireGuard
	Routing   ObservedRouting
	Firewall  ObservedFirewall
}

// ObservedWireGuard is what the device says of itself.
type ObservedWireGuard struct {
	Present      bool // the interface stands and is a WireGuard device that answers
	Kind         Kind
	PublicKey    key.Public
	ListenPort   uint16
	FirewallMark uint32
	Peers        []ObservedPeer
}

// ObservedPeer is one peer as the device sees it.
type ObservedPeer struct {
	PublicKey           key.Public
	Endpoint            netip.AddrPort
	AllowedIPs          []netip.Prefix
	PersistentKeepalive time.Duration
	LatestHandshake     time.Time // zero: never
	ReceivedBytes       uint64
	SentBytes           uint64
}

// ObservedRouting is what the kernel has of the addresses, routes, rules and
// sysctls that were asked about, and of further ones that carry our protocol
// number.
type ObservedRouting struct {
	LinkPresent bool
	LinkUp      bool
	MTU         int
	Addresses   []netip.Prefix
	Routes      []Route
	Rules       []Rule
	Sysctls     []Sysctl // present value of each wanted sysctl
}

// ObservedFirewall is what the kernel has of our table, held against the
// wanted one.
type ObservedFirewall struct {
	Present bool
	// Current reports that the table was last loaded with what is wanted now.
	Current bool
	// Drift lists, in words, where the table is no longer as it was loaded:
	// rules or elements that somebody removed or added.
	Drift []string
	// Guard lists, in words, what is wrong with what keeps the tunnel shut
	// while the table is away.
	Guard []string
}
