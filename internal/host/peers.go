package host

import (
	"context"
	"slices"
	"sync"

	"github.com/gatelodge/gatelodge/internal/host/wireguard"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// peers keeps a key that has just been revoked from coming back. A plan may be
// older than the revocation and still be under way: so the one who configures the
// device asks once more who may be in it, under a lock that Drop takes as well.
type peers struct {
	mu    sync.Mutex
	admit func(key.Public) bool // nil: all that are wanted
}

// AdmitOnly has the host ask, whenever it configures the WireGuard device,
// whether a peer that is wanted may still be in it. It is called before the
// host is used; what it is given is called from several goroutines.
func (h *Host) AdmitOnly(admit func(key.Public) bool) { h.peers.admit = admit }

// Drop takes peers from the WireGuard device, at once and whatever else is
// under way. They do not come back while they are not admitted.
func (h *Host) Drop(ctx context.Context, keys []key.Public) error {
	h.peers.mu.Lock()
	defer h.peers.mu.Unlock()
	return h.device.Drop(ctx, keys)
}

// barred returns the peers that are wanted and may not be there.
func (p *peers) barred(want plan.WireGuard) map[key.Public]bool {
	out := map[key.Public]bool{}
	for _, w := range want.Peers {
		if p.admit != nil && !p.admit(w.PublicKey) {
			out[w.PublicKey] = true
		}
	}
	return out
}

// admitted returns what is wanted, without the peers that may not be there.
func (p *peers) admitted(want plan.WireGuard) plan.WireGuard {
	return without(want, p.barred(want))
}

func without(want plan.WireGuard, out map[key.Public]bool) plan.WireGuard {
	want.Peers = slices.DeleteFunc(slices.Clone(want.Peers), func(w plan.Peer) bool { return out[w.PublicKey] })
	return want
}

func (p *peers) apply(ctx context.Context, d wireguard.Device, want plan.WireGuard) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return d.Apply(ctx, p.admitted(want))
}

func (p *peers) renew(ctx context.Context, d wireguard.Device, want plan.WireGuard, keys []key.Public) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return d.Renew(ctx, p.admitted(want), keys)
}

// diff compares what was observed with what is wanted of it now. A peer that is
// not admitted counts neither way: it is on its way out.
func (h *Host) diff(observed plan.Observed, want plan.State) []plan.Step {
	out := h.peers.barred(want.WireGuard)
	want.WireGuard = without(want.WireGuard, out)
	observed.WireGuard.Peers = slices.DeleteFunc(slices.Clone(observed.WireGuard.Peers), func(o plan.ObservedPeer) bool { return out[o.PublicKey] })
	return plan.Diff(observed, want)
}
