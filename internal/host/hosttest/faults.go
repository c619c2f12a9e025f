package hosttest

import (
	"context"
	"sync"
)

// Op is one of a machine's operations, by the name of its method.
type Op string

// The operations.
const (
	Facts        Op = "Facts"
	Observe      Op = "Observe"
	Diff         Op = "Diff"
	Apply        Op = "Apply"
	MTUTo        Op = "MTUTo"
	Glance       Op = "Glance"
	Peers        Op = "Peers"
	Renew        Op = "Renew"
	Redial       Op = "Redial"
	Drop         Op = "Drop"
	CutForwards  Op = "CutForwards"
	TrimForwards Op = "TrimForwards"
	FreeFlows    Op = "FreeFlows"
	EndVisits    Op = "EndVisits"
	Counters     Op = "Counters"
	Sessions     Op = "Sessions"
	RootPorts    Op = "RootPorts"
	SSHPorts     Op = "SSHPorts"
	Watch        Op = "Watch"
	Led          Op = "Led"
	TraceVisits  Op = "TraceVisits"
)

// Always is as often as an operation is tried.
const Always = -1

// fault has an operation fail.
type fault struct {
	err  error
	left int // times; Always
}

// Fail has an operation fail so many times from now on: then it does nothing. 0 ends
// what was said before.
func (m *stage) Fail(op Op, err error, times int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults[op] = fault{err, times}
}

// Hang has an operation wait from now on, before it does anything, until it is
// released or its caller's context ends. To say it again holds the next calls, and not
// those that are released by then.
func (m *stage) Hang(op Op) (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := make(chan struct{})
	m.hangs[op] = held
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.hangs[op] == held {
			delete(m.hangs, op)
		}
		close(held)
	})
}

// Count returns how many times an operation was called, also in vain.
func (m *stage) Count(op Op) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[op]
}

// op carries an operation out: what it does is done with mu held.
func (m *stage) op(ctx context.Context, op Op, do func(w *World) error) error {
	m.mu.Lock()
	m.counts[op]++
	held := m.hangs[op]
	m.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.fault(op); err != nil {
		return err
	}
	return do(&m.world)
}

// fault returns why an operation fails this time; nil: it does not.
func (m *stage) fault(op Op) error {
	f := m.faults[op]
	if f.left == 0 {
		return nil
	}
	if f.left != Always {
		f.left--
		m.faults[op] = f
	}
	return f.err
}
