package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// kernel is a WireGuard interface of the kernel's.
type kernel struct {
	name   string
	client client

	mu      sync.Mutex
	applied plan.WireGuard
}

// client is what we use of wgctrl.
type client interface {
	Device(name string) (*wgtypes.Device, error)
	ConfigureDevice(name string, cfg wgtypes.Config) error
	Close() error
}

func openKernel(name string) (*kernel, error) {
	c, err := wgctrl.New()
	if err != nil {
		return nil, fmt.Errorf("cannot talk to the kernel's WireGuard: %w", err)
	}
	return &kernel{name: name, client: c}, nil
}

// Kind implements Device.
func (k *kernel) Kind() plan.Kind { return plan.Kernel }

// Apply implements Device.
func (k *kernel) Apply(_ context.Context, want plan.WireGuard) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := makeLink(k.name, want.MTU); err != nil {
		return err
	}
	observed, err := k.observe()
	if err != nil {
		return err
	}
	if err := k.client.ConfigureDevice(k.name, kernelConfig(configure(observed, k.applied, want))); err != nil {
		return fmt.Errorf("the kernel's WireGuard refuses its configuration: %w", err)
	}
	k.applied = want
	return nil
}

// makeLink makes the interface where there is none. A TUN interface that the
// embedded device has left gives way: the kernel has got its module since.
func makeLink(name string, mtu int) error {
	link, err := netlink.LinkByName(name)
	if err == nil && link.Type() == "wireguard" {
		return nil
	}
	if err == nil {
		err = Remove(name)
	}
	if err != nil && !errors.As(err, new(netlink.LinkNotFoundError)) {
		return fmt.Errorf("cannot look at interface %s: %w", name, err)
	}
	if err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu}}); err != nil {
		return fmt.Errorf("cannot make WireGuard interface %s: %w", name, err)
	}
	return nil
}

// Observe implements Device.
func (k *kernel) Observe(context.Context) (plan.ObservedWireGuard, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.observe()
}

func (k *kernel) observe() (plan.ObservedWireGuard, error) {
	d, err := k.client.Device(k.name)
	if errors.Is(err, os.ErrNotExist) {
		return plan.ObservedWireGuard{Kind: plan.Kernel}, nil
	}
	if err != nil {
		return plan.ObservedWireGuard{}, fmt.Errorf("cannot ask the kernel's WireGuard: %w", err)
	}
	return observedKernel(d), nil
}

func observedKernel(d *wgtypes.Device) plan.ObservedWireGuard {
	o := plan.ObservedWireGuard{
		Present:      true,
		Kind:         plan.Kernel,
		PublicKey:    key.Public(d.PublicKey),
		ListenPort:   uint16(d.ListenPort),
		FirewallMark: uint32(d.FirewallMark),
	}
	for _, p := range d.Peers {
		peer := plan.ObservedPeer{
			PublicKey:           key.Public(p.PublicKey),
			PersistentKeepalive: p.PersistentKeepaliveInterval,
			LatestHandshake:     p.LastHandshakeTime,
			ReceivedBytes:       uint64(p.ReceiveBytes),
			SentBytes:           uint64(p.TransmitBytes),
		}
		if p.Endpoint != nil {
			at := p.Endpoint.AddrPort()
			peer.Endpoint = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		}
		for _, a := range p.AllowedIPs {
			addr, _ := netip.AddrFromSlice(a.IP)
			bits, _ := a.Mask.Size()
			peer.AllowedIPs = append(peer.AllowedIPs, netip.PrefixFrom(addr.Unmap(), bits))
		}
		o.Peers = append(o.Peers, peer)
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
	cfg := wgtypes.PeerConfig{PublicKey: wgtypes.Key(p.PublicKey), Remove: p.Remove}
	if p.Remove {
		return cfg
	}
	keepalive := p.PersistentKeepalive
	cfg.PersistentKeepaliveInterval = &keepalive
	cfg.ReplaceAllowedIPs = true
	if p.SetEndpoint {
		cfg.Endpoint = net.UDPAddrFromAddrPort(p.Endpoint)
	}
	for _, a := range p.AllowedIPs {
		cfg.AllowedIPs = append(cfg.AllowedIPs, net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())})
	}
	return cfg
}

// Rebind implements Device. The kernel takes port 0 as: any other. It begins
// a handshake by itself only after 15 seconds of silence; a peer that is
// removed and added again has no session, so that its next packet begins one.
func (k *kernel) Rebind(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var cfg wgtypes.Config
	if port := 0; k.applied.ListenPort == 0 {
		cfg.ListenPort = &port
	}
	for _, p := range k.applied.Peers {
		if p.Endpoint.IsValid() {
			cfg.Peers = append(cfg.Peers, kernelPeer(peerChange{Peer: p, Remove: true}), kernelPeer(peerChange{Peer: p, SetEndpoint: true}))
		}
	}
	if err := k.client.ConfigureDevice(k.name, cfg); err != nil {
		return fmt.Errorf("cannot begin anew from another port: %w", err)
	}
	return nil
}

// Close implements Device. The kernel's interface needs nobody to run it.
func (k *kernel) Close() error { return k.client.Close() }
