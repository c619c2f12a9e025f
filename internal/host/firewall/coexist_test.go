package firewall_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// droppingAll is a foreign firewall that drops everything, but for one rule about our mark.
const droppingAll = `table inet foreign {
	chain input {
		type filter hook input priority filter; policy drop
		meta mark and 0x08000000 == 0x08000000 accept
		meta l4proto { icmp, icmpv6 } accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop
		meta mark and 0x08000000 == 0x08000000 accept
	}
}
`

func TestForeignFirewallsKnowOurPackets(t *testing.T) {
	w := newWorld(t)
	w.apply(t,
		gateWant(toHome(1, "5000", "6000")),
		homeWant(append(mappings(netip.Addr{}, "5000"), append(masqueraded(mappings(lan4, "6000")), masqueraded(mappings(lan6, "6000"))...)...)...))
	serve(t, w.home, 5000)
	serve(t, w.lan, 6000)
	serve(t, w.gate, 7117)
	nft(t, w.gate, droppingAll)
	nft(t, w.home, droppingAll)
	everyWay(func(network string, visitor, public netip.Addr) {
		w.sees(t, network, visitor, public, 5000, visitor)
		masked := addr("192.168.1.10")
		if visitor.Is6() {
			masked = addr("2001:db8:1::10")
		}
		w.sees(t, network, visitor, public, 6000, masked)
		control := gateTunnel4
		own := homeTunnel4
		if visitor.Is6() {
			control, own = gateTunnel6, homeTunnel6
		}
		c, err := visit(t, w.home, network, own, netip.AddrPortFrom(control, 7117))
		must(t, err)
		if got, err := ask(c); err != nil || got != own.String() {
			t.Errorf("the control channel by %s sees %q, %v; want %s", network, got, err, own)
		}
	})
	serve(t, w.internet, 9000)
	for _, to := range []string{"198.51.100.1:9000", "[2001:db8:a::1]:9000"} {
		c, err := visit(t, w.gate, "udp", netip.Addr{}, netip.MustParseAddrPort(to))
		must(t, err)
		if _, err := ask(c); err != nil {
			t.Errorf("answers to the gate itself: %v", err)
		}
	}
	w.check(t, []passage{
		{"WireGuard", w.internet, "eth0", udp, "203.0.113.10", "198.51.100.2:51820", "gate udp 198.51.100.2:51820"},
		{"not accepted by us", w.gate, tunnelName, tcp, "203.0.113.10", "10.99.0.2:5001", ""},
	})
}

// What has nothing to do with the tunnel is left to others.
func TestOtherTrafficIsNotOurs(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(), homeWant())
	serve(t, w.lan, 5000)
	serve(t, w.home, 5000)
	ip(t, w.internet, "route add 198.18.0.0/15 via 198.51.100.2")
	ip(t, w.lan, "route add 203.0.113.0/24 via 192.168.1.10")
	w.probe(w.internet, "eth0", udp, visitors[0], "198.18.0.1:9").send(t, w.internet, "eth0")
	w.probe(w.lan, "eth0", udp, lan4, "203.0.113.99:9").send(t, w.lan, "eth0")
	w.settle(t)
	if got := w.counters(t, w.gate).Totals.Leaked.Packets; got != 0 {
		t.Errorf("the gate dropped %d packets of others", got)
	}
	if got := w.counters(t, w.home).Totals.Tunnel.Packets; got != 0 {
		t.Errorf("home dropped %d packets of others", got)
	}
	for _, to := range []string{"192.168.1.10:5000", "[2001:db8:1::10]:5000"} {
		c, err := visit(t, w.lan, "tcp", netip.Addr{}, netip.MustParseAddrPort(to))
		must(t, err)
		if _, err := ask(c); err != nil {
			t.Errorf("home by its LAN: %v", err)
		}
	}
}

func TestInvalidPacketsAreCounted(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000")), homeWant(mappings(netip.Addr{}, "5000")...))
	send := func(from *netns.Namespace, device, src, dst string) {
		p := w.probe(from, device, tcp, addr(src), dst)
		p.flags = new(byte) // none, which no connection has
		p.send(t, from, device)
	}
	send(w.internet, "eth0", "203.0.113.10", "198.51.100.2:22")
	send(w.internet, "eth0", "2001:db8:c::10", "[2001:db8:a::2]:22")
	send(w.home, tunnelName, "10.99.0.2", "10.99.0.1:7117")
	send(w.home, tunnelName, "10.99.0.2", "203.0.113.10:80")
	w.settle(t)
	if got := w.counters(t, w.gate).Totals.Invalid.Packets; got != 4 {
		t.Errorf("%d invalid packets counted at the gate, want 4", got)
	}
	w.takeAway(t, w.gate)
	send(w.gate, tunnelName, "203.0.113.10", "10.99.0.2:5000")
	w.settle(t)
	if got := w.counters(t, w.home).Totals.Invalid.Packets; got != 1 {
		t.Errorf("%d invalid packets counted at home, want 1", got)
	}
}

func TestPingAndNeighboursAndDHCP(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "1-65535")), homeWant(mappings(netip.Addr{}, "1-65535")...))
	for _, ns := range []*netns.Namespace{w.gate, w.internet} {
		ip(t, ns, "neigh flush dev eth0")
	}
	ping(t, w.internet, "ip6:ipv6-icmp", addr("2001:db8:c::10"), gatePublic6)
	ping(t, w.internet, "ip4:icmp", visitors[0], gatePublic4)
	ping(t, w.home, "ip4:icmp", homeTunnel4, gateTunnel4)
	ping(t, w.home, "ip6:ipv6-icmp", homeTunnel6, gateTunnel6)
	ping(t, w.gate, "ip4:icmp", gateTunnel4, homeTunnel4)
	ping(t, w.gate, "ip6:ipv6-icmp", gateTunnel6, homeTunnel6)
	for _, p := range []packet{
		{protocol: udp, src: netip.MustParseAddrPort("198.51.100.1:67"), dst: netip.MustParseAddrPort("198.51.100.2:68")},
		{protocol: udp, src: netip.MustParseAddrPort("[fe80::1]:547"), dst: netip.MustParseAddrPort("[2001:db8:a::2]:546")},
	} {
		p.send(t, w.internet, "eth0")
		if got, want := w.settle(t)[p.src.Port()], at("gate", udp, p.dst.Addr(), p.dst.Port()); got != want {
			t.Errorf("%s ends at %q, want %q", p, got, want)
		}
	}
}

// ping sends an echo request and waits for its reply.
func ping(t *testing.T, ns *netns.Namespace, network string, from, to netip.Addr) {
	t.Helper()
	var c net.PacketConn
	must(t, ns.Do(func() (err error) {
		c, err = net.ListenPacket(network, from.String())
		return err
	}))
	defer c.Close()
	request, reply := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}, byte(0)
	if to.Is6() {
		request, reply = []byte{128, 0, 0, 0, 0, 0, 0, 0}, 129 // the kernel adds the checksum
	}
	must(t, c.SetDeadline(time.Now().Add(patience)))
	_, err := c.WriteTo(request, &net.IPAddr{IP: to.AsSlice()})
	must(t, err)
	buffer := make([]byte, 1500)
	for {
		n, peer, err := c.ReadFrom(buffer)
		if err != nil {
			t.Errorf("ping %s > %s: %v", from, to, err)
			return
		}
		if peer.String() == to.String() && bytes.HasPrefix(buffer[:n], []byte{reply, 0}) {
			return
		}
	}
}

// WireGuard's own packets keep their mark on the way back.
func TestOuterPacketsAreMarkedBothWays(t *testing.T) {
	w := newWorld(t)
	w.apply(t, homeWant())
	serve(t, w.lan, 5000)
	nft(t, w.home, `table inet unmarked {
		chain input {
			type filter hook input priority filter
			udp sport 5000 meta mark and 0xf0000000 != 0x20000000 drop
		}
	}`)
	for _, to := range []string{"192.168.1.20:5000", "[2001:db8:1::20]:5000"} {
		var c net.Conn
		must(t, w.home.Do(func() (err error) {
			d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
				var failed error
				err := raw.Control(func(fd uintptr) {
					failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, 0x20000000)
				})
				if err != nil {
					return err
				}
				return failed
			}}
			c, err = d.Dial("udp", to)
			return err
		}))
		defer c.Close()
		if _, err := ask(c); err != nil {
			t.Errorf("%s: the answer comes back unmarked: %v", to, err)
		}
	}
}

// The visitor's segments and the service's must fit the tunnel, though their
// own links are larger.
func TestSegmentsFitTheTunnel(t *testing.T) {
	w := newWorld(t)
	home := homeWant(append(mappings(netip.Addr{}, "5000/tcp"), append(masqueraded(mappings(lan4, "6000/tcp")), masqueraded(mappings(lan6, "6000/tcp"))...)...)...)
	home.Home.MSS4, home.Home.MSS6 = 1100, 1080
	w.apply(t, gateWant(toHome(1, "5000/tcp", "6000/tcp")), home)
	ip(t, w.gate, "link set gatelodge0 mtu 1400")
	for _, c := range []struct {
		visitor, public netip.Addr
		service         *netns.Namespace
		port            uint16
		most            int
	}{
		{visitors[0], gatePublic4, w.home, 5000, 1360},
		{visitors[2], gatePublic6, w.home, 5000, 1340},
		{visitors[0], gatePublic4, w.lan, 6000, 1100},
		{visitors[2], gatePublic6, w.lan, 6000, 1080},
	} {
		there, here := segments(t, w, c.service, c.visitor, netip.AddrPortFrom(c.public, c.port))
		if there > c.most || here > c.most || min(there, here) < 1000 {
			t.Errorf("%s > %s port %d: segments of %d and %d bytes, want at most %d", c.visitor, c.public, c.port, there, here, c.most)
		}
	}
}

// segments returns how large segments the visitor and the service send.
func segments(t *testing.T, w *world, service *netns.Namespace, visitor netip.Addr, to netip.AddrPort) (there, here int) {
	t.Helper()
	var l *net.TCPListener
	must(t, service.Do(func() error {
		a, err := net.Listen("tcp", fmt.Sprintf(":%d", to.Port()))
		if err == nil {
			l = a.(*net.TCPListener)
		}
		return err
	}))
	defer l.Close()
	must(t, l.SetDeadline(time.Now().Add(patience)))
	c, err := visit(t, w.internet, "tcp", visitor, to)
	must(t, err)
	s, err := l.AcceptTCP()
	must(t, err)
	defer s.Close()
	return segment(t, c.(*net.TCPConn)), segment(t, s)
}

func segment(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var size int
	var failed error
	must(t, raw.Control(func(fd uintptr) {
		size, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG)
	}))
	must(t, failed)
	return size
}
