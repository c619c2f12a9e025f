package wireguard

import (
	"context"
	"fmt"
	"math/rand/v2"
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
	Address    netip.Addr     // ours in the tunnel, of IPv4
	To         netip.AddrPort // where the peer takes datagrams, in the tunnel
}

// Tunnel is a WireGuard tunnel to one peer that ends inside this process: it
// carries datagrams between two addresses, without an interface, and without
// privilege. It is safe for concurrent use.
type Tunnel struct {
	device *device.Device
	ends   *datagramTUN
}

// tunnelMTU is that of such a tunnel, in bytes: one that nearly any path passes,
// since IPv6 links have an MTU of at least 1280 bytes (RFC 8200).
const tunnelMTU = 1280 - plan.Overhead

// OpenTunnel opens a tunnel to one peer and begins the handshake. It does not
// wait for it.
func OpenTunnel(ctx context.Context, c TunnelConfig) (*Tunnel, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	const first, count = 49152, 16384 // ports for programs that need one (RFC 6335)
	own := netip.AddrPortFrom(c.Address, uint16(first+rand.IntN(count)))
	ends, err := newDatagramTUN(own, c.To)
	if err != nil {
		return nil, fmt.Errorf("cannot open a tunnel: %w", err)
	}
	silent := &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
	t := &Tunnel{device.NewDevice(ends, bind.New(), silent), ends}
	if err := t.start(c); err != nil {
		t.Close()
		return nil, fmt.Errorf("cannot open a tunnel: %w", err)
	}
	return t, nil
}

func (t *Tunnel) start(c TunnelConfig) error {
	peer := plan.Peer{
		PublicKey:  c.Peer,
		Endpoint:   c.Endpoint,
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(c.To.Addr(), c.To.Addr().BitLen())},
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

// Send sends a message of at most 1172 bytes. Like any datagram, it may be
// lost. An error says that it is too long, or that the tunnel is closed.
func (t *Tunnel) Send(message []byte) error { return t.ends.send(message) }

// Receive waits for the next message from where the others go. The error is
// ctx's once that is done, and net.ErrClosed if the tunnel is closed.
func (t *Tunnel) Receive(ctx context.Context) ([]byte, error) { return t.ends.receive(ctx) }

// Close ends the tunnel. It may be called again.
func (t *Tunnel) Close() { t.device.Close() }
