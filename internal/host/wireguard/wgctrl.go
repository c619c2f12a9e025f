package wireguard

import (
	"net"
	"net/netip"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// observedKernel puts what wgctrl says of a device into our terms.
func observedKernel(d *wgtypes.Device) plan.ObservedWireGuard {
	o := plan.ObservedWireGuard{
		Present:      true,
		Kind:         plan.Kernel,
		PublicKey:    key.Public(d.PublicKey),
		ListenPort:   uint16(d.ListenPort),
		FirewallMark: uint32(d.FirewallMark),
	}
	for _, p := range d.Peers {
		o.Peers = append(o.Peers, observedPeer(p))
	}
	return o
}

func observedPeer(p wgtypes.Peer) plan.ObservedPeer {
	o := plan.ObservedPeer{
		PublicKey:           key.Public(p.PublicKey),
		PersistentKeepalive: p.PersistentKeepaliveInterval,
		LatestHandshake:     p.LastHandshakeTime,
		ReceivedBytes:       uint64(p.ReceiveBytes),
		SentBytes:           uint64(p.TransmitBytes),
	}
	if p.Endpoint != nil {
		at := p.Endpoint.AddrPort()
		o.Endpoint = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	for _, a := range p.AllowedIPs {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			bits, _ := a.Mask.Size()
			o.AllowedIPs = append(o.AllowedIPs, netip.PrefixFrom(addr.Unmap(), bits))
		}
	}
	return o
}

// kernelConfig puts a change into wgctrl's terms.
func kernelConfig(c configuration) wgtypes.Config {
	var cfg wgtypes.Config
	if c.PrivateKey != nil {
		k := wgtypes.Key(c.PrivateKey.Reveal())
		cfg.PrivateKey = &k
	}
	if c.ListenPort != nil {
		port := int(*c.ListenPort)
		cfg.ListenPort = &port
	}
	if c.FirewallMark != nil {
		mark := int(*c.FirewallMark)
		cfg.FirewallMark = &mark
	}
	for _, p := range c.Peers {
		cfg.Peers = append(cfg.Peers, kernelPeer(p))
	}
	return cfg
}

func kernelPeer(p peerChange) wgtypes.PeerConfig {
	cfg := wgtypes.PeerConfig{
		PublicKey:                   wgtypes.Key(p.PublicKey),
		Remove:                      p.Remove,
		PersistentKeepaliveInterval: p.Keepalive,
		ReplaceAllowedIPs:           p.Replace,
	}
	if p.Endpoint.IsValid() {
		cfg.Endpoint = net.UDPAddrFromAddrPort(p.Endpoint)
	}
	for _, a := range p.AllowedIPs {
		mask := net.CIDRMask(a.Bits(), a.Addr().BitLen())
		cfg.AllowedIPs = append(cfg.AllowedIPs, net.IPNet{IP: a.Addr().AsSlice(), Mask: mask})
	}
	return cfg
}
