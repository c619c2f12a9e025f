package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
)

// seenOnTheLine counts what leaves home by its own line for visitors, from a
// port of a service or with home's address in the tunnel.
const seenOnTheLine = `table inet line {
	counter leaked { }
	chain arriving {
		type filter hook prerouting priority -400
		iifname "eth0" ip daddr { 203.0.113.0/24, 100.64.0.0/10 } th sport { 5000, 6000, 5353 } counter name leaked
		iifname "eth0" ip6 daddr 2001:db8:c::/47 th sport { 5000, 6000, 5353 } counter name leaked
		iifname "eth0" ip saddr 10.99.0.2 counter name leaked
		iifname "eth0" ip6 saddr fd99::2 counter name leaked
	}
}
`

func (w *world) watchLine(t *testing.T) { nft(t, w.lan, seenOnTheLine) }

// leaked is how many packets that told home's own address have left.
func (w *world) leaked(t *testing.T) string {
	t.Helper()
	out := output(t, w.lan, "nft", "list counter inet line leaked")
	_, rest, _ := strings.Cut(out, "packets ")
	n, _, _ := strings.Cut(rest, " ")
	return n
}

func (w *world) noLeak(t *testing.T, when string) {
	t.Helper()
	w.settle(t)
	if n := w.leaked(t); n != "0" {
		t.Errorf("%s: %s packets have left home by its own line", when, n)
	}
}

// socket is a UDP service whose answers the test sends when it likes.
func socket(t *testing.T, w *world, at string) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	must(t, w.home.Do(func() (err error) {
		c, err = net.ListenPacket("udp", at)
		return err
	}))
	t.Cleanup(func() { c.Close() })
	return c
}

// heard returns who has sent the next datagram.
func heard(t *testing.T, c net.PacketConn) net.Addr {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, from, err := c.ReadFrom(make([]byte, 100))
	must(t, err)
	return from
}

// say sends a datagram, which home's own table may refuse.
func say(c net.PacketConn, to net.Addr) error {
	_, err := c.WriteTo([]byte("!"), to)
	return err
}

// Whom conntrack and the table have forgotten is not answered by home's own
// line, and who has never come by the tunnel may be spoken to from any port.
func TestLateAnswersDoNotLeak(t *testing.T) {
	w := newWorld(t)
	want := homeWant(mappings(netip.Addr{}, "5000/udp")...)
	w.apply(t, gateWant(toHome(1, "5000/udp")), want)
	w.watchLine(t)
	service := socket(t, w, ":5000")
	for _, v := range []struct{ from, public netip.Addr }{{visitors[0], gatePublic4}, {visitors[2], gatePublic6}} {
		c, err := visit(t, w.internet, "udp", v.from, netip.AddrPortFrom(v.public, 5000))
		must(t, err)
		_, err = c.Write([]byte("?"))
		must(t, err)
		from := heard(t, service)
		must(t, say(service, from))
		if _, err := c.Read(make([]byte, 10)); err != nil {
			t.Errorf("%s is not answered: %v", v.from, err)
		}
		w.forgetVisitors(t)
		if err := say(service, from); err == nil {
			t.Errorf("%s is answered though nobody knows the way", v.from)
		}
		w.noLeak(t, "forgotten")
	}
	if n := w.counters(t, w.home).Totals.Leaked.Packets; n != 2 {
		t.Errorf("%d leaks stopped, want 2", n)
	}
	for _, to := range []string{"203.0.113.77:51820", "[2001:db8:c::77]:51820"} {
		if err := say(service, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); err != nil {
			t.Errorf("a flow of the service's own to %s: %v", to, err)
		}
	}
	w.settle(t)
	if n := w.leaked(t); n != "2" {
		t.Errorf("%s flows of the service's own have left, want 2", n)
	}
}

// The same of a device that this machine is the router of.
func TestLateAnswersOfDevicesDoNotLeak(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "6000/udp")), homeWant(append(mappings(lan4, "6000/udp"), mappings(lan6, "6000/udp")...)...))
	w.watchLine(t)
	ip(t, w.lan, "route add default via 192.168.1.10\nroute add default via 2001:db8:1::10")
	var service net.PacketConn
	must(t, w.lan.Do(func() (err error) {
		service, err = net.ListenPacket("udp", ":6000")
		return err
	}))
	defer service.Close()
	for _, v := range []struct{ from, public netip.Addr }{{visitors[0], gatePublic4}, {visitors[2], gatePublic6}} {
		c, err := visit(t, w.internet, "udp", v.from, netip.AddrPortFrom(v.public, 6000))
		must(t, err)
		_, err = c.Write([]byte("?"))
		must(t, err)
		from := heard(t, service)
		w.forgetVisitors(t)
		before := w.counters(t, w.home).Totals.Leaked.Packets
		must(t, say(service, from))
		eventually(t, "the late answer is stopped", func() bool { return w.counters(t, w.home).Totals.Leaked.Packets > before })
	}
	w.noLeak(t, "late answers of a device")
}

// Segments of a device whose connection conntrack has forgotten do not leak
// either, whether it takes them for a new one or for nonsense.
func TestForgottenSegmentsOfDevicesDoNotLeak(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "6000/tcp")), homeWant(append(mappings(lan4, "6000/tcp"), mappings(lan6, "6000/tcp")...)...))
	w.watchLine(t)
	ip(t, w.lan, "route add default via 192.168.1.10\nroute add default via 2001:db8:1::10")
	serve(t, w.lan, 6000)
	for _, v := range []struct{ from, public, device netip.Addr }{{visitors[0], gatePublic4, lan4}, {visitors[2], gatePublic6, lan6}} {
		c, err := visit(t, w.internet, "tcp", v.from, netip.AddrPortFrom(v.public, 6000))
		must(t, err)
		answers(t, "before", c)
		w.forgetVisitors(t)
		visitor := netip.MustParseAddrPort(c.LocalAddr().String())
		for _, flags := range []byte{0x10, 0x12, 0x14, 0} { // ACK; SYN and ACK; RST and ACK; none
			before := w.counters(t, w.home).Totals.Leaked.Packets
			p := packet{protocol: tcp, src: netip.AddrPortFrom(v.device, 6000), dst: visitor, flags: &flags}
			p.send(t, w.lan, "eth0")
			eventually(t, fmt.Sprintf("the segment with flags %#x is stopped", flags), func() bool {
				return w.counters(t, w.home).Totals.Leaked.Packets > before
			})
		}
	}
	w.noLeak(t, "forgotten segments")
}

// forgetVisitors takes away what conntrack and the table know of UDP visitors.
func (w *world) forgetVisitors(t *testing.T) {
	t.Helper()
	nft(t, w.home, "flush set inet gatelodge0 udp4_65535; flush set inet gatelodge0 udp6_65535")
	must(t, w.home.Do(func() error {
		return firewall.DeleteVisits([]netip.Addr{homeTunnel4, homeTunnel6}, nil, nil)
	}))
}

// Where there is no place to note a visitor, the port alone is remembered.
func TestFullMemoryOfVisitorsDoesNotLeak(t *testing.T) {
	w := newWorld(t)
	want := homeWant(mappings(netip.Addr{}, "5000/udp", "6000/udp")...)
	want.Home.Connections = 32
	w.apply(t, gateWant(toHome(1, "5000/udp", "6000/udp")), want)
	w.watchLine(t)
	serve(t, w.home, 5000)
	quiet := socket(t, w, ":6000")
	for host := range 16 {
		w.floodOf(t, 60, fmt.Sprintf("203.0.113.%d", 100+host), "198.51.100.2:5000")
		w.noLeak(t, "a flood")
		must(t, w.home.Do(func() error {
			return firewall.DeleteVisits([]netip.Addr{homeTunnel4}, nil, nil) // as half a minute does
		}))
	}
	nft(t, w.home, "flush set inet gatelodge0 udp4_32")
	c, err := visit(t, w.internet, "udp", visitors[1], netip.AddrPortFrom(gatePublic4, 6000))
	must(t, err)
	_, err = c.Write([]byte("?"))
	must(t, err)
	from := heard(t, quiet)
	nft(t, w.home, "flush set inet gatelodge0 udp4_32")
	must(t, w.home.Do(func() error { return firewall.DeleteVisits([]netip.Addr{homeTunnel4}, nil, nil) }))
	if err := say(quiet, from); err == nil {
		t.Error("a visitor without a place is answered by home's own line")
	}
	w.noLeak(t, "without a place")
}

// One forged packet does not keep a flow of home's own in the tunnel: its
// partner's next packet leads it back.
func TestOwnFlowsAreNotCaptured(t *testing.T) {
	w := newWorld(t)
	w.apply(t, homeWant(mappings(netip.Addr{}, "5353/udp")...))
	ip(t, w.lan, "addr add 203.0.113.50/32 dev lo")
	partner := netip.MustParseAddrPort("203.0.113.50:5353")
	var far net.PacketConn
	must(t, w.lan.Do(func() (err error) {
		far, err = net.ListenPacket("udp", partner.String())
		return err
	}))
	defer far.Close()
	service := socket(t, w, ":5353")
	there := net.UDPAddrFromAddrPort(partner)
	for range 2 {
		must(t, say(service, there))
		from := heard(t, far)
		must(t, say(far, from))
		heard(t, service)
	}
	forged := packet{protocol: udp, src: partner, dst: netip.MustParseAddrPort("10.99.0.2:5353")}
	for range 3 {
		forged.send(t, w.gate, tunnelName)
		heard(t, service)
		must(t, say(far, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.168.1.10:5353"))))
		heard(t, service)
		must(t, say(service, there))
		heard(t, far)
	}
}

// Other programs write whole marks, on packets and connections, no matter who is
// loaded first.
func TestMarksOfOthersDoNotLead(t *testing.T) {
	const others = `table inet marks {
	chain pre { type filter hook prerouting priority mangle
		meta mark set ct mark
	}
	chain out { type route hook output priority mangle
		meta mark set ct mark
		th sport { 5000, 6000 } meta mark set 0x1
	}
	chain post { type filter hook postrouting priority mangle
		ct mark set meta mark
	}
}
`
	for _, order := range []string{"before us", "after us"} {
		t.Run(order, func(t *testing.T) {
			w := newWorld(t)
			w.watchLine(t)
			ip(t, w.home, "route add default via 192.168.1.1 table 100\nrule add pref 200 fwmark 0x1 lookup 100")
			ip(t, w.home, "route add default via 2001:db8:1::1 table 100\nrule add pref 200 fwmark 0x1 lookup 100", "-6")
			if order == "before us" {
				nft(t, w.home, others)
			}
			w.apply(t, gateWant(toHome(1, "5000", "6000")), homeWant(append(mappings(netip.Addr{}, "5000"),
				append(mappings(lan4, "6000"), mappings(lan6, "6000")...)...)...))
			if order == "after us" {
				nft(t, w.home, others)
			}
			ip(t, w.lan, "route add default via 192.168.1.10\nroute add default via 2001:db8:1::10")
			serve(t, w.home, 5000)
			serve(t, w.lan, 6000)
			everyWay(func(network string, visitor, public netip.Addr) {
				w.sees(t, network, visitor, public, 5000, visitor)
				w.sees(t, network, visitor, public, 6000, visitor)
			})
		})
	}
}

// Where somebody's mark comes after ours all the same, the answers of LAN
// devices do not leave with home's address in the tunnel.
func TestLaterMarksDoNotLeak(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "6000")), homeWant(append(mappings(lan4, "6000"), mappings(lan6, "6000")...)...))
	w.watchLine(t)
	ip(t, w.home, "rule add pref 90 fwmark 0x1 lookup main")
	ip(t, w.home, "rule add pref 90 fwmark 0x1 lookup main", "-6")
	nft(t, w.home, `table inet marks {
	chain pre { type filter hook prerouting priority -105
		iifname "eth0" meta mark set 0x1
	}
}
`)
	ip(t, w.lan, "route add default via 192.168.1.10\nroute add default via 2001:db8:1::10")
	serve(t, w.lan, 6000)
	want := w.counters(t, w.home).Totals.Leaked.Packets
	everyWay(func(network string, visitor, public netip.Addr) {
		if network != "udp" {
			return
		}
		c, err := visit(t, w.internet, network, visitor, netip.AddrPortFrom(public, 6000))
		must(t, err)
		_, err = c.Write([]byte("?"))
		must(t, err)
		want++
		eventually(t, "the answer is stopped", func() bool { return w.counters(t, w.home).Totals.Leaked.Packets == want })
	})
	w.noLeak(t, "a later mark")
}

// Connections live on where conntrack is emptied under them, of this machine
// and of a LAN device, and nothing of them leaves by home's own line.
func TestConnectionsOutliveConntrack(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000", "6000")), homeWant(slices.Concat(mappings(netip.Addr{}, "5000"), mappings(lan4, "6000"), mappings(lan6, "6000"))...))
	w.watchLine(t)
	ip(t, w.lan, "route add default via 192.168.1.10\nroute add default via 2001:db8:1::10")
	serve(t, w.home, 5000)
	serve(t, w.lan, 6000)
	everyWay(func(network string, visitor, public netip.Addr) {
		for _, port := range []uint16{5000, 6000} {
			c, err := visit(t, w.internet, network, visitor, netip.AddrPortFrom(public, port))
			must(t, err)
			answers(t, "before", c)
			must(t, w.home.Do(func() error {
				return firewall.DeleteVisits([]netip.Addr{homeTunnel4, homeTunnel6}, nil, nil)
			}))
			answers(t, "after", c)
		}
	})
	w.noLeak(t, "conntrack emptied")
}
