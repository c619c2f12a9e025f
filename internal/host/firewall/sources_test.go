package firewall_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// One host, many spellings: none of those that nobody on the internet has gets
// in, whatever the owner says of private visitors.
func TestSourcesThatNobodyHas(t *testing.T) {
	w := newWorld(t)
	for _, drop := range []bool{true, false} {
		want := homeWant(mappings(netip.Addr{}, "5000")...)
		want.Home.DropPrivate = drop
		w.apply(t, want)
		var list []passage
		for _, src := range []string{
			"::ffff:127.0.0.1", "::ffff:192.168.1.20", "::ffff:8.8.8.8", "::127.0.0.1", "::192.168.1.20", "::1", "::",
			"64:ff9b::192.168.1.20", "64:ff9b::127.0.0.1", "64:ff9b:1::1", "2002:c0a8:114::1", "2002:cb00:710a::1",
			"fec0::1", "100::1", "192.0.0.8", "198.18.0.1", "198.19.255.1", "0.1.2.3", "240.0.0.1",
		} {
			to := "[fd99::2]:5000"
			if addr(src).Is4() {
				to = "10.99.0.2:5000"
			}
			list = append(list, passage{"nobody", w.gate, tunnelName, udp, src, to, ""}, passage{"nobody", w.gate, tunnelName, tcp, src, to, ""})
		}
		home4, home6 := place("home udp 10.99.0.2:5000"), place("home udp [fd99::2]:5000")
		private4, private6 := home4, home6
		if drop {
			private4, private6 = "", ""
		}
		w.check(t, append(list,
			passage{"documentation", w.gate, tunnelName, udp, "192.0.2.7", "10.99.0.2:5000", home4},
			passage{"a visitor by NAT64", w.gate, tunnelName, udp, "64:ff9b::203.0.113.10", "[fd99::2]:5000", home6},
			passage{"private", w.gate, tunnelName, udp, "10.1.2.3", "10.99.0.2:5000", private4},
			passage{"private by NAT64", w.gate, tunnelName, udp, "64:ff9b::10.1.2.3", "[fd99::2]:5000", private6},
		))
	}
}

// A router with a private address says that a packet was too large: that is
// about a connection, no matter who says it. What is about none, and other packets of
// such addresses, are dropped.
func TestErrorsOfPrivateRouters(t *testing.T) {
	w := newWorld(t)
	want := homeWant(mappings(netip.Addr{}, "5000")...)
	want.Home.DropPrivate = true
	w.apply(t, gateWant(toHome(1, "5000")), want)
	serve(t, w.home, 5000)
	c, err := visit(t, w.internet, "udp", visitors[0], netip.AddrPortFrom(gatePublic4, 5000))
	must(t, err)
	answers(t, "before", c)
	visitor := netip.MustParseAddrPort(c.LocalAddr().String())
	learned := func(about netip.AddrPort) string {
		narrowPath{from: addr("10.255.0.1"), about: packet{protocol: udp, src: netip.AddrPortFrom(homeTunnel4, 5000), dst: about}}.send(t, w)
		w.settle(t)
		return output(t, w.home, "ip", "-o", "route", "get", about.Addr().String(), "from", homeTunnel4.String())
	}
	if route := learned(netip.MustParseAddrPort("203.0.113.99:4000")); strings.Contains(route, "mtu 1300") {
		t.Errorf("home believes what is about no connection: %s", route)
	}
	if route := learned(visitor); !strings.Contains(route, "mtu 1300") {
		t.Errorf("home has not heard of the smaller MTU: %s", route)
	}
	answers(t, "after", c)
}

// narrowPath is "fragmentation needed", MTU 1300, about a packet of home's.
type narrowPath struct {
	from  netip.Addr
	about packet
}

func (e narrowPath) send(t *testing.T, w *world) {
	t.Helper()
	quoted := e.about.header4()
	binary.BigEndian.PutUint16(quoted[2:], 1400)
	binary.BigEndian.PutUint16(quoted[6:], 0x4000) // do not fragment
	binary.BigEndian.PutUint16(quoted[10:], ^fold(0, quoted[:20]))
	message := append([]byte{3, 4, 0, 0, 0, 0, 1300 >> 8, 1300 & 255}, quoted...)
	binary.BigEndian.PutUint16(message[2:], ^fold(0, message))
	outer := packet{src: netip.AddrPortFrom(e.from, 0), dst: netip.AddrPortFrom(homeTunnel4, 0)}
	must(t, w.gate.Do(func() error { return outer.carry(tunnelName, unix.IPPROTO_ICMP, message) }))
}
