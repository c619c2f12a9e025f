package hosttest

import (
	"context"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// CutForwards implements host.Machine.
func (m *Machine) CutForwards(_ plan.Marks, gone, _ []uint32) error {
	return m.op(context.Background(), CutForwards, func(w *World) error { w.Cut = append(w.Cut, gone); return nil })
}

// TrimForwards implements host.Machine.
func (m *Machine) TrimForwards(_ plan.Marks, changes []host.ForwardChange) error {
	return m.op(context.Background(), TrimForwards, func(w *World) error { w.Trimmed = append(w.Trimmed, changes); return nil })
}

// FreeFlows implements host.Machine.
func (m *Machine) FreeFlows(_ plan.Marks, ports forward.PortSet, _ []netip.Addr) error {
	return m.op(context.Background(), FreeFlows, func(w *World) error { w.Freed = append(w.Freed, ports); return nil })
}

// EndVisits implements host.Machine.
func (m *Machine) EndVisits(_ []netip.Addr, _, now []plan.HomeForward) error {
	return m.op(context.Background(), EndVisits, func(w *World) error { w.Ended = append(w.Ended, now); return nil })
}

// Counters implements host.Machine.
func (m *Machine) Counters(ctx context.Context, _ string) (counted host.Counters, err error) {
	err = m.op(ctx, Counters, func(w *World) error { counted = w.Counters; return nil })
	return counted, err
}

// Sessions implements host.Machine.
func (m *Machine) Sessions(ports []uint16) (list []host.Session, err error) {
	err = m.op(context.Background(), Sessions, func(w *World) error {
		for _, s := range w.Sessions {
			if slices.Contains(ports, s.Local.Port()) {
				list = append(list, s)
			}
		}
		return nil
	})
	return list, err
}

// RootPorts implements host.Machine. The ports of sshd are among them.
func (m *Machine) RootPorts() (ports []uint16, err error) {
	err = m.op(context.Background(), RootPorts, func(w *World) error { ports = slices.Concat(w.RootPorts, w.Facts.SSHPorts); return nil })
	slices.Sort(ports)
	return slices.Compact(ports), err
}

// SSHPorts implements host.Machine.
func (m *Machine) SSHPorts() (ports []uint16, err error) {
	err = m.op(context.Background(), SSHPorts, func(w *World) error { ports = slices.Clone(w.Facts.SSHPorts); return nil })
	return ports, err
}

// Watch implements host.Machine: what Notify tells, until ctx ends.
func (m *Machine) Watch(ctx context.Context) (<-chan host.Event, error) {
	events := make(chan host.Event, 1)
	err := m.op(ctx, Watch, func(*World) error { m.watchers[events] = true; return nil })
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { m.unwatch(events) })
	return events, nil
}

func (m *Machine) unwatch(events chan host.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watchers[events] {
		delete(m.watchers, events)
		close(events)
	}
}

// Notify tells all who watch that something has changed. Events that nobody has
// taken yet are one event.
func (m *Machine) Notify() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for events := range m.watchers {
		select {
		case events <- host.Event{}:
		default:
		}
	}
}

// Led implements host.Machine.
func (m *Machine) Led([]forward.Forward, plan.Facts, string) (led []plan.Led, err error) {
	err = m.op(context.Background(), Led, func(w *World) error { led = slices.Clone(w.Led); return nil })
	return led, err
}

// TraceVisits implements gate.Machine. What the trace has found in the end is what
// World.Traced returns; without that, nothing.
func (m *Machine) TraceVisits(ctx context.Context, _ plan.GateFirewall, _ string, _ netip.Addr) (host.Tracing, error) {
	return trace{m}, m.op(ctx, TraceVisits, func(*World) error { return nil })
}

// trace is a trace that goes on.
type trace struct{ machine *Machine }

// End implements host.Tracing.
func (t trace) End(context.Context) (arrived []uint16, drops []host.OthersDrop, byUs []uint16, err error) {
	var traced func() ([]uint16, []host.OthersDrop, []uint16, error)
	t.machine.Do(func(w *World) { traced = w.Traced })
	if traced == nil {
		return nil, nil, nil, nil
	}
	return traced()
}
