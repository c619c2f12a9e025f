package wireguard_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/wireguard"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// guest is one more peer of the gate, without an interface.
func (w *world) guest(t *testing.T, address string) wireguard.TunnelConfig {
	t.Helper()
	k, addr := newKey(t), netip.MustParseAddr(address)
	w.gate.want.Peers = append(w.gate.want.Peers, plan.Peer{
		PublicKey:  k.Public(),
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())},
	})
	return wireguard.TunnelConfig{
		PrivateKey: k, Peer: w.gate.key.Public(), Endpoint: gateEndpoint,
		Address: addr, To: netip.MustParseAddrPort("10.99.0.1:7000"),
	}
}

func (w *world) openTunnel(t *testing.T, c wireguard.TunnelConfig) *wireguard.Tunnel {
	t.Helper()
	var tunnel *wireguard.Tunnel
	w.home.do(t, func() (err error) {
		tunnel, err = wireguard.OpenTunnel(t.Context(), c)
		return err
	})
	t.Cleanup(tunnel.Close)
	return tunnel
}

// echoDatagrams answers every datagram to e's address in the tunnel with what it
// says.
func (e *end) echoDatagrams(t *testing.T) {
	t.Helper()
	var c net.PacketConn
	e.do(t, func() (err error) {
		c, err = net.ListenPacket("udp4", ":7000")
		return err
	})
	var serving sync.WaitGroup
	serving.Go(func() {
		b := make([]byte, 1<<16)
		for n, from, err := c.ReadFrom(b); err == nil; n, from, err = c.ReadFrom(b) {
			_, _ = c.WriteTo(b[:n], from)
		}
	})
	t.Cleanup(func() { _ = c.Close(); serving.Wait() })
}

// exchange sends a message until it comes back.
func exchange(t *testing.T, tunnel *wireguard.Tunnel, message string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err := tunnel.Send([]byte(message)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		got, err := tunnel.Receive(ctx)
		cancel()
		if err == nil && string(got) == message {
			return
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	t.Fatalf("%d bytes do not come back", len(message))
}

func TestOpenTunnel(t *testing.T) {
	w := newWorld(t)
	c := w.guest(t, "10.99.0.7")
	w.up(t)
	w.gate.echoDatagrams(t)
	tunnel := w.openTunnel(t, c)
	for _, size := range []int{5, 0, 1, 1172} {
		exchange(t, tunnel, string(make([]byte, size)))
	}
	if err := tunnel.Send(make([]byte, 1173)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("a message that is too long: %v", err)
	}
	tunnel.Close()
	if err := tunnel.Send(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send when closed: %v", err)
	}
	if _, err := tunnel.Receive(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive when closed: %v", err)
	}
}

func TestTunnelToNobody(t *testing.T) {
	w := newWorld(t)
	c := w.guest(t, "10.99.0.7")
	c.Endpoint = netip.MustParseAddrPort("198.51.100.99:51820") // nobody there
	w.up(t)
	w.gate.echoDatagrams(t)
	tunnel := w.openTunnel(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := tunnel.Send([]byte("hello")); err != nil {
		t.Error(err)
	}
	if got, err := tunnel.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%q, %v", got, err)
	}
}

// A tunnel is closed while it still has much to say.
func TestTunnelClosesUnderLoad(t *testing.T) {
	w := newWorld(t)
	var guests []wireguard.TunnelConfig
	for i := range 20 {
		guests = append(guests, w.guest(t, fmt.Sprintf("10.99.0.%d", 100+i)))
	}
	w.up(t)
	w.gate.echoDatagrams(t)
	for _, c := range guests {
		tunnel := w.openTunnel(t, c)
		exchange(t, tunnel, "hello")
		done := make(chan error)
		go func() {
			var err error
			for err == nil {
				err = tunnel.Send(make([]byte, 1000))
			}
			done <- err
		}()
		if _, err := tunnel.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		tunnel.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestOpenTunnelErrors(t *testing.T) {
	good := wireguard.TunnelConfig{
		PrivateKey: newKey(t), Peer: newKey(t).Public(), Endpoint: gateEndpoint,
		Address: netip.MustParseAddr("10.99.0.7"), To: netip.MustParseAddrPort("10.99.0.1:7000"),
	}
	for name, spoil := range map[string]func(*wireguard.TunnelConfig){
		"address":        func(c *wireguard.TunnelConfig) { c.Address = netip.Addr{} },
		"IPv6 address":   func(c *wireguard.TunnelConfig) { c.Address = netip.MustParseAddr("fd99::7") },
		"gate":           func(c *wireguard.TunnelConfig) { c.To = netip.AddrPort{} },
		"port":           func(c *wireguard.TunnelConfig) { c.To = netip.MustParseAddrPort("10.99.0.1:0") },
		"IPv6 of a gate": func(c *wireguard.TunnelConfig) { c.To = netip.MustParseAddrPort("[fd99::1]:7000") },
	} {
		c := good
		spoil(&c)
		tunnel, err := wireguard.OpenTunnel(t.Context(), c)
		if err == nil {
			tunnel.Close()
			t.Errorf("a bad %s was accepted", name)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := wireguard.OpenTunnel(ended, good); !errors.Is(err, context.Canceled) {
		t.Errorf("in an ended context: %v", err)
	}
}
