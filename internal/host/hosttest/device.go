package hosttest

import (
	"context"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Kind implements host.Machine.
func (m *Machine) Kind() (kind plan.Kind, why string) {
	m.Do(func(w *World) { kind, why = w.Kind, w.Why })
	return kind, why
}

// Peers implements host.Machine.
func (m *Machine) Peers(ctx context.Context) (peers []plan.ObservedPeer, err error) {
	err = m.op(ctx, Peers, func(w *World) error { peers = slices.Clone(w.Device.Peers); return nil })
	return peers, err
}

// Renew implements host.Machine.
func (m *Machine) Renew(ctx context.Context, want plan.State, keys []key.Public) error {
	return m.op(ctx, Renew, func(w *World) error { w.renew(w.admitted(want.WireGuard), keys); return nil })
}

// Redial implements host.Machine.
func (m *Machine) Redial(ctx context.Context, want plan.State) error {
	return m.op(ctx, Redial, func(w *World) error {
		w.configure(w.admitted(want.WireGuard))
		w.rebind()
		return nil
	})
}

// Drop implements host.Machine.
func (m *Machine) Drop(ctx context.Context, keys []key.Public) error {
	return m.op(ctx, Drop, func(w *World) error {
		w.Device.Peers = slices.DeleteFunc(w.Device.Peers, func(p plan.ObservedPeer) bool { return slices.Contains(keys, p.PublicKey) })
		return nil
	})
}

// AdmitOnly implements gate.Machine.
func (m *Machine) AdmitOnly(admit func(key.Public) bool) { m.Do(func(w *World) { w.admit = admit }) }

func (w *World) admits(k key.Public) bool { return w.admit == nil || w.admit(k) }

// admitted returns what is wanted, without the peers that may not be there.
func (w *World) admitted(want plan.WireGuard) plan.WireGuard {
	want.Peers = slices.DeleteFunc(slices.Clone(want.Peers), func(p plan.Peer) bool { return !w.admits(p.PublicKey) })
	return want
}

// configure makes the device what is wanted. A peer that stays keeps what the device
// has learned of it, and its endpoint unless another one is wanted than before.
func (w *World) configure(want plan.WireGuard) {
	d := &w.Device
	if !d.Present {
		w.applied = plan.WireGuard{}
		d.Present, w.Routing.LinkPresent, w.Routing.MTU = true, true, want.MTU
	}
	d.PublicKey, d.FirewallMark = want.PrivateKey.Public(), want.FirewallMark
	switch {
	case want.ListenPort != 0:
		d.ListenPort = want.ListenPort
	case d.ListenPort == 0 || w.applied.ListenPort != 0:
		d.ListenPort = w.choosePort()
	}
	d.Peers = slices.DeleteFunc(d.Peers, func(p plan.ObservedPeer) bool { return !wanted(want, p.PublicKey) })
	for _, p := range want.Peers {
		w.put(p)
	}
	w.applied = want
	w.applied.Peers = slices.Clone(want.Peers)
}

// put adds a peer, or changes it.
func (w *World) put(p plan.Peer) {
	d := &w.Device
	i := slices.IndexFunc(d.Peers, func(o plan.ObservedPeer) bool { return o.PublicKey == p.PublicKey })
	if i < 0 {
		i, d.Peers = len(d.Peers), append(d.Peers, plan.ObservedPeer{PublicKey: p.PublicKey})
	}
	o := &d.Peers[i]
	last, known := find(w.applied, p.PublicKey)
	if p.Endpoint.IsValid() && (!o.Endpoint.IsValid() || known && last.Endpoint != p.Endpoint) {
		o.Endpoint = p.Endpoint
	}
	o.PersistentKeepalive = p.PersistentKeepalive
	prefixes := make([]netip.Prefix, len(p.AllowedIPs))
	for n, a := range p.AllowedIPs {
		prefixes[n] = a.Masked()
	}
	for n := range d.Peers { // an address belongs to one peer
		d.Peers[n].AllowedIPs = slices.DeleteFunc(slices.Clone(d.Peers[n].AllowedIPs), func(a netip.Prefix) bool { return slices.Contains(prefixes, a) })
	}
	o.AllowedIPs = prefixes
}

// renew takes peers from the device and adds them again.
func (w *World) renew(want plan.WireGuard, keys []key.Public) {
	for i, o := range w.Device.Peers {
		p, isWanted := find(want, o.PublicKey)
		if !isWanted || !slices.Contains(keys, o.PublicKey) {
			continue
		}
		fresh := plan.ObservedPeer{PublicKey: o.PublicKey, Endpoint: o.Endpoint}
		w.Device.Peers[i] = fresh
		w.put(p)
		if n := slices.IndexFunc(w.applied.Peers, func(a plan.Peer) bool { return a.PublicKey == p.PublicKey }); n >= 0 {
			w.applied.Peers[n] = p
		}
	}
}

// rebind starts again from another port, unless the port is a fixed one, and at the
// endpoints that are wanted.
func (w *World) rebind() {
	if w.applied.ListenPort == 0 {
		w.Device.ListenPort = w.choosePort()
	}
	for _, p := range w.applied.Peers {
		i := slices.IndexFunc(w.Device.Peers, func(o plan.ObservedPeer) bool { return o.PublicKey == p.PublicKey })
		if i >= 0 && p.Endpoint.IsValid() {
			w.Device.Peers[i].Endpoint = p.Endpoint
		}
	}
}

func (w *World) choosePort() uint16 {
	w.ports++
	return w.ports
}

func find(want plan.WireGuard, k key.Public) (plan.Peer, bool) {
	i := slices.IndexFunc(want.Peers, func(p plan.Peer) bool { return p.PublicKey == k })
	if i < 0 {
		return plan.Peer{}, false
	}
	return want.Peers[i], true
}

func wanted(want plan.WireGuard, k key.Public) bool {
	_, found := find(want, k)
	return found
}
