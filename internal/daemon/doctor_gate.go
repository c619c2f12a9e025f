package daemon

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Examine implements examined: the gate by itself, and all its homes as a
// visitor would find them.
func (g *gate) Examine(ctx context.Context) doctor.Evidence {
	g.mu.Lock()
	homes := g.registry.Clone().Homes
	g.mu.Unlock()
	side := g.examine(ctx, homes)
	return doctor.Evidence{Here: side}
}

// Remedies implements examined.
func (g *gate) Remedies(ctx context.Context) []Remedy {
	g.mu.Lock()
	facts := g.facts
	g.mu.Unlock()
	g.others.look(ctx, g.opts.Paths, g.want(facts), facts, g.log)
	return g.others.wanted()
}

// Doctor implements control.Examiner: the gate, and what concerns the home
// that asks.
func (g *gate) Doctor(ctx context.Context, from netip.Addr, kind string) (doctor.Side, error) {
	g.mu.Lock()
	h, err := tenant(g.registry.Clone(), from)
	g.mu.Unlock()
	if err != nil {
		return doctor.Side{}, toPeer(err)
	}
	homes := []registry.Home{h}
	switch kind {
	case control.DoctorBrief, control.DoctorPadded:
		return doctor.Side{Role: string(plan.Gate), Daemon: true, Clock: time.Now()}, nil
	case control.DoctorCounters:
		side := doctor.Side{Role: string(plan.Gate), Daemon: true, Clock: time.Now(), Public: g.public(), Forwards: published(homes)}
		return side, g.countPackets(ctx, homes, side.Forwards)
	case control.DoctorTrace:
		end, err := g.traces.begin(ctx, h.Name)
		if err != nil {
			return doctor.Side{}, err
		}
		defer end()
		return g.trace(ctx, h)
	}
	end, err := g.looks.begin(ctx, h.Name)
	if err != nil {
		return doctor.Side{}, err
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	side := g.examine(ctx, homes)
	side.Strangers = nil // who they are is none of a home's business
	return side, nil
}

// examine looks at the gate, and at some of its homes.
func (g *gate) examine(ctx context.Context, homes []registry.Home) doctor.Side {
	g.mu.Lock()
	facts, problems, failed, c := g.facts, slices.Clone(g.problems), g.failed, g.config
	g.mu.Unlock()
	side := doctor.Side{
		Role: string(plan.Gate), Version: g.opts.Version, Daemon: true, Clock: time.Now(),
		Public: g.public(), Forwards: published(homes),
	}
	side.Machine.Problems = problems
	forwards := slices.Clone(side.Forwards) // to read beside those who write
	n := &notebook{side: &side}
	n.lookAtState(ctx, &g.apply, g.host, g.want(facts), c.Tunnel.Device == config.Auto)
	n.lookAtMachine(existing(g.opts.Paths.State(), g.opts.Paths.Run()), c.Tunnel.Interface)
	n.look("the networks", func() (func(*doctor.Side), error) {
		now, err := g.host.Facts(ctx, c.Tunnel.Interface)
		return func(s *doctor.Side) { s.Machine.Overlap = overlap([]netip.Prefix{c.Tunnel.Prefix4}, now) }, err
	})
	n.lookAtFailure(ctx, failed)
	n.lookAtForwarding(append(uplinks(facts), c.Tunnel.Interface))
	n.look("the gate's addresses", func() (func(*doctor.Side), error) { return g.lookAtAddresses(c) })
	n.look("who listens", func() (func(*doctor.Side), error) { return g.lookAtListeners(c) })
	n.look("the homes", func() (func(*doctor.Side), error) {
		peers, err := g.listen(ctx, homes)
		for i := range peers {
			peers[i].Twins = g.runs.Several(homes[i].Address4)
		}
		return func(s *doctor.Side) { s.Homes = peers }, err
	})
	n.look("strangers", func() (func(*doctor.Side), error) {
		strangers, err := host.UnansweredAt(c.Tunnel.ListenPort)
		return func(s *doctor.Side) { s.Strangers = strangers }, err
	})
	n.look("the services", func() (func(*doctor.Side), error) {
		by4, by6 := probeInside(ctx, homes, g.public(), forwards)
		return func(s *doctor.Side) {
			for i := range forwards {
				s.Forwards[i].Inside, s.Forwards[i].Inside6 = by4[i], by6[i]
			}
		}, nil
	})
	n.lookForDrops(ctx, g.want(facts), facts)
	n.wait.Wait()
	if err := g.countPackets(ctx, homes, side.Forwards); err != nil {
		side.Unseen = append(side.Unseen, "the counters could not be read: "+err.Error())
	}
	return side
}

// traceTime is how long the gate follows visits: the first packet of a
// connection is sent again after a second (RFC 6298).
const traceTime = 1800 * time.Millisecond

// trace follows visits that come from where a home comes from.
func (g *gate) trace(ctx context.Context, h registry.Home) (doctor.Side, error) {
	side := doctor.Side{Role: string(plan.Gate), Daemon: true, Clock: time.Now(), Forwards: published([]registry.Home{h})}
	peers, err := g.host.Peers(ctx)
	if err != nil {
		return side, err
	}
	i := slices.IndexFunc(peers, func(p plan.ObservedPeer) bool { return p.PublicKey == h.PublicKey && p.Endpoint.IsValid() })
	if i < 0 {
		return side, nil
	}
	g.mu.Lock()
	facts := g.facts
	g.mu.Unlock()
	want := g.want(facts).Firewall
	t, err := g.host.TraceVisits(ctx, *want.Gate, want.Table, peers[i].Endpoint.Addr().Unmap())
	if err != nil {
		return side, err
	}
	select {
	case <-ctx.Done():
	case <-time.After(traceTime):
	}
	arrived, drops, byUs, err := t.End(ctx)
	side.Drops = doctorDrops(drops)
	for i, f := range side.Forwards {
		if f.Protocol == forward.TCP.String() {
			side.Forwards[i].Traced, side.Forwards[i].Arrived = true, slices.Contains(arrived, f.Port)
			side.Forwards[i].Unwanted = slices.Contains(byUs, f.Port)
		}
	}
	return side, err
}

// published lists the first port of each range that the homes publish.
func published(homes []registry.Home) []doctor.Forward {
	var list []doctor.Forward
	for _, h := range homes {
		for _, f := range h.Forwards {
			for _, p := range f.Wanted.Ports {
				if len(list) == maxProbes {
					return list
				}
				list = append(list, doctor.Forward{
					Name: f.Wanted.Name, Home: h.Name, Protocol: p.Protocol.String(), Port: p.Range.First,
					Granted: f.Granted, Reason: f.Reason,
				})
			}
		}
	}
	return list
}

// countPackets fills in what the gate has sent on for each forward so far.
func (g *gate) countPackets(ctx context.Context, homes []registry.Home, forwards []doctor.Forward) error {
	g.mu.Lock()
	table := g.config.Tunnel.Interface
	g.mu.Unlock()
	counted, err := g.host.Counters(ctx, table)
	if err != nil {
		return err
	}
	ids := map[string]uint32{}
	for _, h := range homes {
		for _, f := range h.Forwards {
			ids[h.Name+" "+f.Wanted.Name] = f.ID
		}
	}
	for i, f := range forwards {
		forwards[i].After = counted.Forwards[ids[f.Home+" "+f.Name]].In.Packets
	}
	return nil
}

// uplinks are the interfaces that lead to the internet.
func uplinks(facts plan.Facts) []string {
	var names []string
	for _, n := range facts.Networks {
		if n.Default && !slices.Contains(names, n.Interface) {
			names = append(names, n.Interface)
		}
	}
	return names
}

// lookAtAddresses finds public addresses of this machine that are not served. An
// owner who has listed those that are has left the others out himself.
func (g *gate) lookAtAddresses(c config.Gate) (func(*doctor.Side), error) {
	if len(c.Public.Addresses) > 0 {
		return nil, nil
	}
	all, err := host.PublicAddresses(c.Tunnel.Interface)
	served := g.public()
	return func(s *doctor.Side) {
		for _, a := range all {
			if !slices.Contains(served, a.Addr) {
				s.Unserved = append(s.Unserved, doctor.Unserved{Addr: a.Addr, Interface: a.Interface})
			}
		}
	}, err
}

// lookAtListeners finds what else the gate has on published ports, and where
// its sshd is.
func (g *gate) lookAtListeners(c config.Gate) (func(*doctor.Side), error) {
	listeners, err := host.Listeners()
	if err != nil {
		return nil, err
	}
	tunnel := []netip.Prefix{c.Tunnel.Prefix4}
	if c.Tunnel.Prefix6.IsValid() {
		tunnel = append(tunnel, c.Tunnel.Prefix6)
	}
	return func(s *doctor.Side) {
		s.SSHOnlyInTunnel = host.SSHOnlyIn(listeners, tunnel)
		for i, f := range s.Forwards {
			s.Forwards[i].Holder = holder(listeners, f, tunnel)
		}
	}, nil
}

// holder names the program that listens where visitors of a forward arrive.
func holder(listeners []host.Listener, f doctor.Forward, tunnel []netip.Prefix) string {
	for _, l := range listeners {
		inside := slices.ContainsFunc(tunnel, func(p netip.Prefix) bool { return p.Masked().Contains(l.Addr) })
		if l.Port != f.Port || l.Protocol.String() != f.Protocol || l.Addr.IsLoopback() || inside {
			continue
		}
		if name := l.Owner(); name != "" {
			return name
		}
		return "A program"
	}
	return ""
}

// probeInside goes to the granted ports of the homes through the tunnel, by each
// family in which they are published, from an address as visitors have: to the
// gate's own in the tunnel, homes are closed. Without such an address nothing is
// tried.
func probeInside(ctx context.Context, homes []registry.Home, public []netip.Addr, forwards []doctor.Forward) (by4, by6 []doctor.Result) {
	by4, by6 = make([]doctor.Result, len(forwards)), make([]doctor.Result, len(forwards))
	from4, from6 := visitorAddress(public, netip.Addr.Is4), visitorAddress(public, netip.Addr.Is6)
	var wait sync.WaitGroup
	for i, f := range forwards {
		h := slices.IndexFunc(homes, func(h registry.Home) bool { return h.Name == f.Home })
		if !f.Granted || h < 0 {
			continue
		}
		try := func(from, at netip.Addr, result *doctor.Result) {
			if from.IsValid() && at.IsValid() {
				wait.Go(func() { *result = knockFrom(ctx, from, f.Protocol, netip.AddrPortFrom(at, f.Port)) })
			}
		}
		families := familiesOf(homes[h], f.Name)
		if families.IPv4 {
			try(from4, homes[h].Address4, &by4[i])
		}
		if families.IPv6 {
			try(from6, homes[h].Address6, &by6[i])
		}
	}
	wait.Wait()
	return by4, by6
}

// familiesOf returns those in which a forward is published.
func familiesOf(h registry.Home, name string) forward.Families {
	for _, f := range h.Forwards {
		if f.Wanted.Name == name {
			return f.Families
		}
	}
	return forward.Families{}
}
