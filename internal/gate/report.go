package gate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/gate/state"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/reconcile"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Report returns how the gate is: from what it knows, without a look at the machine.
func (g *Gate) Report(context.Context) status.Report {
	now, time, seen := g.memory.now(), time.Now(), g.reconciler.Seen()
	problems, _ := g.memory.wrong()
	report := status.Report{
		Role:       string(forward.Gate),
		Version:    g.version,
		Running:    true,
		Since:      g.since,
		Seen:       seen.At,
		Tunnel:     g.tunnel(now, seen),
		Input:      g.trials().input(),
		Counters:   seen.Counters(),
		LetThrough: g.others.Agreed(),
		Drift:      reconcile.Texts(seen.Drift),
		Problems:   slices.Concat(problems, g.twins(now.Registry.Homes), g.others.Last(), seen.Problems),
	}
	for _, h := range now.Registry.Homes {
		report.Homes = append(report.Homes, g.home(h, seen.Peer(h.PublicKey), time))
		report.Forwards = append(report.Forwards, forwards(h, seen)...)
	}
	for _, v := range now.Registry.Invites {
		if v.Open(time) {
			report.Invites = append(report.Invites, status.Invite{Name: v.Name, Expires: v.Expires})
		}
	}
	return report.Complete()
}

func (g *Gate) tunnel(now state.State, seen reconcile.Seen) status.Tunnel {
	kind, why := g.machine.Kind()
	t := seen.Tunnel(now.Config.Tunnel.Interface, now.Key.Public(), kind, why)
	t.Public = now.Public()
	return t
}

// twins names the homes that run on several machines.
func (g *Gate) twins(homes []registry.Home) []string {
	var problems []string
	for _, h := range homes {
		if g.runs.Several(h.Address4) {
			problems = append(problems, fmt.Sprintf("two machines use the key of home %s: the one that was started last has the tunnel; run gatelodge down on the other, or give it an invite of its own", h.Name))
		}
	}
	return problems
}

// forwards are those of one home.
func forwards(h registry.Home, seen reconcile.Seen) []status.Forward {
	var list []status.Forward
	for _, f := range h.Forwards {
		s := reconcile.Published(f.Wanted)
		s.Home, s.State, s.Reason = h.Name, status.Refused, f.Why()
		if f.Granted {
			s.State = status.Granted
		}
		if _, is := f.InForce(); is {
			s.ID = f.ID
			s.Families = f.Families.String()
			seen.Count(&s)
		}
		list = append(list, s)
	}
	return list
}

// home reports one home.
func (g *Gate) home(h registry.Home, p status.Peer, now time.Time) status.Home {
	s := status.Home{
		Name:       h.Name,
		PublicKey:  h.PublicKey,
		Addresses:  plan.Valid(h.Address4, h.Address6),
		Enrolled:   h.Enrolled,
		Connected:  g.silences.Hears(h.PublicKey, now),
		Peer:       p,
		Generation: h.Generation,
	}
	for _, f := range h.Forwards {
		if f.Granted {
			s.Forwards++
		} else {
			s.Refused++
		}
	}
	return s
}
