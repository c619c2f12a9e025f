package gate

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
)

// scene looks at what may prove something later.
func (g *Gate) scene(ctx context.Context) (scene, error) {
	now := g.memory.now()
	sessions, err := g.machine.Sessions(slices.Concat(now.Config.Firewall.SSHPorts, now.Facts.SSHPorts))
	if err != nil {
		return scene{}, fmt.Errorf("cannot look at this machine's connections: %w", err)
	}
	peers, err := g.machine.Peers(ctx)
	if err != nil {
		return scene{}, err
	}
	s := scene{sessions: sessions, received: map[key.Public]uint64{}, tunnel: g.silences.Connected(now.Registry.Homes, time.Now()) > 0}
	for _, p := range peers {
		s.received[p.PublicKey] = p.ReceivedBytes
	}
	return s, nil
}

// glance is how often a gate looks for what proves a policy on trial: often
// enough to see a connection that only knocks.
const glance = 200 * time.Millisecond

// proveTrial keeps the policy on trial once it is seen to cut nobody off, and
// returns when none is on trial.
func (g *Gate) proveTrial(ctx context.Context) error {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		if done, err := g.tryProof(ctx); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// tryProof looks once. It is done where nothing is on trial.
func (g *Gate) tryProof(ctx context.Context) (done bool, err error) {
	t := g.trials().trial()
	if t == nil {
		return true, nil
	}
	now, err := g.scene(ctx)
	if err != nil {
		return false, err
	}
	kept, err := g.trials().keepIfProved(t, now)
	if kept {
		g.loop.Kick()
	}
	return kept, err
}

// trial returns the policy on trial, or nil.
func (ts trials) trial() *trial {
	m := ts.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inputs.trial
}

// keepIfProved keeps the policy on trial if what is seen now proves it.
func (ts trials) keepIfProved(t *trial, now scene) (kept bool, err error) {
	m := ts.memory
	m.writing.Lock()
	defer m.writing.Unlock()
	from, proved := ts.proved(t, now)
	if !proved {
		return false, nil
	}
	err = ts.keep(t.policy, "a new ssh connection came through, from "+from.String())
	return err == nil, err
}

// proved reports whether the trial still goes on and what is seen now ends it
// well, and the address that an owner has come from.
func (ts trials) proved(t *trial, now scene) (from netip.Addr, proved bool) {
	m := ts.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inputs.end(m.events)
	if m.inputs.trial != t {
		return netip.Addr{}, false
	}
	return now.proves(t.before, m.state.Facts.Public)
}

// proves reports whether a new ssh connection of somebody else's has come
// through since, and the tunnel lives if it did; and where from.
func (s scene) proves(before scene, own []netip.Addr) (from netip.Addr, proved bool) {
	alive := !before.tunnel
	for peer, n := range s.received {
		alive = alive || n > before.received[peer]
	}
	if !alive {
		return netip.Addr{}, false
	}
	for _, c := range s.sessions {
		from := c.Remote.Addr()
		if !from.IsLoopback() && from != c.Local.Addr() && !slices.Contains(own, from) && !slices.Contains(before.sessions, c) {
			return from, true
		}
	}
	return netip.Addr{}, false
}
