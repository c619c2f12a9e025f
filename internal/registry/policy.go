package registry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Policy is what a gate's owner lets one home have. The zero Policy grants
// nothing.
type Policy struct {
	Allowed     forward.PortSet
	Denied      forward.PortSet // wins over Allowed
	Reserved    []Reserved      // wins over everything
	MaxForwards int
	// Families are those in which visitors can reach a home through this
	// gate at all.
	Families forward.Families
}

// Reserved is a set of ports that the gate keeps for itself, and why.
type Reserved struct {
	Ports forward.PortSet
	Use   string // such as "ssh" or "WireGuard"
}

// Policies returns the policy for the home of that name.
type Policies func(home string) Policy

// reserved returns the union of what the gate keeps for itself.
func (p Policy) reserved() forward.PortSet {
	var all forward.PortSet
	for _, r := range p.Reserved {
		all = all.Union(r.Ports)
	}
	return all
}

// refusesPorts says why the policy does not let a home have the ports, or "".
func (p Policy) refusesPorts(ports forward.PortSet) string {
	if reason := p.refusesReserved(ports); reason != "" {
		return reason
	}
	free := p.Allowed.Without(p.Denied)
	if over := ports.Without(free); len(over) > 0 {
		return fmt.Sprintf("the gate's policy does not allow %s for this home; %s", list(over), p.suggest(ports))
	}
	return ""
}

// refusesReserved says which of the ports the gate needs for itself, or "".
// It stands before the rest of the policy: no configuration of Allowed can
// give these ports away, and with them the way into the gate.
func (p Policy) refusesReserved(ports forward.PortSet) string {
	var kept []string
	for _, r := range p.Reserved {
		if in := intersect(ports, r.Ports); len(in) > 0 {
			kept = append(kept, fmt.Sprintf("%s (%s)", list(in), r.Use))
		}
	}
	if len(kept) == 0 {
		return ""
	}
	return fmt.Sprintf("the gate needs %s itself; %s", shorten(kept), p.suggest(ports))
}

// suggest names those of the ports that the home could have.
func (p Policy) suggest(ports forward.PortSet) string {
	free := intersect(ports, p.Allowed.Without(p.Denied).Without(p.reserved()))
	if len(free) == 0 {
		return "publish other ports"
	}
	return "publish " + list(free) + " instead"
}

func intersect(a, b forward.PortSet) forward.PortSet {
	var in forward.PortSet
	for _, p := range a {
		in = append(in, b.Intersect(p)...)
	}
	return forward.NewPortSet(in...)
}

// maxListed bounds how many items a sentence names. A home can ask for
// thousands, and the sentence goes to logs and terminals.
const maxListed = 6

// list names ports in a sentence.
func list(ports forward.PortSet) string {
	var text []string
	for _, p := range ports {
		text = append(text, p.String())
	}
	return shorten(text)
}

func shorten(items []string) string {
	if extra := len(items) - maxListed; extra > 0 {
		items = append(slices.Clone(items[:maxListed]), fmt.Sprintf("%d more", extra))
	}
	return strings.Join(items, ", ")
}

// malformed says what is wrong with a forward in itself, or "". The control
// channel lets nothing malformed through; this is the second lock on the door
// to the kernel's ruleset.
func malformed(p forward.Published) string {
	if err := p.Check(); err != nil {
		return err.Error()
	}
	return ""
}
