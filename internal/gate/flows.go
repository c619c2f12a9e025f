package gate

import (
	"errors"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// difference is what becomes of flows when forwards change.
type difference struct {
	gone    []uint32 // numbers of forwards whose flows end
	living  []uint32 // of those that are there
	changed []host.ForwardChange
	// added are ports that were not forwarded, or not like this.
	added forward.PortSet
}

// compareForwards returns what lies between two lists of forwards. What both
// have alike needs nothing done.
func compareForwards(before, after []forward.Grant) difference {
	var d difference
	was := make(map[uint32]forward.Grant, len(before))
	for _, f := range before {
		was[f.ID] = f
	}
	var added []forward.Ports
	for _, f := range after {
		d.living = append(d.living, f.ID)
		b, there := was[f.ID]
		delete(was, f.ID)
		switch {
		case !there:
			added = append(added, f.Ports...)
		case !sameWay(b, f):
			d.changed = append(d.changed, host.ForwardChange{Before: b, After: f})
			added = append(added, f.Ports...) // it may have gained a family, or visitors
		}
	}
	for _, f := range before {
		if _, gone := was[f.ID]; gone {
			d.gone = append(d.gone, f.ID)
		}
	}
	d.added = forward.NewPortSet(added...)
	return d
}

// sameWay reports whether packets take the same way under both. Limits do not
// matter: they bound new connections only.
func sameWay(a, b forward.Grant) bool {
	return slices.Equal(a.Ports, b.Ports) && a.Target4 == b.Target4 && a.Target6 == b.Target6 &&
		a.Masquerade == b.Masquerade && slices.Equal(a.Allow, b.Allow)
}

// settle ends the flows that the new rules no longer carry, and those that
// would otherwise keep to the way they had before a forward was there. However
// many forwards change, each of the three is one pass. Flows that are carried as
// before are not touched.
func (g *Gate) settle(want *plan.GateFirewall) error {
	d := compareForwards(g.memory.carried(), want.Forwards)
	err := errors.Join(
		g.machine.CutForwards(want.Marks, d.gone, d.living),
		g.machine.TrimForwards(want.Marks, d.changed),
		g.machine.FreeFlows(want.Marks, d.added, want.Public),
	)
	if err != nil {
		return err // the next round tries it again
	}
	g.memory.carries(want.Forwards)
	return nil
}

// carried returns the forwards as the machine carries them out.
func (m *memory) carried() []forward.Grant {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied
}

// carries notes them.
func (m *memory) carries(forwards []forward.Grant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = forwards
}
