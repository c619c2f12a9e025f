// Package state is the pure heart of a gate: what it is by its file, its memory and
// its machine, and what follows from that.
package state

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// State is all from which follows what a gate does: a value, of which the daemon
// has one, and of which another is made to see what would be. It reads no clock
// and touches nothing.
type State struct {
	File     string // gate.toml, as messages name it
	Config   config.Gate
	Key      key.Private
	Registry *registry.State
	Facts    plan.Facts
	Input    plan.InputPolicy // the one that was kept
	Trial    *plan.Trial      // what is on trial; nil: nothing
	// Endpoints are where the homes were when this run began. Later ones are
	// the device's business: it hears of them first.
	Endpoints map[key.Public]netip.AddrPort
}

// Plan returns the wanted state of the machine.
func (s State) Plan(now time.Time) plan.State {
	in := plan.GateInput{PrivateKey: s.Key, Forwards: s.Registry.Granted(), Input: s.Input, Trial: s.Trial}
	for _, h := range s.Registry.Homes {
		in.Tenants = append(in.Tenants, plan.Tenant{PublicKey: h.PublicKey, Addresses: plan.Valid(h.Address4, h.Address6), Endpoint: s.Endpoints[h.PublicKey]})
	}
	for _, v := range s.Registry.Invites {
		if !v.Answers(now) {
			continue
		}
		in.Tenants = append(in.Tenants, plan.Tenant{PublicKey: v.PublicKey, Addresses: plan.Valid(v.Address4), Invited: true})
	}
	return plan.ForGate(s.Config, in, s.Facts)
}

// With returns the state as it would be with another configuration, whose input
// policy its owner has confirmed.
func (s State) With(c config.Gate, facts plan.Facts, now time.Time) State {
	s.Config, s.Facts, s.Input, s.Trial = c, facts, plan.WantedInput(c), nil
	s.Registry = s.Registry.Clone()
	s.Registry.Expire(now)
	s.Registry.Reconsider(s.Policies())
	return s
}

// Choices returns what the gate's owner and its homes have decided.
func (s State) Choices() []plan.Choice {
	list := append(plan.InputChoices(s.Input), plan.TunnelChoice(s.Config))
	for _, h := range s.Registry.Homes {
		list = append(list, plan.Choice{Subject: "home " + h.Name})
	}
	for _, f := range s.Registry.Granted() {
		var ports []string
		for _, p := range f.Published.Ports {
			ports = append(ports, p.String())
		}
		c := plan.ForwardChoice(f.Published, ports, "home "+f.Home)
		c.Of = f.Home
		list = append(list, c)
	}
	return list
}

// Identity is what the registry has to know of this gate.
func (s State) Identity() registry.Gate { return identity(s.Key, s.Config) }

func identity(k key.Private, c config.Gate) registry.Gate {
	return registry.Gate{PublicKey: k.Public(), Prefix4: c.Tunnel.Prefix4, Prefix6: c.Tunnel.Prefix6}
}

// Public returns where visitors arrive.
func (s State) Public() []netip.Addr {
	list := s.Config.Public.Addresses
	if len(list) == 0 {
		list = s.Facts.Public
	}
	return plan.AsVisitorsKnow(list, s.Config.Public.Endpoints)
}

// maxEndpoints bounds how many addresses an invite holds.
const maxEndpoints = 4

// Dialable returns where homes reach this gate: as the owner says, or else
// at the addresses found here.
func (s State) Dialable() ([]string, error) {
	if list := s.Config.Public.Endpoints; len(list) > 0 {
		return list, nil
	}
	var endpoints []string
	for _, a := range s.Facts.Public {
		if plan.Routable(a) && len(endpoints) < maxEndpoints {
			endpoints = append(endpoints, netip.AddrPortFrom(a, s.Config.Tunnel.ListenPort).String())
		}
	}
	if len(endpoints) == 0 {
		return nil, &local.RefusedError{
			Message: "this gate does not know at which address homes can reach it",
			Hint:    `set endpoints = ["NAME-OR-ADDRESS"] under [public] in ` + s.File,
		}
	}
	return endpoints, nil
}

// Invite returns the text of an invite.
func (s State) Invite(secret key.Secret, made registry.Invite, endpoints []string) (string, error) {
	t := s.Config.Tunnel
	return key.Invite{
		Secret:      secret,
		Gate:        s.Key.Public(),
		GateAddress: plan.GateAddresses(s.Config)[0],
		Address:     made.Address4,
		PrefixBits:  t.Prefix4.Bits(),
		ControlPort: t.ControlPort,
		Endpoints:   endpoints,
	}.Encode()
}

// Control is where the control channel listens.
func (s State) Control() string {
	return netip.AddrPortFrom(plan.GateAddresses(s.Config)[0], s.Config.Tunnel.ControlPort).String()
}

// RefuseOverlap stops before the tunnel takes addresses that mean something
// else on the machine.
func (s State) RefuseOverlap(c config.Gate, facts plan.Facts) error {
	prefix := c.Tunnel.Prefix4
	if n, overlaps := plan.Overlap(prefix, facts); overlaps {
		return fmt.Errorf("the tunnel's prefix %s overlaps %s, a network of this machine's interface %s: set another prefix4 in %s", prefix, n.Prefix, n.Interface, s.File)
	}
	return nil
}

// Place is what a home has to know of its place in the tunnel.
func (s State) Place(h registry.Home) control.EnrolResponse {
	gate := plan.GateAddresses(s.Config)
	answer := control.EnrolResponse{
		Version:  control.Version,
		Name:     h.Name,
		Address4: h.Address4,
		Gate4:    gate[0],
		Prefix4:  s.Config.Tunnel.Prefix4.Masked(),
	}
	if h.Address6.IsValid() && len(gate) > 1 {
		answer.Address6, answer.Gate6, answer.Prefix6 = h.Address6, gate[1], s.Config.Tunnel.Prefix6.Masked()
	}
	return answer
}
