package home

import (
	"context"
	"errors"
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// moveTo makes the tunnel try the gate at an address, from another port and
// with a new handshake.
func (l *link) moveTo(ctx context.Context, endpoint netip.AddrPort) error {
	l.mu.Lock()
	l.endpoint = endpoint
	l.mu.Unlock()
	if _, err := l.reconciler.Round(ctx); err != nil {
		return err
	}
	return l.reconciler.Alone(ctx, func() error { return l.machine.Redial(ctx, l.wantNow()) })
}

// beginAgain makes a new handshake with the gate, from the same port.
func (l *link) beginAgain(ctx context.Context) error {
	return l.reconciler.Alone(ctx, func() error {
		want := l.wantNow()
		return l.machine.Renew(ctx, want, []key.Public{l.joined().GatePublicKey})
	})
}

// wantNow is want by what was found out last.
func (l *link) wantNow() plan.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wantWith(l.config, l.facts)
}

// joined returns what this home was told when it joined. It never changes.
func (l *link) joined() *membership.Membership {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memory.Joined
}

// configuration returns the file's contents in force.
func (l *link) configuration() config.Home {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.config
}

// gatePeer returns the gate as the WireGuard device sees it.
func (l *link) gatePeer(ctx context.Context) (plan.ObservedPeer, error) {
	l.mu.Lock()
	gate := l.memory.Joined.GatePublicKey
	l.mu.Unlock()
	peers, err := l.machine.Peers(ctx)
	if err != nil {
		return plan.ObservedPeer{}, err
	}
	for _, p := range peers {
		if p.PublicKey == gate {
			return p, nil
		}
	}
	return plan.ObservedPeer{}, errors.New("the tunnel's device does not have the gate as its peer")
}

// where returns where the gate is tried at now.
func (l *link) where() netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endpoint
}

// lastEndpoint returns where the gate last answered.
func (l *link) lastEndpoint() netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memory.LastEndpoint
}

// rememberEndpoint notes where the gate has just answered.
func (l *link) rememberEndpoint(ctx context.Context) error {
	gate, err := l.gatePeer(ctx)
	if err != nil || !gate.Endpoint.IsValid() || gate.Endpoint == l.lastEndpoint() {
		return err
	}
	return l.remember(func(m *membership.Memory) { m.LastEndpoint = gate.Endpoint })
}

// hasRoute reports whether this machine can send to addr outside the tunnel.
func (l *link) hasRoute(ctx context.Context, addr netip.Addr) bool {
	l.mu.Lock()
	mark := l.config.Marks.Outer
	l.mu.Unlock()
	_, err := l.machine.MTUTo(ctx, addr, mark)
	return err == nil
}

// ends returns our own address in the tunnel and the gate's control channel.
func (l *link) ends() (own netip.Addr, gate netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	j := l.memory.Joined
	return j.Addresses[0], netip.AddrPortFrom(j.GateAddresses[0], j.ControlPort)
}

// agreeMTU notes the MTU of the tunnel at the gate. The smaller one of both sides
// is the one that packets fit through.
func (l *link) agreeMTU(gate int) {
	l.mu.Lock()
	changed := l.gateMTU != gate
	l.gateMTU = gate
	l.mu.Unlock()
	if changed {
		l.loop.Kick()
	}
}

// nextGeneration numbers the next list of forwards, and has the number on disk
// before the gate hears of it.
func (l *link) nextGeneration(theirs uint64) (uint64, error) {
	err := l.remember(func(m *membership.Memory) { m.Generation = forward.GenerationAfter(m.Generation, theirs) })
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memory.Generation, err
}

// leaveTunnel takes the gate out of the WireGuard device, or lets it in again and
// makes a handshake.
func (l *link) leaveTunnel(ctx context.Context, leave bool) error {
	l.mu.Lock()
	l.left = leave
	endpoint := l.endpoint
	l.mu.Unlock()
	if leave || !endpoint.IsValid() {
		_, err := l.reconciler.Round(ctx)
		return err
	}
	return l.moveTo(ctx, endpoint)
}

// hasLeft reports whether this run has left the tunnel to another one.
func (l *link) hasLeft() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left
}
