package gate

import (
	"context"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/consent"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/examine"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// traceTime is how long the gate follows visits: the first packet of a
// connection is sent again after a second (RFC 6298).
const traceTime = 1800 * time.Millisecond

// trace follows visits that come from where a home comes from.
func (g *Gate) trace(ctx context.Context, h registry.Home) (doctor.Side, error) {
	side := doctor.Side{Role: string(forward.Gate), Daemon: true, Clock: time.Now(), Forwards: examine.Published([]registry.Home{h})}
	peers, err := g.machine.Peers(ctx)
	if err != nil {
		return side, err
	}
	i := slices.IndexFunc(peers, func(p plan.ObservedPeer) bool { return p.PublicKey == h.PublicKey && p.Endpoint.IsValid() })
	if i < 0 {
		return side, nil
	}
	want := g.memory.now().Plan(time.Now()).Firewall
	t, err := g.machine.TraceVisits(ctx, *want.Gate, want.Table, peers[i].Endpoint.Addr().Unmap())
	if err != nil {
		return side, err
	}
	select {
	case <-ctx.Done():
	case <-time.After(traceTime):
	}
	arrived, drops, byUs, err := t.End(ctx)
	side.Drops = consent.Drops(drops)
	for i, f := range side.Forwards {
		if f.Protocol == forward.TCP.String() {
			side.Forwards[i].Traced, side.Forwards[i].Arrived = true, slices.Contains(arrived, f.Port)
			side.Forwards[i].Unwanted = slices.Contains(byUs, f.Port)
		}
	}
	return side, err
}

// countPackets fills in what the gate has sent on for each forward so far.
func (g *Gate) countPackets(ctx context.Context, homes []registry.Home, forwards []doctor.Forward) error {
	counted, err := g.machine.Counters(ctx, g.memory.now().Config.Tunnel.Interface)
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
