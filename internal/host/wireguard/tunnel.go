package wireguard

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// TunnelConfig describes one end of a tunnel inside this process.
type TunnelConfig struct {
	PrivateKey key.Private
	Peer       key.Public
	Endpoint   netip.AddrPort // of the peer
	Address    netip.Addr     // ours in the tunnel
}

// Tunnel is a WireGuard tunnel that ends inside this process: with a TCP/IP
// of its own, without an interface, and without privilege.
type Tunnel struct {
	device *device.Device
	stack  *netstack.Net
}

// tunnelMTU passes any path that IPv6 passes, less WireGuard's overhead.
const tunnelMTU = 1280 - plan.Overhead

// OpenTunnel opens a tunnel to one peer. The first connection makes the
// handshake.
func OpenTunnel(_ context.Context, c TunnelConfig) (*Tunnel, error) {
	t, stack, err := netstack.CreateNetTUN([]netip.Addr{c.Address}, nil, tunnelMTU)
	if err != nil {
		return nil, fmt.Errorf("cannot open a tunnel: %w", err)
	}
	silent := &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
	tunnel := &Tunnel{device.NewDevice(t, newBind(), silent), stack}
	want := plan.WireGuard{PrivateKey: c.PrivateKey, Peers: []plan.Peer{{
		PublicKey:  c.Peer,
		Endpoint:   c.Endpoint,
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)},
	}}}
	err = tunnel.device.IpcSet(uapi(configure(plan.ObservedWireGuard{}, plan.WireGuard{}, want)))
	if err == nil {
		err = tunnel.device.Up()
	}
	if err != nil {
		tunnel.Close()
		return nil, fmt.Errorf("cannot open a tunnel: %w", err)
	}
	return tunnel, nil
}

// DialContext connects to an address in the tunnel.
func (t *Tunnel) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return t.stack.DialContext(ctx, network, address)
}

// Close ends the tunnel and all its connections.
func (t *Tunnel) Close() { t.device.Close() }
