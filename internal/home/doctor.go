package home

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/examine"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Diagnose implements local.Daemon: this home, the way to its gate, what the gate
// says of itself, and a visit from outside.
func (c Commands) Diagnose(ctx context.Context) (local.DoctorResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, examine.Time)
	defer cancel()
	answer := local.Judged(c.evidence(ctx))
	l := c.link
	l.mu.Lock()
	facts := l.facts
	l.mu.Unlock()
	c.others.Look(ctx, l.want(facts), facts)
	answer.Remedies = c.others.Wanted()
	return answer, nil
}

// examination looks at the way to the gate, and at what visitors find at its end.
type examination struct{ link *link }

// evidence looks at both sides.
func (h *Home) evidence(ctx context.Context) doctor.Evidence {
	l := h.link
	x := examination{l}
	l.mu.Lock()
	facts, c, m, problems, failed := l.facts, l.config, l.memory, l.ownProblems(), l.failed
	l.mu.Unlock()
	side := doctor.Side{
		Role: string(forward.Home), Name: m.Joined.Name, Version: h.version, Daemon: true, Clock: time.Now(),
		Forwards: x.doctorForwards(c, facts),
	}
	side.Machine.Problems = problems
	e := doctor.Evidence{Here: side}
	forwards := slices.Clone(side.Forwards) // to read beside those who write
	n := examine.Begin(&e.Here)
	n.Failure(ctx, failed)
	h.lookHere(ctx, n, c, facts, forwards)
	var tunnel doctor.Tunnel
	var gate gateSaid
	n.Look("the way to the gate", func() (func(*doctor.Side), error) {
		tunnel = x.lookAtTunnel(ctx)
		if tunnel.Answers {
			gate = x.askGate(ctx, forwards)
			tunnel.Small, tunnel.Large, tunnel.Observed = gate.small, gate.large, gate.observed
		}
		return func(s *doctor.Side) {
			tunnel.MTU = s.Tunnel.MTU
			s.Tunnel = tunnel
			for i, r := range gate.outside {
				s.Forwards[i].Outside = r
			}
		}, nil
	})
	n.Wait()
	e.There, e.Missing = gate.side, gate.missing
	if !tunnel.Answers {
		e.Missing = doctor.Silent
	}
	return e
}

// lookHere looks at this home by itself.
func (h *Home) lookHere(ctx context.Context, n *examine.Notebook, c config.Home, facts plan.Facts, forwards []doctor.Forward) {
	l := h.link
	want, joined := l.want(facts), inTunnel(l.joined())
	n.State(func() (examine.Seen, error) { return l.reconciler.Examine(ctx, want) })
	kind, _ := l.machine.Kind()
	n.Device(ctx, kind, c.Tunnel.Device == config.Auto)
	n.Machine(h.paths.Existing(), c.Tunnel.Interface)
	n.Look("the networks", func() (func(*doctor.Side), error) {
		now, err := l.machine.Facts(ctx, c.Tunnel.Interface)
		return func(s *doctor.Side) { s.Machine.Overlap = examine.Overlap(joined, now) }, err
	})
	n.Forwarding(append(devices(c, facts), c.Tunnel.Interface))
	n.Look("the way to the internet", func() (func(*doctor.Side), error) {
		lacks, err := host.NoWay4()
		return func(s *doctor.Side) { s.Machine.NoWay4 = lacks }, err
	})
	n.Look("who listens", func() (func(*doctor.Side), error) { return lookForServices(forwards, c.Tunnel.Interface) })
	n.Look("the services", func() (func(*doctor.Side), error) { return knockAtServices(ctx, forwards), nil })
	n.Others(ctx, want, facts)
}

// inTunnel returns the addresses of both ends.
func inTunnel(j *membership.Membership) []netip.Prefix {
	var list []netip.Prefix
	for _, a := range slices.Concat(j.Addresses, j.GateAddresses) {
		list = append(list, netip.PrefixFrom(a, a.BitLen()))
	}
	return list
}

// doctorForwards lists the first port of each range that this home publishes.
func (x examination) doctorForwards(c config.Home, facts plan.Facts) []doctor.Forward {
	var list []doctor.Forward
	for _, f := range plan.Followed(c.Forwards, facts) {
		state, reason := x.link.push.verdict(f.Name)
		for _, m := range f.Mappings {
			if len(list) == examine.MaxProbes {
				return list
			}
			list = append(list, doctor.Forward{
				Name: f.Name, Protocol: m.Public.Protocol.String(), Port: m.Public.Range.First, LastPort: m.Public.Range.Last, LocalPort: m.Local.First,
				To: f.To, Hidden: plan.ResolveSource(f, facts) == forward.Masquerade, ByRouter: f.To.IsValid() && plan.LeadsToInternet(f.To, facts),
				WantsIPv6: f.Families().IPv6, Granted: state == status.Granted, Pending: state == status.Pending, Reason: reason,
			})
		}
	}
	return list
}

// devices are the interfaces behind which this home has targets.
func devices(c config.Home, facts plan.Facts) []string {
	var names []string
	for _, f := range plan.Followed(c.Forwards, facts) {
		for _, n := range facts.Networks {
			if f.To.IsValid() && n.Prefix.Contains(f.To) && !slices.Contains(names, n.Interface) {
				names = append(names, n.Interface)
			}
		}
	}
	return names
}

// lookForServices finds who listens on the local ports, and on which interface.
func lookForServices(forwards []doctor.Forward, tunnel string) (func(*doctor.Side), error) {
	listeners, err := host.Listeners()
	if err != nil {
		return nil, err
	}
	bound, err := host.BoundListeners()
	return func(s *doctor.Side) {
		for i, f := range forwards {
			if f.To.IsValid() {
				continue
			}
			for _, l := range listeners {
				s.Forwards[i].Listens(l.Protocol.String(), netip.AddrPortFrom(l.Addr, l.Port))
			}
			s.Forwards[i].OnlyOn = bound.OnlyOn(f.Protocol, f.LocalPort, tunnel)
		}
	}, err
}

// knockAtServices tries the devices behind this home, and services of its own by
// IPv4, as itself.
func knockAtServices(ctx context.Context, forwards []doctor.Forward) func(*doctor.Side) {
	results := make([]doctor.Result, len(forwards))
	var wait sync.WaitGroup
	for i, f := range forwards {
		at := f.To
		if !at.IsValid() {
			at = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		wait.Go(func() {
			results[i] = examine.Knock(ctx, f.Protocol, netip.AddrPortFrom(at, f.LocalPort))
			if f.Protocol == forward.UDP.String() && results[i] == doctor.TimedOut {
				results[i] = doctor.Untried // silence says nothing
			}
		})
	}
	wait.Wait()
	return func(s *doctor.Side) {
		for i, r := range results {
			s.Forwards[i].Local = r
		}
	}
}
