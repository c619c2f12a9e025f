package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Plan implements role.
func (h *home) Plan(ctx context.Context) (PlanResponse, error) {
	h.apply.Lock()
	defer h.apply.Unlock()
	c, err := h.readConfig()
	if err != nil {
		return PlanResponse{}, err
	}
	if err := sameInstance(h.config.Tunnel.Interface, c.Tunnel.Interface); err != nil {
		return PlanResponse{}, err
	}
	facts, err := h.gather(ctx, c)
	if err != nil {
		return PlanResponse{}, err
	}
	h.mu.Lock()
	want := h.wantWith(c, facts)
	h.mu.Unlock()
	changes, err := h.host.Diff(ctx, want)
	return PlanResponse{Changes: texts(changes)}, err
}

// verdictTime is how long Apply waits for the gate's answer.
const verdictTime = 8 * time.Second

// Apply implements role.
func (h *home) Apply(ctx context.Context, _ ApplyRequest) (ApplyResponse, error) {
	if err := h.reload(); err != nil {
		return ApplyResponse{}, err
	}
	changes, err := h.reconcile(ctx)
	if err != nil {
		return ApplyResponse{}, err
	}
	h.push.await(ctx, verdictTime)
	return ApplyResponse{Changes: texts(changes), Report: h.Report(ctx)}, nil
}

// Report implements role.
func (h *home) Report(ctx context.Context) status.Report {
	h.mu.Lock()
	facts, c, m := h.facts, h.config, h.memory
	problems := h.ownProblems()
	h.mu.Unlock()
	want := h.want(facts)
	seen := look(ctx, h.host, want)
	letThrough, letErr := agreedTexts(h.opts.Paths)
	if letErr != nil {
		problems = append(problems, letErr.Error())
	}
	report := status.Report{
		Role:       string(plan.Home),
		Name:       m.Joined.Name,
		Version:    h.opts.Version,
		Running:    true,
		Since:      h.since,
		Tunnel:     h.tunnel(want, seen),
		Forwards:   []status.Forward{},
		Counters:   seen.counters(),
		LetThrough: letThrough,
		Drift:      seen.drift,
		Problems:   slices.Concat(problems, h.keepProblem(), h.push.problems(), h.others.last(), seen.problems),
	}
	for _, f := range c.Forwards {
		s := publishedStatus(f.Published())
		s.Source = plan.ResolveSource(f, facts).String()
		s.Ports = nil
		for _, m := range f.Mappings {
			s.Ports = append(s.Ports, m.String())
		}
		if f.To.IsValid() {
			s.To = f.To.String()
		}
		s.State, s.Reason = h.push.verdict(f.Name)
		report.Forwards = append(report.Forwards, s)
	}
	return report
}

// ownProblems returns what is wrong with this home itself: now, and with its
// memory since the start. The caller holds mu.
func (h *home) ownProblems() []string {
	problems := slices.Clone(h.problems)
	if h.damage != "" {
		problems = append(problems, h.damage)
	}
	return problems
}

// keepProblem says what is wrong with the tunnel.
func (h *home) keepProblem() []string {
	up, _, problem := h.keep.state()
	if up {
		problem = h.keep.rivalProblem()
	}
	if problem == "" {
		return nil
	}
	return []string{problem}
}

func (h *home) tunnel(want plan.State, seen seen) status.Tunnel {
	up, roundTrip, _ := h.keep.state()
	h.mu.Lock()
	publicKey := h.memory.Joined.GatePublicKey
	h.mu.Unlock()
	gate := peerStatus(seen.peer(publicKey))
	gate.RoundTrip = roundTrip
	return status.Tunnel{
		Interface:  want.Routing.Interface,
		Up:         up,
		Device:     string(h.host.Device()),
		DeviceWhy:  h.host.DeviceWhy(),
		PublicKey:  want.WireGuard.PrivateKey.Public(),
		ListenPort: seen.observed.WireGuard.ListenPort,
		MTU:        seen.observed.Routing.MTU,
		Addresses:  bare(seen.observed.Routing.Addresses),
		Public:     asVisitorsKnow(h.push.public(), []string{h.where().String()}),
		Peer:       &gate,
	}
}
