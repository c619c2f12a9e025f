package firewall_test

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// newDualStack is a home whose own line has IPv6, and the way from there to the
// gate: here the LAN's router has the gate's address, and gets what goes there.
func newDualStack(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	ip(t, w.lan, "addr add 2001:db8:a::2/128 dev lo nodad")
	for _, port := range []uint16{5000, 6000, 6002, 7003} {
		serve(t, w.home, port)
	}
	serve(t, w.lan, 80)
	serve(t, w.lan, 5010)
	return w
}

// visitSelf has home visit itself by the gate's IPv6 address, and returns the
// address that the service sees.
func (w *world) visitSelf(t *testing.T, network string, port uint16) string {
	t.Helper()
	c, err := visit(t, w.home, network, netip.Addr{}, netip.AddrPortFrom(gatePublic6, port))
	if err != nil {
		t.Errorf("%s %d: %v", network, port, err)
		return ""
	}
	seen, err := ask(c)
	if err != nil {
		t.Errorf("%s %d: %v", network, port, err)
	}
	return seen
}

// With IPv6 of its own, a home that goes to the gate's address is at its own
// services at once: those bound to any address, remapped, and of the LAN.
func TestHomeVisitsItselfByIPv6(t *testing.T) {
	w := newDualStack(t)
	granted := slices.Concat(mappings(netip.Addr{}, "5000", "7000-7002:6000-6002", "7003-7004"), mappings(lan6, "8080:80", "5010"))
	before := homeWant(granted...) // until the gate has answered
	w.apply(t, before, hairpin(homeWant(granted...), granted...))
	for _, network := range []string{"tcp", "udp"} {
		for _, port := range []uint16{5000, 7000, 7002, 7003, 8080, 5010} {
			if seen := w.visitSelf(t, network, port); seen != "2001:db8:1::10" {
				t.Errorf("%s %d: the service sees %q", network, port, seen)
			}
		}
	}
	// A port that leads to nobody is refused by the machine itself.
	if _, err := visit(t, w.home, "tcp", netip.Addr{}, netip.AddrPortFrom(gatePublic6, 7001)); err == nil {
		t.Error("7001 leads somewhere")
	}
	w.apply(t, before)
	if got, want := w.sentWith(t, forward.UDP, 0, netip.AddrPortFrom(gatePublic6, 5000)), place("lan udp [2001:db8:a::2]:5000"); got != want {
		t.Errorf("no longer granted: ends at %q, want %q", got, want)
	}
}

// What the gate has not granted may be another home's, and whatever else is not
// a visit to this home's service goes out as ever.
func TestOnlyGrantedPortsAreLedHome(t *testing.T) {
	w := newDualStack(t)
	granted := mappings(netip.Addr{}, "5000")
	w.apply(t, hairpin(homeWant(append(granted, mappings(netip.Addr{}, "6000")...)...), granted...))
	for _, p := range []forward.Protocol{forward.TCP, forward.UDP} {
		for _, tt := range []struct {
			what string
			mark int
			port uint16
			at   netip.AddrPort
		}{
			{"a granted port", 0, 5000, netip.MustParseAddrPort("[2001:db8:1::10]:5000")},
			{"bits of others", 0x02000001, 5000, netip.MustParseAddrPort("[2001:db8:1::10]:5000")},
			{"the doctor's visit", 0x20000000, 5000, netip.AddrPortFrom(gatePublic6, 5000)},
			{"not granted", 0, 6000, netip.AddrPortFrom(gatePublic6, 6000)},
			{"not published", 0, 22, netip.AddrPortFrom(gatePublic6, 22)},
		} {
			host := "lan"
			if tt.at.Addr() != gatePublic6 {
				host = "home"
			}
			want := place(fmt.Sprintf("%s %s %s", host, p, tt.at))
			if got := w.sentWith(t, p, tt.mark, netip.AddrPortFrom(gatePublic6, tt.port)); got != want {
				t.Errorf("%s, %s: ends at %q, want %q", tt.what, p, got, want)
			}
		}
	}
	// Another host, and the gate by IPv4, are not meant.
	for _, to := range []string{"[2001:db8:1::20]:5000", "192.168.1.20:5000"} {
		if got, want := w.sentWith(t, forward.UDP, 0, netip.MustParseAddrPort(to)), place("lan udp "+to); got != want {
			t.Errorf("%s: ends at %q", to, got)
		}
	}
}

// sentWith returns where the first packet of a program at home ends that sets a
// mark.
func (w *world) sentWith(t *testing.T, p forward.Protocol, mark int, to netip.AddrPort) place {
	t.Helper()
	w.port++
	port, wildcard := w.port, netip.IPv6Unspecified()
	if to.Addr().Is4() {
		wildcard = netip.IPv4Unspecified()
	}
	from := netip.AddrPortFrom(wildcard, port)
	d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(from), Control: marking(mark)}
	if p == forward.UDP {
		d.LocalAddr = net.UDPAddrFromAddrPort(from)
	}
	must(t, w.home.Do(func() error {
		c, err := d.Dial(p.String(), to.String())
		if errors.Is(err, unix.ECONNREFUSED) {
			return nil // by who got the packet
		}
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("?"))
		return err
	}))
	return w.settle(t)[port]
}

func marking(mark int) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) })
		return cmp.Or(err, failed)
	}
}
