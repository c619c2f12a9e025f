package membership

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// A gate's answer to join says again what the invite has said already, which
// its owner gave away and this machine's networks were compared with. So the
// answer is held to the invite, and what only the answer says, the IPv6 part,
// to what nobody else can have.

// newMembership returns what this home remembers of its place at a gate, or
// refuses a place that the invite does not cover.
func newMembership(invite key.Invite, answer control.EnrolResponse, facts plan.Facts) (*Membership, error) {
	if err := heldTo4(invite, answer); err != nil {
		return nil, err
	}
	if err := heldTo6(answer); err != nil {
		return nil, err
	}
	for _, tunnel := range []netip.Prefix{answer.Prefix4, answer.Prefix6} {
		if err := refuseOverlapping(tunnel, facts); err != nil {
			return nil, err
		}
	}
	return &Membership{
		Name:          answer.Name,
		Addresses:     plan.Valid(answer.Address4, answer.Address6),
		GatePublicKey: invite.Gate,
		GateAddresses: plan.Valid(answer.Gate4, answer.Gate6),
		ControlPort:   invite.ControlPort,
		Endpoints:     invite.Endpoints,
	}, nil
}

// heldTo4 compares the IPv4 part with the invite.
func heldTo4(invite key.Invite, answer control.EnrolResponse) error {
	tunnel, own := invite.Tunnel(), answer.Address4
	switch {
	case !key.IsTunnelPrefix(tunnel):
		return notThere("the tunnel", tunnel, "a private prefix such as 10.99.0.0/24")
	case answer.Prefix4 != tunnel:
		return notThere("the tunnel", answer.Prefix4, tunnel)
	case answer.Gate4 != invite.GateAddress:
		return notThere("the gate", answer.Gate4, invite.GateAddress)
	case !tunnel.Contains(own) || own == answer.Gate4 || own == invite.Address || own == tunnel.Addr() || !tunnel.Contains(own.Next()):
		return notThere("this home", own, fmt.Sprintf("another host address in %s", tunnel))
	}
	return nil
}

// heldTo6 checks the IPv6 part, on which an invite is silent: unique local
// addresses, of which the gate has the first.
func heldTo6(answer control.EnrolResponse) error {
	tunnel, own := answer.Prefix6, answer.Address6
	switch {
	case !tunnel.IsValid() && !own.IsValid() && !answer.Gate6.IsValid():
		return nil
	case !key.IsTunnelPrefix(tunnel) || !tunnel.Addr().Is6() || tunnel.Bits() < 48:
		return &local.RefusedError{
			Message: fmt.Sprintf("the gate puts this home into the IPv6 network %s: a tunnel has unique local addresses only, others could be somebody's on the internet", tunnel),
			Hint:    "on the gate, set prefix6 under [tunnel] in gate.toml to a /64 that begins with fd, and join with a new invite",
		}
	case answer.Gate6 != tunnel.Addr().Next():
		return notThere("the gate", answer.Gate6, tunnel.Addr().Next())
	case !tunnel.Contains(own) || own == answer.Gate6 || own == tunnel.Addr():
		return notThere("this home", own, fmt.Sprintf("another address in %s", tunnel))
	}
	return nil
}

func notThere(who string, got, want any) error {
	return &local.RefusedError{
		Message: fmt.Sprintf("the gate's answer and its invite do not agree: %s should be at %v, not at %v; nothing was changed here", who, want, got),
		Hint:    "ask for a new invite: if [tunnel] in gate.toml was changed after this one was made, it is out of date; otherwise do not trust that gate",
	}
}

// refuseOverlapping stops where the tunnel's addresses mean something else on
// this machine.
func refuseOverlapping(tunnel netip.Prefix, facts plan.Facts) error {
	n, overlaps := plan.Overlap(tunnel, facts)
	if !overlaps {
		return nil
	}
	name := "prefix4"
	if tunnel.Addr().Is6() {
		name = "prefix6"
	}
	return &local.RefusedError{
		Message: fmt.Sprintf("the tunnel's prefix %s overlaps %s, a network of this machine's interface %s: one of the two would be cut off", tunnel, n.Prefix, n.Interface),
		Hint:    "on the gate, set another " + name + " under [tunnel] in gate.toml before its first home joins, and make a new invite",
	}
}

// RefuseOverlap stops before the tunnel takes an address that means something
// else here: a network that was joined later, for instance.
func (j *Membership) RefuseOverlap(facts plan.Facts) error {
	for _, a := range slices.Concat(j.Addresses, j.GateAddresses) {
		if n, overlaps := plan.Overlap(netip.PrefixFrom(a, a.BitLen()), facts); overlaps {
			return fmt.Errorf("the tunnel's address %s lies in %s, a network of this machine's interface %s: one of the two must move; the tunnel's is prefix4 in the gate's gate.toml, after which homes join again", a, n.Prefix, n.Interface)
		}
	}
	return nil
}
