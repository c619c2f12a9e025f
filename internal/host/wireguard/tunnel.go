package wireguard

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"golang.zx2c4.com/wireguard/device"

	"github.com/gatelodge/gatelodge/internal/host/wireguard/bind"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// TunnelConfig describes one end of a tunnel inside this process.
type TunnelConfig struct {
	PrivateKey key.Private
	Peer       key.Public
	Endpoint   netip.AddrPort // of the peer
	Address    netip.Addr     // ours in the tunnel
	MTU        int            // of the tunnel, in bytes; 0: one that nearly any path passes
}

// Tunnel is a WireGuard tunnel to one peer that ends inside this process: with
// a TCP/IP of its own, without an interface, and without privilege.
type Tunnel struct {
	device *device.Device
	stack  *stackTUN
	peer   key.Public
}

// IPv6 links have an MTU of at least 1280 bytes (RFC 8200), those inside the
// tunnel too. An IPv4 tunnel's default leaves room for WireGuard's overhead
// within that.
const (
	minMTU6     = 1280
	defaultMTU4 = minMTU6 - plan.Overhead
)

// OpenTunnel opens a tunnel to one peer and begins the handshake. It does not
// wait for it: see the deadline of DialContext.
func OpenTunnel(ctx context.Context, c TunnelConfig) (*Tunnel, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stack, err := newStackTUN(c.Address, c.mtu())
	if err != nil {
		return nil, fmt.Errorf("cannot open a tunnel: %w", err)
	}
	silent := &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
	t := &Tunnel{device.NewDevice(stack, bind.New(), silent), stack, c.Peer}
	if err := t.start(c); err != nil {
		t.Close()
		return nil, fmt.Errorf("cannot open a tunnel: %w", err)
	}
	return t, nil
}

func (c TunnelConfig) mtu() int {
	switch {
	case c.MTU != 0:
		return c.MTU
	case c.Address.Is6():
		return minMTU6
	default:
		return defaultMTU4
	}
}

func (t *Tunnel) start(c TunnelConfig) error {
	peer := plan.Peer{
		PublicKey:  c.Peer,
		Endpoint:   c.Endpoint,
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)},
	}
	err := t.device.IpcSet(uapi(configuration{PrivateKey: &c.PrivateKey, Peers: []peerChange{newPeer(peer)}}))
	if err != nil {
		return err
	}
	if err := t.device.Up(); err != nil {
		return err
	}
	// Where there is no way to the peer now, the next packet tries again.
	_ = shakeHands(t.device, c.Peer)
	return nil
}

// DialContext connects to an address in the tunnel, such as "10.99.0.1:55107".
// The network is "tcp" or "udp", with or without "4" or "6". Names are not
// looked up.
func (t *Tunnel) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("cannot dial %q in the tunnel: %w", address, err)
	}
	return t.stack.dial(ctx, network, to)
}

// Close ends the tunnel and all its connections.
func (t *Tunnel) Close() { t.device.Close() }
