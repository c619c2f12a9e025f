package plan

import (
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
)

// InputPolicy is what a gate lets in for itself, beside what it cannot do
// without: ssh, WireGuard, the control channel, answers and needed ICMP.
type InputPolicy struct {
	Protect bool            // whether to filter at all
	Accept  forward.PortSet // let in although they are closed by default
	// Protocols are IP protocols that are let in, in order.
	Protocols []forward.Protocol
}

// Trial is an input policy that nobody has confirmed yet. The kernel itself
// ends it: it holds for as long as an element of a set lives, and the policy
// underneath holds again from then on, whatever has become of the daemon, the
// disk or the clock by then.
type Trial struct {
	Number int // another one for each trial
	Policy InputPolicy
	Left   time.Duration // of its time; more than nothing
}

// WantedInput returns the input policy that gate.toml asks for.
func WantedInput(c config.Gate) InputPolicy {
	return InputPolicy{
		Protect:   c.Firewall.Protect,
		Accept:    c.Firewall.Accept,
		Protocols: c.Firewall.AcceptProtocols,
	}
}

// Same reports whether both let in the same.
func (p InputPolicy) Same(q InputPolicy) bool { return len(p.Closes(q)) == 0 && len(q.Closes(p)) == 0 }

// Closes lists, in words, what q lets in and p does not: how p could cut off
// the owner who now has q. It is empty where p is no risk.
func (p InputPolicy) Closes(q InputPolicy) []string {
	switch {
	case !p.Protect:
		return nil
	case !q.Protect:
		return []string{"all ports of this machine but those of ssh and WireGuard" + p.lists()}
	}
	var closed []string
	for _, ports := range q.Accept.Without(p.Accept) {
		closed = append(closed, ports.String())
	}
	for _, protocol := range q.Protocols {
		if !slices.Contains(p.Protocols, protocol) {
			closed = append(closed, "IP "+protocol.String())
		}
	}
	return closed
}

// lists is what the policy lets in, as the end of a list.
func (p InputPolicy) lists() string {
	text := ""
	for _, ports := range p.Accept {
		text += ", " + ports.String()
	}
	for _, protocol := range p.Protocols {
		text += ", IP " + protocol.String()
	}
	return text
}
