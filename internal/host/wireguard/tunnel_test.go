package wireguard_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

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
	return wireguard.TunnelConfig{PrivateKey: k, Peer: w.gate.key.Public(), Endpoint: gateEndpoint, Address: addr}
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

func TestOpenTunnel(t *testing.T) {
	for own, gate := range map[string]string{"10.99.0.7": "10.99.0.1:7000", "fd99::7": "[fd99::1]:7000"} {
		t.Run(own, func(t *testing.T) {
			w := newWorld(t)
			c := w.guest(t, own)
			w.up(t)
			w.gate.serve(t)
			tunnel := w.openTunnel(t, c)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			conn, err := tunnel.DialContext(ctx, "tcp", gate)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			echo(t, conn)
		})
	}
}

func TestTunnelToNobody(t *testing.T) {
	w := newWorld(t)
	c := w.guest(t, "10.99.0.7")
	c.Endpoint = netip.MustParseAddrPort("198.51.100.99:51820") // nobody there
	w.up(t)
	w.gate.serve(t)
	tunnel := w.openTunnel(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := tunnel.DialContext(ctx, "tcp", "10.99.0.1:7000"); err == nil {
		t.Error("somebody answered in nobody's place")
	}
}

// A tunnel is closed while its connections still have much to say.
func TestTunnelClosesUnderLoad(t *testing.T) {
	w := newWorld(t)
	var guests []wireguard.TunnelConfig
	for i := range 20 {
		guests = append(guests, w.guest(t, fmt.Sprintf("10.99.0.%d", 100+i)))
	}
	w.up(t)
	w.gate.serve(t)
	for _, c := range guests {
		tunnel := w.openTunnel(t, c)
		conn, err := tunnel.DialContext(t.Context(), "tcp", "10.99.0.1:7000")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		done := make(chan error)
		go func() {
			var err error
			for err == nil {
				_, err = conn.Write(make([]byte, 1<<16))
			}
			done <- err
		}()
		if _, err := conn.Read(make([]byte, 1<<16)); err != nil {
			t.Fatal(err)
		}
		tunnel.Close()
		if err := <-done; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection outlived its tunnel")
		}
	}
}

func TestOpenTunnelErrors(t *testing.T) {
	good := wireguard.TunnelConfig{PrivateKey: newKey(t), Peer: newKey(t).Public(), Endpoint: gateEndpoint, Address: netip.MustParseAddr("fd99::7")}
	small, nowhere := good, good
	small.MTU = 1279
	nowhere.Address = netip.Addr{}
	for name, c := range map[string]wireguard.TunnelConfig{"MTU": small, "address": nowhere} {
		if tunnel, err := wireguard.OpenTunnel(t.Context(), c); err == nil {
			tunnel.Close()
			t.Errorf("a bad %s was accepted", name)
		}
	}
	tunnel, err := wireguard.OpenTunnel(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	for _, address := range []string{"gate:1", "10.99.0.1", ""} {
		if _, err := tunnel.DialContext(t.Context(), "tcp", address); err == nil {
			t.Errorf("%q was dialled", address)
		}
	}
	if _, err := tunnel.DialContext(t.Context(), "unix", "10.99.0.1:1"); err == nil {
		t.Error("a network that is none was dialled")
	}
}
