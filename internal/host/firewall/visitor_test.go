package firewall_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// patience is how long an exchange may take that must succeed.
const patience = 10 * time.Second

// serve answers every visitor of a port, TCP and UDP, on all addresses of a
// namespace, with the address that it sees of the visitor.
func serve(t testing.TB, ns *netns.Namespace, port uint16) {
	t.Helper()
	serveAt(t, ns, fmt.Sprintf(":%d", port))
}

func serveAt(t testing.TB, ns *netns.Namespace, at string) {
	t.Helper()
	must(t, ns.Do(func() error {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go serveTCP(l)
		c, err := net.ListenPacket("udp", at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		go serveUDP(c)
		return nil
	}))
}

func serveTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buffer := make([]byte, 1)
			for {
				if _, err := c.Read(buffer); err != nil {
					return
				}
				fmt.Fprintln(c, plainAddr(c.RemoteAddr()))
			}
		}()
	}
}

func serveUDP(c net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		_, from, err := c.ReadFrom(buffer)
		if err != nil {
			return
		}
		_, _ = c.WriteTo([]byte(plainAddr(from)+"\n"), from)
	}
}

// plainAddr is the address without its port.
func plainAddr(a net.Addr) string {
	return netip.MustParseAddrPort(a.String()).Addr().Unmap().String()
}

// visit opens a connection from a visitor's address.
func visit(t testing.TB, ns *netns.Namespace, network string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	t.Helper()
	var c net.Conn
	err := ns.Do(func() (err error) {
		d := net.Dialer{Timeout: patience, LocalAddr: localAddr(network, from)}
		c, err = d.Dial(network, to.String())
		return err
	})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func localAddr(network string, a netip.Addr) net.Addr {
	if strings.HasPrefix(network, "udp") {
		return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
}

// ask says one byte and returns the answer: the address the service sees.
func ask(c net.Conn) (string, error) {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("?")); err != nil {
		return "", err
	}
	buffer := make([]byte, 100)
	n, err := c.Read(buffer)
	return strings.TrimSpace(string(buffer[:n])), err
}

// sees checks what address the service behind a public port sees.
func (w *world) sees(t testing.TB, network string, from, public netip.Addr, port uint16, want netip.Addr) {
	t.Helper()
	to := netip.AddrPortFrom(public, port)
	c, err := visit(t, w.internet, network, from, to)
	if err != nil {
		t.Errorf("%s %s > %s: %v", network, from, to, err)
		return
	}
	if got, err := ask(c); err != nil || got != want.String() {
		t.Errorf("%s %s > %s: the service sees %q, %v; want %s", network, from, to, got, err, want)
	}
}

// everyWay runs do for TCP and UDP of IPv4 and IPv6.
func everyWay(do func(network string, visitor, public netip.Addr)) {
	for _, network := range []string{"tcp", "udp"} {
		do(network, visitors[0], gatePublic4)
		do(network, visitors[2], gatePublic6)
	}
}

// The services are bound to no address, and home has another default route:
// for UDP, that takes the recording of visitors at home.
func TestServicesOfHomeSeeTheVisitor(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000", "7000-7002")), homeWant(mappings(netip.Addr{}, "5000", "7000-7002:6000-6002")...))
	for _, port := range []uint16{5000, 6000, 6002} {
		serve(t, w.home, port)
	}
	visits := func(network string, visitor, public netip.Addr) {
		for _, port := range []uint16{5000, 7000, 7002} {
			w.sees(t, network, visitor, public, port, visitor)
		}
	}
	everyWay(visits)
	// Where somebody else's rules come before ours by source address, the mark
	// alone has to do.
	ip(t, w.home, "rule del pref 103")
	ip(t, w.home, "rule del pref 103", "-6")
	everyWay(visits)
}

// Without a way of its own for IPv4, this machine's answers find one in our
// table, and nothing else gets out by that.
func TestHomeWithIPv6Alone(t *testing.T) {
	w := newWorld(t)
	ip(t, w.home, "route del default\naddr del 192.168.1.10/24 dev eth0\nrule add pref 32768 fwmark 0/0xf0000000 lookup 6700")
	w.apply(t, gateWant(toHome(1, "5000")), homeWant(mappings(netip.Addr{}, "5000")...))
	serve(t, w.home, 5000)
	everyWay(func(network string, visitor, public netip.Addr) { w.sees(t, network, visitor, public, 5000, visitor) })
	for network, want := range map[string]error{"tcp": unix.EHOSTUNREACH, "udp": unix.EPERM} {
		err := w.home.Do(func() error { return converse(network, netip.Addr{}, netip.MustParseAddrPort("203.0.113.10:80")) })
		if !errors.Is(err, want) {
			t.Errorf("home's own %s into the tunnel: %v, want %v", network, err, want)
		}
	}
}

func TestDevicesOfTheLAN(t *testing.T) {
	w := newWorld(t)
	serve(t, w.lan, 80)
	serve(t, w.lan, 5000)
	w.apply(t,
		gateWant(toHome(1, "5000", "8080", "5001", "8081")),
		homeWant(slices.Concat(
			mappings(lan4, "5000", "8080:80"), mappings(lan6, "5000", "8080:80"),
			masqueraded(mappings(lan4, "5001:5000", "8081:80")), masqueraded(mappings(lan6, "5001:5000", "8081:80")),
		)...))
	home := func(visitor netip.Addr) netip.Addr {
		if visitor.Is4() {
			return addr("192.168.1.10")
		}
		return addr("2001:db8:1::10")
	}
	everyWay(func(network string, visitor, public netip.Addr) {
		w.sees(t, network, visitor, public, 5001, home(visitor))
		w.sees(t, network, visitor, public, 8081, home(visitor))
	})
	// Devices that keep the visitor's address must answer through home.
	ip(t, w.lan, "route add default via 192.168.1.10\nroute add default via 2001:db8:1::10")
	everyWay(func(network string, visitor, public netip.Addr) {
		w.sees(t, network, visitor, public, 5000, visitor)
		w.sees(t, network, visitor, public, 8080, visitor)
	})
}

func TestMasqueradeAtTheGateIsPerForward(t *testing.T) {
	w := newWorld(t)
	hidden := toHome(2, "6000")
	hidden.Masquerade = true
	w.apply(t, gateWant(toHome(1, "5000"), hidden), homeWant(append(mappings(netip.Addr{}, "5000"), hiding(mappings(netip.Addr{}, "6000"))...)...))
	serve(t, w.home, 5000)
	serve(t, w.home, 6000)
	everyWay(func(network string, visitor, public netip.Addr) {
		gate := gateTunnel4
		if visitor.Is6() {
			gate = gateTunnel6
		}
		w.sees(t, network, visitor, public, 5000, visitor)
		w.sees(t, network, visitor, public, 6000, gate)
	})
}

func TestTheGateReachesItsOwnForwards(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000")), homeWant(mappings(netip.Addr{}, "5000")...))
	serve(t, w.home, 5000)
	serveAt(t, w.gate, "127.0.0.1:5000")
	for to, want := range map[netip.Addr]string{gatePublic4: "198.51.100.2", gatePublic6: "2001:db8:a::2", addr("127.0.0.1"): "127.0.0.1"} {
		c, err := visit(t, w.gate, "tcp", netip.Addr{}, netip.AddrPortFrom(to, 5000))
		must(t, err)
		if got, err := ask(c); err != nil || got != want {
			t.Errorf("the service at %s sees %q, %v; want %s", to, got, err, want)
		}
	}
}

func TestReservedPortsStayTheGates(t *testing.T) {
	w := newWorld(t)
	greedy := gateWant(toHome(1, "1-65535"))
	greedy.Gate.Input.Accept = ports("53/udp")
	w.apply(t, greedy, homeWant(mappings(netip.Addr{}, "1-65535")...))
	for _, c := range []struct {
		ports []string
		at    string
	}{
		{[]string{"22/tcp", "53/udp", "51820/udp"}, "gate %s %s:%d"},
		{[]string{"22/udp", "53/tcp", "51820/tcp", "1/tcp", "65535/udp"}, "home %s %s:%d"},
	} {
		for _, p := range ports(c.ports...) {
			for _, public := range []netip.Addr{gatePublic4, gatePublic6} {
				visitor, local := visitors[0], homeTunnel4
				if public.Is6() {
					visitor, local = visitors[2], homeTunnel6
				}
				if strings.HasPrefix(c.at, "gate") {
					local = public
				}
				to := netip.AddrPortFrom(public, p.Range.First)
				want := place(strings.Replace(c.at, "%s %s:%d", fmt.Sprintf("%s %s", p.Protocol, netip.AddrPortFrom(local, p.Range.First)), 1))
				if got := w.ends(t, w.probe(w.internet, "eth0", p.Protocol, visitor, to.String())); got != want {
					t.Errorf("%s of %s ends at %q, want %q", p, public, got, want)
				}
			}
		}
	}
}
