// Package membership is a home's place at a gate: what it remembers of it, and how it
// gets it by an invite.
package membership

import (
	"errors"
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
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

// Of returns the place that an instance has at a gate, nil for none. It changes
// nothing.
func Of(p layout.Paths) (*Membership, error) {
	st, err := store.View(p.State())
	if err != nil {
		return nil, err
	}
	var m Memory
	_, err = st.Load(StoredName, &m)
	return m.Joined, errors.Join(err, st.Close())
}

// Near reports whether an address lies where a gate has those of its homes: beside ours.
func (m Membership) Near(addr netip.Addr) bool {
	for _, own := range m.Addresses {
		bits := 24
		if own.Is6() {
			bits = 64
		}
		if p, err := own.Prefix(bits); err == nil && p.Contains(addr) {
			return true
		}
	}
	return false
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
