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
// their verdict; those in force count towards the policy's limit.
func (j *judge) home(h *Home, p Policy, judged func(Forward) bool) { j.each(h, p, judged, j.decide) }

// stay decides on those again that are in force, as far as they are.
func (j *judge) stay(h *Home, p Policy, judged func(Forward) bool) {
	j.each(h, p, judged, func(c claimant) {
		if c.Granted {
			j.decide(c)
		} else {
			j.keep(c)
		}
	})
}

// A claimant is a forward that is judged.
type claimant struct {
	*Forward
	home    *Home
	policy  Policy
	granted int  // how many its home has beside this one
	twice   bool // another of them has its name
}

func (j *judge) each(h *Home, p Policy, judged func(Forward) bool, decide func(claimant)) {
	granted := 0
	names := make(map[string]bool, len(h.Forwards))
	count := func(f Forward) {
		if _, is := f.InForce(); is {
			granted++
			names[f.Wanted.Name] = true
		}
	}
	again := make([]bool, len(h.Forwards))
	for i, f := range h.Forwards {
		if again[i] = judged(f); !again[i] {
			count(f)
		}
	}
	for i := range h.Forwards {
		if f := &h.Forwards[i]; again[i] {
			decide(claimant{f, h, p, granted, names[f.Wanted.Name]})
			count(*f)
		}
	}
}

// grow grants what is in force in part, where it can be whole by now.
func (j *judge) grow(h *Home, p Policy) {
	inForce := 0
	for _, f := range h.Forwards {
		if _, is := f.InForce(); is {
			inForce++
		}
	}
	for i := range h.Forwards {
		if f := &h.Forwards[i]; !f.Granted && len(f.Kept) > 0 {
			j.grant(claimant{f, h, p, inForce - 1, false})
		}
	}
}

// decide grants or refuses one forward. Of one that is refused stays what was in
// force before, if it may.
func (j *judge) decide(c claimant) {
	c.Granted, c.Families, c.Notes = false, forward.Families{}, nil
	if !j.grant(c) {
		j.keep(c)
	}
}

// grant grants a forward whole, or says why not.
func (j *judge) grant(c claimant) bool {
	got, notes := families(c.Wanted.Families, c.home, c.policy)
	if c.Reason = j.refuses(c, c.Wanted, got); c.Reason != "" {
		return false
	}
	c.Granted, c.Families, c.Notes, c.Kept = true, got, notes, nil
	j.occupy(owner{c.home.Name, c.Wanted.Name}, c.Wanted.Ports)
	return true
}

// keep leaves in force what stays of a forward that is refused, if it may.
func (j *judge) keep(c claimant) {
	kept := c.Wanted
	kept.Ports = c.Kept
	got, _ := families(kept.Families, c.home, c.policy)
	if len(c.Kept) == 0 || malformed(c.Wanted) != "" || j.refuses(c, kept, got) != "" {
		c.Families, c.Kept = forward.Families{}, nil
		return
	}
	c.Families = got
	j.occupy(owner{c.home.Name, kept.Name}, kept.Ports)
}

// refuses says why a claimant does not get what it wants, or returns "".
func (j *judge) refuses(c claimant, wanted forward.Published, got forward.Families) string {
	if reason := j.refusal(c, wanted, got); reason != "" {
		return reason
	}
	switch {
	case c.twice:
		return fmt.Sprintf("this home has two forwards named %q; rename one", wanted.Name)
	case c.granted >= c.policy.MaxForwards:
		return fmt.Sprintf("the gate's policy lets this home have %d forwards; join ports into ranges or ask the gate's owner for more", c.policy.MaxForwards)
	case c.ID == 0:
		if c.ID = j.state.nextID(j.ids); c.ID == 0 {
			return "the gate has no forward ID left; remove forwards that are no longer needed"
		}
	}
	return ""
}

// refusal says why a forward cannot be granted whatever else its home has, or
// returns "".
func (j *judge) refusal(c claimant, w forward.Published, got forward.Families) string {
	if reason := malformed(w); reason != "" {
		return reason
	}
	if got == (forward.Families{}) {
		return fmt.Sprintf("the forward is for %v, which this gate does not carry to this home", w.Families)
	}
	if reason := c.policy.refusesPorts(w.Ports); reason != "" {
		return reason
	}
	own := ""
	if len(c.Kept) > 0 {
		own = w.Name
	}
	return j.conflict(owner{c.home.Name, own}, w.Ports)
}

// conflict says who has the first of the ports that somebody else has taken, or
// returns "".
func (j *judge) conflict(claims owner, ports []forward.Ports) string {
	for _, p := range ports {
		table := j.table(p.Protocol)
		for port := int(p.Range.First); port <= int(p.Range.Last); port++ {
			if n := table[port]; n != 0 && j.owners[n] != claims {
				return taken(claims.home, j.owners[n], port, p.Protocol)
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
		if p, is := f.InForce(); is {
			j.occupy(owner{h.Name, p.Name}, p.Ports)
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
