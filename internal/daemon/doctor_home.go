package daemon

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Examine implements examined: this home, the way to its gate, what the gate
// says of itself, and a visit from outside.
func (h *home) Examine(ctx context.Context) doctor.Evidence {
	h.mu.Lock()
	facts, c, m, problems, failed := h.facts, h.config, h.memory, h.ownProblems(), h.failed
	h.mu.Unlock()
	side := doctor.Side{
		Role: string(plan.Home), Name: m.Joined.Name, Version: h.opts.Version, Daemon: true, Clock: time.Now(),
		Forwards: h.doctorForwards(c, facts),
	}
	side.Machine.Problems = problems
	e := doctor.Evidence{Here: side}
	forwards := slices.Clone(side.Forwards) // to read beside those who write
	n := &notebook{side: &e.Here}
	n.lookAtFailure(ctx, failed)
	h.lookHere(ctx, n, c, facts, forwards)
	var tunnel doctor.Tunnel
	var gate gateSaid
	n.look("the way to the gate", func() (func(*doctor.Side), error) {
		tunnel = h.lookAtTunnel(ctx)
		if tunnel.Answers {
			gate = h.askGate(ctx, forwards)
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
	n.wait.Wait()
	e.There, e.Missing = gate.side, gate.missing
	if !tunnel.Answers {
		e.Missing = doctor.Silent
	}
	return e
}

// lookHere looks at this home by itself.
func (h *home) lookHere(ctx context.Context, n *notebook, c config.Home, facts plan.Facts, forwards []doctor.Forward) {
	h.mu.Lock()
	joined := inTunnel(h.memory.Joined)
	h.mu.Unlock()
	n.lookAtState(ctx, &h.apply, h.host, h.want(facts), c.Tunnel.Device == config.Auto)
	n.lookAtMachine(existing(h.opts.Paths.State(), h.opts.Paths.Run()), c.Tunnel.Interface)
	n.look("the networks", func() (func(*doctor.Side), error) {
		now, err := h.host.Facts(ctx, c.Tunnel.Interface)
		return func(s *doctor.Side) { s.Machine.Overlap = overlap(joined, now) }, err
	})
	n.lookAtForwarding(append(devices(c, facts), c.Tunnel.Interface))
	n.look("the way to the internet", func() (func(*doctor.Side), error) {
		lacks, err := host.NoWay4()
		return func(s *doctor.Side) { s.Machine.NoWay4 = lacks }, err
	})
	n.look("who listens", func() (func(*doctor.Side), error) { return lookForServices(forwards, c.Tunnel.Interface) })
	n.look("the services", func() (func(*doctor.Side), error) { return knockAtServices(ctx, forwards), nil })
	n.lookForDrops(ctx, h.want(facts), facts)
}

// Remedies implements examined.
func (h *home) Remedies(ctx context.Context) []Remedy {
	h.mu.Lock()
	facts := h.facts
	h.mu.Unlock()
	h.others.look(ctx, h.opts.Paths, h.want(facts), facts, h.log)
	return h.others.wanted()
}

// inTunnel returns the addresses of both ends.
func inTunnel(j *membership) []netip.Prefix {
	var list []netip.Prefix
	for _, a := range slices.Concat(j.Addresses, j.GateAddresses) {
		list = append(list, netip.PrefixFrom(a, a.BitLen()))
	}
	return list
}

// doctorForwards lists the first port of each range that this home publishes.
func (h *home) doctorForwards(c config.Home, facts plan.Facts) []doctor.Forward {
	var list []doctor.Forward
	for _, f := range plan.Followed(c.Forwards, facts) {
		state, reason := h.push.verdict(f.Name)
		for _, m := range f.Mappings {
			if len(list) == maxProbes {
				return list
			}
			list = append(list, doctor.Forward{
				Name: f.Name, Protocol: m.Public.Protocol.String(), Port: m.Public.Range.First, LocalPort: m.Local.First,
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
				if l.Port == f.LocalPort && l.Protocol.String() == f.Protocol {
					s.Forwards[i].Listeners = append(s.Forwards[i].Listeners, netip.AddrPortFrom(l.Addr, l.Port))
				}
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
			results[i] = knock(ctx, f.Protocol, netip.AddrPortFrom(at, f.LocalPort))
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

// lookAtTunnel looks at the way to the gate.
func (h *home) lookAtTunnel(ctx context.Context) doctor.Tunnel {
	h.mu.Lock()
	t := doctor.Tunnel{Tried: h.endpoint, Answered: h.memory.LastEndpoint}
	mark := h.config.Marks.Outer
	h.mu.Unlock()
	var wait sync.WaitGroup
	wait.Go(func() { t.Names = lookUp(ctx, h.endpoints()) })
	wait.Go(func() {
		const tries = 2 // a single packet may be lost
		for range tries {
			rtt, err := h.keep.ping(ctx)
			if t.Answers, t.RoundTrip = err == nil, rtt; t.Answers {
				return
			}
		}
		t.Alone = h.keep.daemonAlone(ctx)
		t.Carries = t.Alone || h.keep.carries(ctx)
	})
	wait.Wait()
	if t.Tried.IsValid() {
		_, err := h.host.MTUTo(ctx, t.Tried.Addr(), mark)
		t.Route = err == nil
	}
	t.Silence = h.keep.silence()
	t.GaveWay, t.Rival = h.hasLeft(), h.keep.hasRival()
	return t
}

// lookUp looks all endpoints up, as the keeper would.
func lookUp(ctx context.Context, endpoints []string) []doctor.Name {
	names := make([]doctor.Name, len(endpoints))
	var wait sync.WaitGroup
	for i, e := range endpoints {
		wait.Go(func() {
			name, _, err := net.SplitHostPort(e)
			_, notAddr := netip.ParseAddr(name)
			n := doctor.Name{Endpoint: e, Literal: err == nil && notAddr == nil}
			addrs, err := resolve(ctx, e)
			if err != nil {
				n.Error = err.Error()
			}
			for _, a := range addrs {
				n.Addresses = append(n.Addresses, a.Addr())
			}
			names[i] = n
		})
	}
	wait.Wait()
	return names
}
