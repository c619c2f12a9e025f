package registry

import (
	"fmt"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Push replaces what a home wants with the given list, judges each forward
// and returns the verdicts in order. A forward is granted whole or not at
// all, but what it has of these ports already stays with it. Ports that are given free here are not handed to homes that were
// refused them; Reconsider does that.
func (s *State) Push(home string, generation uint64, wanted []forward.Published, p Policy) ([]Verdict, error) {
	i := s.homeIndex(home)
	if i < 0 {
		return nil, refuse(UnknownHome, "no home named %q is enrolled at this gate; join again with a new invite", home)
	}
	old := s.Homes[i]
	if !forward.Succeeds(old.Generation, generation) {
		return nil, stale(old.Generation, generation)
	}
	if err := forward.CheckCount(len(wanted)); err != nil {
		return nil, refuse(TooMany, "%v", err)
	}
	s.Homes[i].Generation = generation
	s.Homes[i].Forwards = renew(old.Forwards, wanted)
	j := s.judge()
	for k := range s.Homes {
		if k != i {
			j.occupyAll(&s.Homes[k])
		}
	}
	j.home(&s.Homes[i], p, func(Forward) bool { return true })
	return s.Homes[i].Verdicts(), nil
}

// stale says why a push may not replace the last one.
func stale(last, next uint64) error {
	if next > last {
		return refuse(Stale, "the gate has generation %d of this home's forwards, and %d is too far ahead of it to be the next", last, next)
	}
	return refuse(Stale, "the gate has generation %d of this home's forwards, which is not older than %d; is a second copy of this home running?", last, next)
}

// renew makes the new list of a home's forwards. IDs stay with names, and so may the
// ports that both the old and the new one have.
func renew(old []Forward, wanted []forward.Published) []Forward {
	ids := make(map[string]uint32, len(old))
	had := make(map[string]forward.PortSet, len(old))
	for _, f := range old {
		ids[f.Wanted.Name] = f.ID
		if p, is := f.InForce(); is {
			had[p.Name] = p.Ports
		}
	}
	list := make([]Forward, len(wanted))
	for i, w := range wanted {
		if malformed(w) == "" { // else merging could hide what is wrong
			w.Ports = forward.NewPortSet(w.Ports...)
		}
		w.Allow = slices.Clone(w.Allow)
		list[i] = Forward{ID: ids[w.Name], Wanted: w, Kept: intersect(w.Ports, had[w.Name])}
		delete(ids, w.Name) // a second forward of that name must not get the same ID
		delete(had, w.Name)
	}
	return list
}

// Reconsider judges everything again, after a change of policy or after ports
// have become free, and reports whether a verdict changed. What is granted
// and may stay keeps its ports; what was refused is granted if it now can be,
// the longest enrolled home first, and then what is in force in part.
func (s *State) Reconsider(policies Policies) bool {
	before := s.Clone()
	j := s.judge()
	inForce := func(f Forward) bool { _, is := f.InForce(); return is }
	others := func(f Forward) bool { return !inForce(f) }
	for i, h := range before.Homes {
		j.stay(&s.Homes[i], policies(h.Name), inForce)
	}
	for i, h := range before.Homes {
		j.home(&s.Homes[i], policies(h.Name), others)
	}
	for i, h := range before.Homes {
		j.grow(&s.Homes[i], policies(h.Name))
	}
	return !slices.EqualFunc(before.Homes, s.Homes, sameVerdicts)
}

func sameVerdicts(a, b Home) bool {
	return slices.EqualFunc(a.Forwards, b.Forwards, func(f, g Forward) bool {
		return f.Granted == g.Granted && f.Families == g.Families && f.Reason == g.Reason && slices.Equal(f.Notes, g.Notes) && slices.Equal(f.Kept, g.Kept)
	})
}

// Granted returns the forwards of all homes that are in force.
func (s *State) Granted() []forward.Grant {
	var all []forward.Grant
	for _, h := range s.Homes {
		for _, f := range h.Forwards {
			if p, is := f.InForce(); is {
				all = append(all, h.granted(f, p))
			}
		}
	}
	return all
}

func (h Home) granted(f Forward, p forward.Published) forward.Grant {
	g := forward.Grant{Home: h.Name, ID: f.ID, Published: p}
	g.Families = f.Families
	if f.Families.IPv4 {
		g.Target4 = h.Address4
	}
	if f.Families.IPv6 {
		g.Target6 = h.Address6
	}
	return g
}

// nextID returns a forward ID that nobody has. The search goes on from where
// it last ended, so that the ID of a removed forward, which may live on in
// the marks of its connections, is not given to another soon.
func (s *State) nextID(used map[uint32]bool) uint32 {
	for range forward.MaxID {
		id := s.NextForwardID
		if id == 0 || id > forward.MaxID {
			id = 1
		}
		s.NextForwardID = id%forward.MaxID + 1
		if !used[id] {
			used[id] = true
			return id
		}
	}
	return 0
}

func usedIDs(s *State) map[uint32]bool {
	used := make(map[uint32]bool)
	for _, h := range s.Homes {
		for _, f := range h.Forwards {
			used[f.ID] = true
		}
	}
	return used
}

// families narrows a forward's families to those that the gate and the
// home's addresses allow, and says in a note what was lost.
func families(wanted forward.Families, h *Home, p Policy) (forward.Families, []string) {
	got := forward.Families{
		IPv4: wanted.IPv4 && p.Families.IPv4 && h.Address4.IsValid(),
		IPv6: wanted.IPv6 && p.Families.IPv6 && h.Address6.IsValid(),
	}
	var notes []string
	if wanted.IPv4 && !got.IPv4 {
		notes = append(notes, fmt.Sprintf(noFamily, "IPv4", "IPv4"))
	}
	if wanted.IPv6 && !got.IPv6 {
		notes = append(notes, fmt.Sprintf(noFamily, "IPv6", "IPv6"))
	}
	return got, notes
}

const noFamily = "visitors cannot come over %s: the gate, or its tunnel to this home, has no %s"
