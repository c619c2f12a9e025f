package gate

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/examine"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/heard"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Diagnose implements local.Daemon: the gate by itself, and all its homes as a visitor
// would find them.
func (c Commands) Diagnose(ctx context.Context) (local.DoctorResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, examine.Time)
	defer cancel()
	now := c.memory.now()
	answer := local.Judged(doctor.Evidence{Here: c.examine(ctx, now.Registry.Homes)})
	c.others.Look(ctx, now.Plan(time.Now()), now.Facts)
	answer.Remedies = c.others.Wanted()
	return answer, nil
}

// Doctor implements control.Examiner.
func (c channel) Doctor(ctx context.Context, from netip.Addr, kind string) (control.Look, error) {
	side, err := c.lookFor(ctx, from, kind)
	return examine.ToWire(side), err
}

// lookFor looks at the gate, and at what concerns the home that asks.
func (c channel) lookFor(ctx context.Context, from netip.Addr, kind string) (doctor.Side, error) {
	now := c.memory.now()
	h, err := tenant(now.Registry, from)
	if err != nil {
		return doctor.Side{}, toPeer(err)
	}
	homes := []registry.Home{h}
	switch kind {
	case control.DoctorBrief, control.DoctorPadded:
		return doctor.Side{Role: string(forward.Gate), Daemon: true, Clock: time.Now()}, nil
	case control.DoctorCounters:
		side := doctor.Side{Role: string(forward.Gate), Daemon: true, Clock: time.Now(), Public: now.Public(), Forwards: examine.Published(homes)}
		return side, c.countPackets(ctx, homes, side.Forwards)
	case control.DoctorTrace:
		end, err := c.traces.Begin(ctx, h.Name)
		if err != nil {
			return doctor.Side{}, err
		}
		defer end()
		return c.trace(ctx, h)
	}
	end, err := c.looks.Begin(ctx, h.Name)
	if err != nil {
		return doctor.Side{}, err
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, examine.Time)
	defer cancel()
	side := c.examine(ctx, homes)
	side.Strangers, side.Revoked = nil, nil // who they are is none of a home's business
	return side, nil
}

// examine looks at the gate, and at some of its homes.
func (g *Gate) examine(ctx context.Context, homes []registry.Home) doctor.Side {
	state := g.memory.now()
	facts, c, want := state.Facts, state.Config, state.Plan(time.Now())
	problems, failed := g.memory.wrong()
	side := doctor.Side{
		Role: string(forward.Gate), Version: g.version, Daemon: true, Clock: time.Now(),
		Public: state.Public(), Forwards: examine.Published(homes), Revoked: examine.Revoked(state.Registry.Former),
	}
	side.Machine.Problems = problems
	forwards := slices.Clone(side.Forwards) // to read beside those who write
	n := examine.Begin(&side)
	n.State(func() (examine.Seen, error) { return g.reconciler.Examine(ctx, want) })
	kind, _ := g.machine.Kind()
	n.Device(ctx, kind, c.Tunnel.Device == config.Auto)
	n.Machine(g.paths.Existing(), c.Tunnel.Interface)
	n.Look("the networks", func() (func(*doctor.Side), error) {
		now, err := g.machine.Facts(ctx, c.Tunnel.Interface)
		return func(s *doctor.Side) { s.Machine.Overlap = examine.Overlap([]netip.Prefix{c.Tunnel.Prefix4}, now) }, err
	})
	n.Failure(ctx, failed)
	n.Forwarding(append(slices.Clone(facts.Uplinks), c.Tunnel.Interface))
	n.Addresses(c, state.Public())
	n.Listeners(c)
	n.Look("the homes", func() (func(*doctor.Side), error) {
		peers, err := heard.Listen(ctx, g.machine.Peers, homes, g.silences)
		for i := range peers {
			peers[i].Twins = g.runs.Several(homes[i].Address4)
		}
		return func(s *doctor.Side) { s.Homes = peers }, err
	})
	n.Look("strangers", func() (func(*doctor.Side), error) {
		strangers, err := host.UnansweredAt(c.Tunnel.ListenPort)
		return func(s *doctor.Side) { s.Strangers = strangers }, err
	})
	n.Look("the services", func() (func(*doctor.Side), error) {
		by4, by6 := examine.Inside(ctx, homes, state.Public(), forwards)
		return func(s *doctor.Side) {
			for i := range forwards {
				s.Forwards[i].Inside, s.Forwards[i].Inside6 = by4[i], by6[i]
			}
		}, nil
	})
	n.Others(ctx, want, facts)
	n.Wait()
	if err := g.countPackets(ctx, homes, side.Forwards); err != nil {
		side.Unseen = append(side.Unseen, "the counters could not be read: "+err.Error())
	}
	return side
}
