package firewall_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// tracking keeps conntrack at work while our table is away, as the rules of
// most machines do.
const tracking = `table inet tracking {
	chain prerouting {
		type filter hook prerouting priority 200
		ct state established counter
	}
}
`

// silence is how long something that must not come is waited for.
const silence = 700 * time.Millisecond

// dead reports whether an established connection carries nothing any longer.
func dead(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(silence))
	if _, err := c.Write([]byte("?")); err != nil {
		return true
	}
	_, err := c.Read(make([]byte, 100))
	return err != nil
}

// slip is a connection that somebody opens while our table is away.
type slip struct {
	why  string
	from *netns.Namespace
	src  netip.Addr
	to   string
	stay bool // afterwards
}

func TestNothingThatSlippedInAtTheGateStays(t *testing.T) {
	w := newWorld(t)
	nft(t, w.gate, tracking)
	want := gateWant(toHome(1, "5000"))
	want.Gate.Input.Accept = ports("9000")
	for _, port := range []uint16{22, 5000, 7117, 8080, 9000} {
		serve(t, w.gate, port)
	}
	serve(t, w.home, 5000)
	serve(t, w.internet, 80)
	slips := []slip{
		{"ssh of the gate's owner", w.internet, visitors[0], "198.51.100.2:22", true},
		{"a port that is accepted", w.internet, visitors[0], "198.51.100.2:9000", true},
		{"the same by IPv6", w.internet, visitors[2], "[2001:db8:a::2]:9000", true},
		{"the control channel", w.home, homeTunnel4, "10.99.0.1:7117", true},
		{"a closed port", w.internet, visitors[0], "198.51.100.2:8080", false},
		{"the same by IPv6", w.internet, visitors[2], "[2001:db8:a::2]:8080", false},
		{"the control channel from outside", w.internet, visitors[0], "198.51.100.2:7117", false},
		{"a forward's port at the gate itself", w.internet, visitors[0], "198.51.100.2:5000", false},
		{"a home at a service of the gate", w.home, homeTunnel4, "10.99.0.1:22", false},
		{"the same by IPv6", w.home, homeTunnel6, "[fd99::1]:22", false},
		{"a home at the public address", w.home, homeTunnel4, "198.51.100.2:9000", false},
		{"a home at the internet", w.home, homeTunnel4, "198.51.100.1:80", false},
		{"the same by IPv6", w.home, homeTunnel6, "[2001:db8:a::1]:80", false},
	}
	var open []net.Conn
	var all []slip
	for _, s := range slips {
		for _, network := range []string{"tcp", "udp"} {
			// ssh has no UDP, and a socket of all addresses answers homes from another.
			if network == "udp" && (s.stay && s.to == "198.51.100.2:22" || s.from == w.home && s.to == "198.51.100.2:9000") {
				continue
			}
			c, err := visit(t, s.from, network, s.src, netip.MustParseAddrPort(s.to))
			if err != nil {
				t.Fatalf("%s: %v", s.why, err)
			}
			if _, err := ask(c); err != nil {
				t.Fatalf("%s by %s: nothing gets in while there is no table: %v", s.why, network, err)
			}
			open, all = append(open, c), append(all, s)
		}
	}
	w.apply(t, want)
	for i, c := range open {
		if is := !dead(c); is != all[i].stay {
			t.Errorf("%s by %s, once the table is back: it stays %t, want %t", all[i].why, c.LocalAddr().Network(), is, all[i].stay)
		}
	}
}

// What is no longer published ends without anybody cutting it, and what the
// daemon would cut if it lived.
func TestConnectionsEndWithTheirForward(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000"), toHome(2, "6000")), homeWant(mappings(netip.Addr{}, "5000", "6000")...))
	serve(t, w.home, 5000)
	serve(t, w.home, 6000)
	var ended, kept []net.Conn
	everyWay(func(network string, visitor, public netip.Addr) {
		for port, list := range map[uint16]*[]net.Conn{5000: &ended, 6000: &kept} {
			c, err := visit(t, w.internet, network, visitor, netip.AddrPortFrom(public, port))
			must(t, err)
			_, err = ask(c)
			must(t, err)
			*list = append(*list, c)
		}
	})
	w.apply(t, gateWant(toHome(2, "6000")))
	for _, c := range ended {
		if !dead(c) {
			t.Errorf("%s to %s outlives its forward", c.LocalAddr().Network(), c.RemoteAddr())
		}
	}
	for _, c := range kept {
		if dead(c) {
			t.Errorf("%s to %s ends with another forward", c.LocalAddr().Network(), c.RemoteAddr())
		}
	}
}

// A session lives as long as its port is open: a trial that closes it ends it,
// and the end of the trial ends what only the trial had let in.
func TestSessionsLiveWithTheirPort(t *testing.T) {
	w := newWorld(t)
	for _, port := range []uint16{22, 8443, 9443} {
		serve(t, w.gate, port)
	}
	before := gateWant()
	before.Gate.Input.Accept = ports("8443/tcp")
	w.apply(t, before)
	session := func(port uint16) net.Conn {
		c, err := visit(t, w.internet, "tcp", visitors[0], netip.AddrPortFrom(gatePublic4, port))
		must(t, err)
		_, err = ask(c)
		must(t, err)
		return c
	}
	ssh, old := session(22), session(8443)
	gate := *before.Gate
	gate.Trial = &plan.Trial{Number: 1, Policy: plan.InputPolicy{Protect: true, Accept: ports("9443/tcp")}, Left: time.Hour}
	w.apply(t, plan.Firewall{Table: tableName, Gate: &gate})
	tried := session(9443)
	if dead(ssh) || !dead(old) {
		t.Error("during the trial ssh must live, and a session at a port that it closes must not")
	}
	w.apply(t, before)
	if dead(ssh) || !dead(tried) {
		t.Error("after the trial ssh must live, and a session at a port that only it had opened must not")
	}
}

// A router on the way to the visitor may have any address, one of a home's too.
func TestErrorsOfRoutersReachHome(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000")), homeWant(mappings(netip.Addr{}, "5000")...))
	serve(t, w.home, 5000)
	c, err := visit(t, w.internet, "udp", visitors[0], netip.AddrPortFrom(gatePublic4, 5000))
	must(t, err)
	_, err = ask(c)
	must(t, err)
	before := w.counters(t, w.gate)
	answer := packet{protocol: udp, src: netip.AddrPortFrom(gatePublic4, 5000), dst: netip.MustParseAddrPort(c.LocalAddr().String())}
	for _, router := range []string{"198.51.100.254", "10.255.0.1", "100.64.0.9", "10.99.0.3"} {
		tooBig{from: addr(router), about: answer}.send(t, w.internet)
	}
	eventually(t, "the errors reach home", func() bool {
		return w.counters(t, w.gate).Forwards[1].In.Packets == before.Forwards[1].In.Packets+4
	})
	stray := answer
	stray.dst = netip.MustParseAddrPort("203.0.113.10:9")
	tooBig{from: addr("10.99.0.3"), about: stray}.send(t, w.internet)
	w.settle(t)
	after := w.counters(t, w.gate)
	if after.Totals.Spoofed != before.Totals.Spoofed || after.Forwards[1].In.Packets != before.Forwards[1].In.Packets+4 {
		t.Errorf("an error about no connection: %+v, before %+v", after, before)
	}
}

// tooBig is what a router says of a packet that its next link does not carry
// (RFC 792, RFC 1191).
type tooBig struct {
	from  netip.Addr
	about packet
}

func (e tooBig) send(t *testing.T, ns *netns.Namespace) {
	t.Helper()
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45, 64, unix.IPPROTO_ICMP
	copy(h[12:], e.from.AsSlice())
	copy(h[16:], e.about.src.Addr().AsSlice())
	inner := e.about.header4()
	inner[3] = byte(len(inner)) // which otherwise the kernel fills in
	body := append([]byte{3, 4, 0, 0, 0, 0, 5, 0x14}, inner...)
	sum := checksum(body)
	body[2], body[3] = byte(sum>>8), byte(sum)
	must(t, ns.Do(func() error {
		return sendRaw(unix.AF_INET, "eth0", append(h, body...), &unix.SockaddrInet4{Addr: e.about.src.Addr().As4()})
	}))
}

func checksum(data []byte) uint16 {
	var sum uint32
	for i := 0; i < len(data); i += 2 {
		sum += uint32(data[i])<<8 | uint32(data[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
