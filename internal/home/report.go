package home

import (
	"context"
	"slices"

	"github.com/gatelodge/gatelodge/internal/consent"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
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
	letThrough, letErr := consent.Texts(h.paths)
	if letErr != nil {
		problems = append(problems, letErr.Error())
	}
	report := status.Report{
		Role:       string(forward.Home),
		Name:       m.Joined.Name,
		Version:    h.version,
		Running:    true,
		Since:      h.since,
		Tunnel:     h.tunnel(seen),
		Forwards:   []status.Forward{},
		Counters:   seen.Counters(),
		LetThrough: letThrough,
		Drift:      reconcile.Texts(seen.Drift),
		Problems:   slices.Concat(problems, h.keepProblem(), l.push.problems(), h.others.Last(), seen.Problems),
	}
	for _, f := range c.Forwards {
		report.Forwards = append(report.Forwards, h.forward(f, facts))
	}
	return report
}

// forward reports one forward.
func (h *Home) forward(f forward.Forward, facts plan.Facts) status.Forward {
	s := reconcile.Published(f.Published())
	s.Source, s.Ports = plan.ResolveSource(f, facts).String(), nil
	for _, m := range f.Mappings {
		s.Ports = append(s.Ports, m.String())
	}
	if f.To.IsValid() {
		s.To = f.To.String()
	}
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

// tunnel reports the tunnel. It is up while the gate answers.
func (h *Home) tunnel(seen reconcile.Seen) status.Tunnel {
	up, roundTrip, _ := h.link.keep.state()
	gate := reconcile.Peer(seen.Peer(h.link.joined().GatePublicKey))
	gate.RoundTrip = roundTrip
	kind, why := h.link.machine.Kind()
	t := seen.Tunnel(h.link.wantNow(), kind, why)
	t.Up, t.Peer = up, &gate
	t.Public = host.AsVisitorsKnow(h.link.push.public(), []string{h.link.where().String()})
	return t
}
