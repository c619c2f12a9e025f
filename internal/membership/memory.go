// Package membership is a home's place at a gate: what it remembers of it, and how it
// gets it by an invite.
package membership

import (
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/store"
)

// Memory is what a home remembers, as it is stored.
type Memory struct {
	PrivateKey store.PrivateKey `json:"private_key"`
	Joined     *Membership      `json:"joined,omitempty"`
	// Generation numbers the lists of forwards that this home pushes.
	Generation uint64 `json:"generation"`
	// LastEndpoint is where the gate last answered: the first try of the next
	// start, which may be one without DNS.
	LastEndpoint netip.AddrPort `json:"last_endpoint,omitzero"`
}

// Membership is what a home was told when it joined.
type Membership struct {
	Name          string       `json:"name"`
	Addresses     []netip.Addr `json:"addresses"` // ours in the tunnel
	GatePublicKey key.Public   `json:"gate_public_key"`
	GateAddresses []netip.Addr `json:"gate_addresses"`
	ControlPort   uint16       `json:"control_port"`
	Endpoints     []string     `json:"endpoints"`
}

// StoredName is the name of that memory in the store.
const StoredName = "home"
