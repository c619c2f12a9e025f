package gate

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

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

// settle ends the flows that the new rules no longer carry. However many
// forwards change, each way is one pass. Flows that are carried as before are not
// touched. Those that would otherwise keep to the way they had before a forward
// was there are freed by a task of its own: nobody waits for that.
func (g *Gate) settle(want *plan.GateFirewall) error {
	d := compareForwards(g.memory.carried(), want.Forwards)
	err := errors.Join(
		g.machine.CutForwards(want.Marks, d.gone, d.living),
		g.machine.TrimForwards(want.Marks, d.changed),
	)
	if err != nil {
		return err // the next round tries it again
	}
	g.memory.carries(want.Forwards)
	if len(d.added) > 0 {
		g.toFree.add(want.Marks, d.added, want.Public)
		g.freer.Kick()
	}
	return nil
}

// flowsToFree are those to ports that have been forwarded since they were last
// freed. To find them the kernel lists all that is not ours, which takes long
// where that is much.
type flowsToFree struct {
	mu     sync.Mutex
	marks  plan.Marks
	ports  forward.PortSet
	public []netip.Addr
	last   time.Time // when that was done last; the task's own
}

func (f *flowsToFree) add(marks plan.Marks, ports forward.PortSet, public []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.marks, f.ports, f.public = marks, f.ports.Union(ports), public
}

func (f *flowsToFree) take() (plan.Marks, forward.PortSet, []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ports := f.ports
	f.ports = nil
	return f.marks, ports, f.public
}

// freePause is how often flows are freed at most.
const freePause = time.Second

// freeFlows frees what settle has left to it. After an error it is tried again.
func (g *Gate) freeFlows(ctx context.Context) error {
	select {
	case <-time.After(freePause - time.Since(g.toFree.last)):
	case <-ctx.Done():
		return ctx.Err()
	}
	marks, ports, public := g.toFree.take()
	err := g.machine.FreeFlows(marks, ports, public)
	g.toFree.last = time.Now()
	if err != nil {
		g.toFree.add(marks, ports, public)
	}
	return err
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
