package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// flood sends 40 packets, each the first of a flow, to a forward, and returns
// how many came as far as the home.
func (w *world) flood(t *testing.T, from, to string) int {
	t.Helper()
	return w.floodOf(t, 40, from, to)
}

func (w *world) floodOf(t *testing.T, packets int, from, to string) int {
	t.Helper()
	sent := make([]probe, packets)
	for i := range sent {
		sent[i] = w.probe(w.internet, "eth0", udp, addr(from), to)
		sent[i].send(t, w.internet, "eth0")
	}
	places, n := w.settle(t), 0
	for _, p := range sent {
		if places[p.src.Port()] != "" {
			n++
		}
	}
	return n
}

func TestVisitorsLeaveRoomForOthers(t *testing.T) {
	w := newWorld(t)
	want := gateWant(toHome(1, "5000"))
	want.Gate.Connections = 64
	w.apply(t, want, homeWant(mappings(netip.Addr{}, "5000", "6000")...))
	if n := w.flood(t, "203.0.113.50", "198.51.100.2:5000"); n != 16 {
		t.Errorf("one address has %d connections, not its quarter", n)
	}
	if n := w.flood(t, "2001:db8:c::50", "[2001:db8:a::2]:5000") + w.flood(t, "2001:db8:c::51", "[2001:db8:a::2]:5000"); n != 16 {
		t.Errorf("one /64 has %d connections, not its quarter", n)
	}
	all := 32
	for host := range 4 {
		all += w.flood(t, fmt.Sprintf("203.0.113.%d", 60+host), "198.51.100.2:5000")
	}
	// The lists fill up one by one, by the visitors' ports.
	if all < 48 || all > 64 {
		t.Errorf("visitors have %d connections", all)
	}
	// What has been counted outlives changes.
	more := gateWant(toHome(1, "5000"), toHome(2, "6000"))
	more.Gate.Connections = 64
	w.apply(t, more)
	if all += w.flood(t, "203.0.113.70", "198.51.100.2:6000"); all > 64 {
		t.Errorf("they have %d after a change of the forwards", all)
	}
	if n := w.counters(t, w.gate).Totals.Full.Packets; n != uint64(40*8-all) {
		t.Errorf("%d packets are counted as turned away", n)
	}
	w.check(t, []passage{
		{"ssh", w.internet, "eth0", tcp, "203.0.113.50", "198.51.100.2:22", "gate tcp 198.51.100.2:22"},
		{"WireGuard", w.internet, "eth0", udp, "203.0.113.50", "198.51.100.2:51820", "gate udp 198.51.100.2:51820"},
		{"the control channel", w.home, tunnelName, tcp, "10.99.0.2", "10.99.0.1:7117", "gate tcp 10.99.0.1:7117"},
	})
	// A larger table lets more in at once.
	wide := *more.Gate
	wide.Connections = 6400
	w.apply(t, plan.Firewall{Table: tableName, Gate: &wide})
	if n := w.flood(t, "203.0.113.70", "198.51.100.2:6000"); n != 40 {
		t.Errorf("%d get in with more room", n)
	}
}

// Where there are many, they are counted in many lists, which do not fill evenly.
func TestManyVisitorsLeaveRoom(t *testing.T) {
	w := newWorld(t)
	want := gateWant(toHome(1, "5000"))
	want.Gate.Connections = 2048
	w.apply(t, want, homeWant(mappings(netip.Addr{}, "5000")...))
	all := 0
	for _, v := range [...][2]string{{"203.0.113.50", "198.51.100.2:5000"}, {"2001:db8:c::50", "[2001:db8:a::2]:5000"}} {
		time.Sleep(time.Second) // 750 of busy visitors may begin in it
		n := w.floodOf(t, 700, v[0], v[1])
		if n < 400 || n > 512 {
			t.Errorf("%s has %d connections, not its quarter of 2048", v[0], n)
		}
		all += n
	}
	for host := range 8 {
		time.Sleep(500 * time.Millisecond)
		all += w.floodOf(t, 300, fmt.Sprintf("203.0.113.%d", 60+host), "198.51.100.2:5000")
	}
	if all < 2048*8/10 || all > 2048 {
		t.Errorf("visitors have %d connections, not the room of 2048", all)
	}
}

// A home has less memory than its gate, or thinks so: it bounds visitors itself.
func TestVisitorsLeaveRoomAtHome(t *testing.T) {
	w := newWorld(t)
	home := homeWant(mappings(netip.Addr{}, "5000", "6000")...)
	home.Home.Connections = 64
	w.apply(t, gateWant(toHome(1, "5000")), home)
	if n := w.flood(t, "203.0.113.50", "198.51.100.2:5000"); n != 16 {
		t.Errorf("one address has %d connections at home, not its quarter", n)
	}
	all := 16
	for host := range 5 {
		all += w.flood(t, fmt.Sprintf("203.0.113.%d", 60+host), "198.51.100.2:5000")
	}
	if all < 48 || all > 64 {
		t.Errorf("visitors have %d connections at home", all)
	}
	if n := w.counters(t, w.home).Totals.Full.Packets; n != uint64(40*6-all) {
		t.Errorf("%d packets are counted as turned away", n)
	}
}

// Forged SYNs fill neither the table nor the
// processor's time: meanwhile ssh opens new ones, and those that stand go on.
func TestForgedBeginningsLeaveRoom(t *testing.T) {
	w := newWorld(t)
	want := gateWant(toHome(1, "5000"))
	want.Gate.Connections = 2048
	w.apply(t, want, homeWant(mappings(netip.Addr{}, "5000")...))
	serve(t, w.gate, 22)
	serve(t, w.home, 5000)
	standing, err := visit(t, w.internet, "tcp", visitors[0], netip.AddrPortFrom(gatePublic4, 5000))
	must(t, err)

	const forged = 50_000
	sent := make(chan error, 1)
	go func() { sent <- w.forge(forged, netip.AddrPortFrom(gatePublic4, 5000)) }()
	beside := 0
	for ; len(sent) == 0; beside++ {
		c, err := visit(t, w.internet, "tcp", visitors[1], netip.AddrPortFrom(gatePublic4, 22))
		if err != nil {
			t.Fatalf("a new connection to ssh: %v", err)
		}
		for _, c := range []net.Conn{c, standing} {
			if _, err := ask(c); err != nil {
				t.Fatalf("a connection from %s to %s: %v", c.LocalAddr(), c.RemoteAddr(), err)
			}
		}
		must(t, c.Close())
	}
	must(t, <-sent)
	refused := w.counters(t, w.gate).Totals.Full.Packets
	t.Logf("%d forged beside %d new connections to ssh: %d turned away", forged, beside, refused)
	if begun := forged - refused; begun > 2048 {
		t.Errorf("%d forged connections have begun: the room is 2048", begun)
	}
}

// forge sends first packets of connections, each from an address of its own, as
// fast as one socket can.
func (w *world) forge(packets int, to netip.AddrPort) error {
	return w.internet.Do(func() error {
		fd, err := rawSocket(unix.AF_INET, "eth0")
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		at := &unix.SockaddrInet4{Addr: to.Addr().As4()}
		for n := range packets {
			from := netip.AddrFrom4([4]byte{100, 64 + byte(n>>16)&63, byte(n >> 8), byte(n)})
			p := packet{protocol: tcp, src: netip.AddrPortFrom(from, uint16(1024+n%60000)), dst: to}
			if err := unix.Sendto(fd, p.header4(), 0, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// A flow that its service does not answer is one connection at home, however
// many packets it has.
func TestOneWayFlowIsOneConnectionAtHome(t *testing.T) {
	w := newWorld(t)
	want := homeWant(slices.Concat(mappings(netip.Addr{}, "5000"), mappings(lan4, "6000"), mappings(lan6, "6000"))...)
	want.Home.Connections = 64
	w.apply(t, want)
	nft(t, w.home, "insert rule inet gatelodge0 room counter")
	for _, to := range []string{"10.99.0.2:5000", "[fd99::2]:5000", "10.99.0.2:6000", "[fd99::2]:6000"} {
		src := visitors[0]
		if to[0] == '[' {
			src = visitors[2]
		}
		p := w.probe(w.gate, tunnelName, udp, src, to)
		for range 10 {
			p.send(t, w.gate, tunnelName)
		}
	}
	w.settle(t)
	if rules := output(t, w.home, "nft", "list chain inet gatelodge0 room"); !strings.Contains(rules, "counter packets 4 ") {
		t.Errorf("not one packet of each flow has passed the limits:\n%s", rules)
	}
	if n := w.counters(t, w.home).Totals.Tunnel.Packets; n != 0 {
		t.Errorf("%d packets are not let in", n)
	}
}
