package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
)

// cut checks that an established connection goes no further, though nobody but
// home ends it.
func cut(t *testing.T, why string, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := c.Write([]byte("?")); err != nil {
		return
	}
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("%s: %s to %s still answers with %d bytes", why, c.RemoteAddr().Network(), c.RemoteAddr(), n)
	}
}

func answers(t *testing.T, why string, c net.Conn) {
	t.Helper()
	if _, err := ask(c); err != nil {
		t.Errorf("%s: %s to %s: %v", why, c.RemoteAddr().Network(), c.RemoteAddr(), err)
	}
}

// fromTheGate opens connections to home's tunnel addresses as root at the gate
// does: by the gate's own rules, and from an address of the internet.
func (w *world) fromTheGate(t *testing.T, port uint16) []net.Conn {
	t.Helper()
	var list []net.Conn
	for from, own := range map[netip.Addr]netip.Addr{gatePublic4: homeTunnel4, gatePublic6: homeTunnel6} {
		for _, network := range []string{"tcp", "udp"} {
			c, err := visit(t, w.gate, network, from, netip.AddrPortFrom(own, port))
			must(t, err)
			answers(t, "before", c)
			list = append(list, c)
		}
	}
	return list
}

// What came in while the table was away gets no further once it is back, and
// what is published goes on.
func TestConnectionsOfTheWindowDie(t *testing.T) {
	w := newWorld(t)
	want := homeWant(mappings(netip.Addr{}, "5000")...)
	serve(t, w.home, 5000)
	serveAt(t, w.home, "10.99.0.2:22")
	serveAt(t, w.home, "[fd99::2]:22")
	w.apply(t, want)
	stay := w.fromTheGate(t, 5000)
	w.takeAway(t, w.home)
	slipped := w.fromTheGate(t, 22)
	w.apply(t, want)
	for _, c := range slipped {
		cut(t, "slipped in", c)
	}
	for _, c := range stay {
		answers(t, "published", c)
	}
}

// What is no longer published ends at home itself, whatever the gate does: of
// this machine, of a LAN device, and where the same port now leads elsewhere.
func TestUnpublishedEndsAtHome(t *testing.T) {
	w := newWorld(t)
	ip(t, w.lan, "route add default via 192.168.1.10\nroute add default via 2001:db8:1::10")
	before := slices.Concat(mappings(netip.Addr{}, "5000", "5001", "5002"),
		mappings(lan4, "6000", "6001"), mappings(lan6, "6000", "6001"))
	after := slices.Concat(mappings(netip.Addr{}, "5000", "6001", "5002:5003"), mappings(lan4, "6000"), mappings(lan6, "6000"))
	for _, port := range []uint16{5000, 5001, 5002, 5003, 6001} {
		serve(t, w.home, port)
	}
	serve(t, w.lan, 6000)
	serve(t, w.lan, 6001)
	w.apply(t, homeWant(before...))
	old := map[uint16][]net.Conn{}
	for _, port := range []uint16{5000, 5001, 5002, 6000, 6001} {
		old[port] = w.fromTheGate(t, port)
	}
	w.apply(t, homeWant(after...))
	// The rules alone stop visitors' packets to what is gone.
	for _, c := range old[5001] {
		cut(t, "no longer published", c)
	}
	must(t, w.home.Do(func() error {
		return firewall.DeleteVisits([]netip.Addr{homeTunnel4, homeTunnel6}, before, after)
	}))
	for port, list := range old {
		for _, c := range list {
			switch udp := c.RemoteAddr().Network() == "udp"; {
			case port == 5000 || port == 6000:
				answers(t, "still published", c)
			case port == 5001:
				cut(t, "no longer published", c)
			case udp:
				answers(t, "led elsewhere", c)
			default:
				cut(t, "led elsewhere", c)
			}
		}
	}
}

// Only the daemon speaks to the gate in the tunnel.
func TestOnlyTheDaemonSpeaksForHome(t *testing.T) {
	w := newWorld(t)
	want := homeWant(mappings(netip.Addr{}, "5000")...)
	want.Home.User = 1234
	w.apply(t, want)
	for _, port := range []uint16{7117, 22} {
		serve(t, w.gate, port)
	}
	for _, c := range []struct {
		uid  int
		port uint16
		in   bool
	}{{1234, 7117, true}, {1234, 22, false}, {65534, 7117, false}, {0, 7117, false}, {65534, 22, false}} {
		for own, gate := range map[netip.Addr]netip.Addr{homeTunnel4: gateTunnel4, homeTunnel6: gateTunnel6} {
			for _, network := range []string{"tcp", "udp"} {
				err := w.as(c.uid, func() error { return converse(network, own, netip.AddrPortFrom(gate, c.port)) })
				if (err == nil) != c.in {
					t.Errorf("user %d to %s port %d of %s: %v", c.uid, network, c.port, gate, err)
				}
			}
		}
	}
	if n := w.counters(t, w.home).Totals.Local.Packets; n < 16 {
		t.Errorf("%d packets counted, want 16 or more", n)
	}
}

// as does something at home as a user of that number.
func (w *world) as(uid int, do func() error) error {
	return w.home.Do(func() error {
		if _, err := unix.SetfsuidRetUid(uid); err != nil {
			return err
		}
		defer unix.SetfsuidRetUid(0)
		return do()
	})
}

// converse opens a connection and gets an answer.
func converse(network string, from netip.Addr, to netip.AddrPort) error {
	d := net.Dialer{Timeout: 500 * time.Millisecond, LocalAddr: localAddr(network, from)}
	c, err := d.Dial(network, to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := c.Write([]byte("?")); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	_, err = c.Read(make([]byte, 100))
	return err
}
