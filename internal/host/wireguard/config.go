package wireguard

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// configuration is a change of a device's configuration, in the terms that
// both kinds of device share. What is nil or empty stays as it is.
type configuration struct {
	PrivateKey   *key.Private
	ListenPort   *uint16 // 0: any free one
	FirewallMark *uint32
	Peers        []peerChange
}

// peerChange adds, changes or removes one peer.
type peerChange struct {
	PublicKey key.Public
	Remove    bool
	Endpoint  netip.AddrPort // zero: stays
	Keepalive *time.Duration // nil: stays
	// AllowedIPs are added to those that the peer has, or with Replace take
	// their place.
	AllowedIPs []netip.Prefix
	Replace    bool
}

// configure returns what must change for the observed device to become the
// wanted one. What already is as wanted is not touched, so that sessions live
// on. before is what was wanted at the last time.
func configure(observed plan.ObservedWireGuard, before, want plan.WireGuard) configuration {
	var c configuration
	if observed.PublicKey != want.PrivateKey.Public() {
		c.PrivateKey = &want.PrivateKey
	}
	// A device that has no port at all could not get the last one it tried.
	if want.ListenPort != observed.ListenPort && (want.ListenPort != 0 || before.ListenPort != 0) || observed.ListenPort == 0 {
		c.ListenPort = &want.ListenPort
	}
	if observed.FirewallMark != want.FirewallMark {
		c.FirewallMark = &want.FirewallMark
	}
	for _, o := range observed.Peers {
		if _, wanted := find(want.Peers, o.PublicKey); !wanted {
			c.Peers = append(c.Peers, peerChange{PublicKey: o.PublicKey, Remove: true})
		}
	}
	for _, p := range want.Peers {
		i := slices.IndexFunc(observed.Peers, func(o plan.ObservedPeer) bool { return o.PublicKey == p.PublicKey })
		if i < 0 {
			c.Peers = append(c.Peers, newPeer(p))
			continue
		}
		last, known := find(before.Peers, p.PublicKey)
		moved := known && last.Endpoint != p.Endpoint
		if change := changePeer(observed.Peers[i], p, moved); !change.isEmpty() {
			c.Peers = append(c.Peers, change)
		}
	}
	return c
}

func find(peers []plan.Peer, k key.Public) (plan.Peer, bool) {
	i := slices.IndexFunc(peers, func(p plan.Peer) bool { return p.PublicKey == k })
	if i < 0 {
		return plan.Peer{}, false
	}
	return peers[i], true
}

// newPeer sets all of a peer.
func newPeer(p plan.Peer) peerChange {
	return peerChange{
		PublicKey:  p.PublicKey,
		Endpoint:   p.Endpoint,
		Keepalive:  &p.PersistentKeepalive,
		AllowedIPs: p.AllowedIPs,
		Replace:    true,
	}
}

// changePeer returns what differs. moved says that the wanted endpoint is
// another than it was; otherwise the one that the device has learned is newer.
func changePeer(o plan.ObservedPeer, want plan.Peer, moved bool) peerChange {
	c := peerChange{PublicKey: want.PublicKey}
	if want.Endpoint != o.Endpoint && (moved || !o.Endpoint.IsValid()) {
		c.Endpoint = want.Endpoint
	}
	if o.PersistentKeepalive != want.PersistentKeepalive {
		c.Keepalive = &want.PersistentKeepalive
	}
	wanted := masked(want.AllowedIPs)
	lacking := without(wanted, o.AllowedIPs)
	switch {
	case len(without(o.AllowedIPs, wanted)) > 0:
		c.Replace, c.AllowedIPs = true, wanted
	case len(lacking) > 0:
		c.AllowedIPs = lacking // no packet meets a peer without any
	}
	return c
}

func (c peerChange) isEmpty() bool {
	return !c.Remove && !c.Endpoint.IsValid() && c.Keepalive == nil && !c.Replace && len(c.AllowedIPs) == 0
}

// restart returns the change that makes the device start again with the peers
// whose endpoints are known.
func restart(applied plan.WireGuard) configuration {
	var c configuration
	if applied.ListenPort == 0 {
		c.ListenPort = &applied.ListenPort
	}
	for _, p := range applied.Peers {
		if p.Endpoint.IsValid() {
			c.Peers = append(c.Peers, peerChange{PublicKey: p.PublicKey, Endpoint: p.Endpoint})
		}
	}
	return c
}

// again takes a peer from the device and adds it again.
func again(p plan.Peer) []peerChange {
	return []peerChange{{PublicKey: p.PublicKey, Remove: true}, newPeer(p)}
}

// dropped takes peers from the device.
func dropped(peers []key.Public) configuration {
	var c configuration
	for _, k := range peers {
		c.Peers = append(c.Peers, peerChange{PublicKey: k, Remove: true})
	}
	return c
}

// renewed returns those of the named peers that are wanted and that the device
// has, with the endpoint that each is to start again with: the one that the
// device has learned, unless another one is wanted than before.
func renewed(observed plan.ObservedWireGuard, before, want plan.WireGuard, named []key.Public) []plan.Peer {
	var list []plan.Peer
	for _, o := range observed.Peers {
		p, wanted := find(want.Peers, o.PublicKey)
		if !wanted || !slices.Contains(named, o.PublicKey) {
			continue
		}
		last, known := find(before.Peers, o.PublicKey)
		if moved := known && last.Endpoint != p.Endpoint; o.Endpoint.IsValid() && (!moved || !p.Endpoint.IsValid()) {
			p.Endpoint = o.Endpoint
		}
		list = append(list, p)
	}
	return list
}

// remember returns the peers that were wanted before, with those named as they
// are wanted now.
func remember(before, want []plan.Peer, named []key.Public) []plan.Peer {
	list := slices.Clone(before)
	for i, p := range list {
		if now, wanted := find(want, p.PublicKey); wanted && slices.Contains(named, p.PublicKey) {
			list[i] = now
		}
	}
	return list
}

// masked returns prefixes as devices keep them, without bits of a host.
func masked(prefixes []netip.Prefix) []netip.Prefix {
	list := make([]netip.Prefix, len(prefixes))
	for i, p := range prefixes {
		list[i] = p.Masked()
	}
	return list
}

// without returns the members of a that are not in b.
func without(a, b []netip.Prefix) []netip.Prefix {
	var rest []netip.Prefix
	for _, p := range a {
		if !slices.Contains(b, p) {
			rest = append(rest, p)
		}
	}
	return rest
}
