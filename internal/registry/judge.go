package registry

import (
	"fmt"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// A judge decides on forwards one after another. It remembers who has which
// port, so that the first keeps it.
type judge struct {
	state  *State
	ids    map[uint32]bool
	owners []owner // an owner's place here is its number in the two tables
	tcp    *portTable
	udp    *portTable
}

// owner is the forward that a port belongs to.
type owner struct{ home, forward string }

// portTable holds for each port the number of its owner, 0 for none. One
// entry a port costs less than it seems, and leaves no case to get wrong.
type portTable [1 << 16]int32

func (s *State) judge() *judge {
	return &judge{state: s, ids: usedIDs(s), owners: []owner{{}}, tcp: new(portTable), udp: new(portTable)}
}

// home decides on those forwards of h that are to be judged. The others keep
// their verdict; those granted count towards the policy's limit.
func (j *judge) home(h *Home, p Policy, judged func(Forward) bool) {
	granted := 0
	names := make(map[string]bool, len(h.Forwards))
	for _, f := range h.Forwards {
		if f.Granted && !judged(f) {
			granted++
			names[f.Wanted.Name] = true
		}
	}
	for i := range h.Forwards {
		f := &h.Forwards[i]
		if !judged(*f) {
			continue
		}
		j.decide(h, f, p, granted, names[f.Wanted.Name])
		if f.Granted {
			granted++
			names[f.Wanted.Name] = true
		}
	}
}

// decide grants or refuses one forward.
func (j *judge) decide(h *Home, f *Forward, p Policy, granted int, twice bool) {
	f.Granted, f.Families, f.Notes = false, forward.Families{}, nil
	got, notes := families(f.Wanted.Families, h, p)
	f.Reason = j.refusal(h.Name, f.Wanted, p, got)
	switch {
	case f.Reason != "":
		return
	case twice:
		f.Reason = fmt.Sprintf("this home has two forwards named %q; rename one", f.Wanted.Name)
		return
	case granted >= p.MaxForwards:
		f.Reason = fmt.Sprintf("the gate's policy lets this home have %d forwards; join ports into ranges or ask the gate's owner for more", p.MaxForwards)
		return
	}
	if f.ID == 0 {
		if f.ID = j.state.nextID(j.ids); f.ID == 0 {
			f.Reason = "the gate has no forward ID left; remove forwards that are no longer needed"
			return
		}
	}
	f.Granted, f.Families, f.Notes = true, got, notes
	j.occupy(owner{h.Name, f.Wanted.Name}, f.Wanted.Ports)
}

// refusal says why a forward cannot be granted whatever else its home has, or
// returns "".
func (j *judge) refusal(home string, w forward.Published, p Policy, got forward.Families) string {
	if reason := malformed(w); reason != "" {
		return reason
	}
	if got == (forward.Families{}) {
		return fmt.Sprintf("the forward is for %v, which this gate does not carry to this home", w.Families)
	}
	if reason := p.refusesPorts(w.Ports); reason != "" {
		return reason
	}
	return j.conflict(home, w.Ports)
}

// conflict says who has the first of the ports that is taken, or returns "".
func (j *judge) conflict(home string, ports []forward.Ports) string {
	for _, p := range ports {
		table := j.table(p.Protocol)
		for port := int(p.Range.First); port <= int(p.Range.Last); port++ {
			if n := table[port]; n != 0 {
				return taken(home, j.owners[n], port, p.Protocol)
			}
		}
	}
	return ""
}

func taken(home string, o owner, port int, protocol forward.Protocol) string {
	if o.home == home {
		return fmt.Sprintf("%d/%v is already published by this home's forward %q; leave it out of one of them", port, protocol, o.forward)
	}
	// Who that is, and what for, is none of this home's business: the gate's
	// owner sees it in gatelodge status.
	return fmt.Sprintf("%d/%v belongs to another home of this gate, which published it first; choose another port", port, protocol)
}

func (j *judge) occupyAll(h *Home) {
	for _, f := range h.Forwards {
		if f.Granted {
			j.occupy(owner{h.Name, f.Wanted.Name}, f.Wanted.Ports)
		}
	}
}

func (j *judge) occupy(o owner, ports []forward.Ports) {
	j.owners = append(j.owners, o)
	number := int32(len(j.owners) - 1)
	for _, p := range ports {
		table := j.table(p.Protocol)
		for port := int(p.Range.First); port <= int(p.Range.Last); port++ {
			table[port] = number
		}
	}
}

func (j *judge) table(p forward.Protocol) *portTable {
	if p == forward.TCP {
		return j.tcp
	}
	return j.udp
}
