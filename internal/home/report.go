package home

import (
	"context"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/reconcile"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Report returns how the home is: from what it knows, without a look at the machine.
func (h *Home) Report(context.Context) status.Report {
	l := h.link
	l.mu.Lock()
	facts, c, m := l.facts, l.config, l.memory
	problems := l.ownProblems()
	l.mu.Unlock()
	seen := l.reconciler.Seen()
	gate := h.tunnel(seen)
	report := status.Report{
		Role:       string(forward.Home),
		Name:       m.Joined.Name,
		Version:    h.version,
		Running:    true,
		Since:      h.since,
		Seen:       seen.At,
		Counters:   seen.Counters(),
		LetThrough: h.others.Agreed(),
		Drift:      reconcile.Texts(seen.Drift),
		Problems:   slices.Concat(problems, h.keepProblem(), l.push.problems(), h.others.Last(), seen.Problems),
	}
	for _, f := range c.Forwards {
		s := h.forward(f, facts)
		s.Gate = gate.Name
		gate.Count(s.State)
		report.Forwards = append(report.Forwards, s)
	}
	report.Gates = []status.Link{gate}
	return report.Complete()
}

// forward reports one forward.
func (h *Home) forward(f forward.Forward, facts plan.Facts) status.Forward {
	s := reconcile.Wanted(f, facts)
	h.link.push.count(&s)
	s.State, s.Reason = h.link.push.verdict(f.Name)
	return s
}

// ownProblems returns what is wrong with this home itself: now, and with its
// memory since the start. The caller holds mu.
func (l *link) ownProblems() []string {
	problems := slices.Clone(l.problems)
	if l.damage != "" {
		problems = append(problems, l.damage)
	}
	return problems
}

// keepProblem says what is wrong with the tunnel.
func (h *Home) keepProblem() []string {
	up, _, problem := h.link.keep.state()
	if up {
		problem = h.link.keep.rivalProblem()
	}
	if problem == "" {
		return nil
	}
	return []string{problem}
}

// tunnel reports the link itself: the tunnel, and the gate at its other end.
func (h *Home) tunnel(seen reconcile.Seen) status.Link {
	l := h.link
	l.mu.Lock()
	name, private, gate := l.config.Tunnel.Interface, l.memory.PrivateKey, l.memory.Joined.GatePublicKey
	l.mu.Unlock()
	connected, roundTrip, _ := l.keep.state()
	kind, why := l.machine.Kind()
	r := status.Link{
		Name:      h.gateName(),
		Tunnel:    seen.Tunnel(name, private.Public(), kind, why),
		Connected: connected,
		Carries:   l.keep.worksAlone(),
		Peer:      seen.Peer(gate),
	}
	r.Peer.RoundTrip = roundTrip
	r.Tunnel.Public = plan.AsVisitorsKnow(l.push.public(), []string{l.where().String()})
	return r
}

// gateName is what this home calls the gate.
func (h *Home) gateName() string {
	if list := h.link.endpoints(); len(list) > 0 {
		return list[0]
	}
	return h.link.joined().GatePublicKey.Short()
}
