package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// smallRoom is the room for visitors of a gate with 512 MB (plan.ConnectionTable).
const smallRoom = 57344

// One flow is one connection, answered or not: its packets cost others nothing,
// it is counted once, and all of it arrives.
func TestUnansweredUDPIsOneConnection(t *testing.T) {
	w := newWorld(t)
	want := gateWant(toHome(1, "5000"), toHome(2, "6000"))
	want.Gate.Connections = smallRoom
	w.apply(t, want, homeWant(mappings(netip.Addr{}, "5000", "6000")...))
	serve(t, w.home, 6000)
	nft(t, w.gate, stream)
	nft(t, w.home, stream)
	w.listenHome(t, 5000)
	flow, err := visit(t, w.internet, "udp", visitors[0], netip.AddrPortFrom(gatePublic4, 5000))
	must(t, err)

	const packets, pace, visits = 60_000, 20_000, 200
	// Packets that overtake the first one on another processor are first as well.
	must(t, pour(flow, 1, pace))
	eventually(t, "the flow has begun", func() bool { return w.counters(t, w.gate).Forwards[1].NewConnections == 1 })
	sent := make(chan error, 1)
	go func() { sent <- pour(flow, packets, pace) }()
	for i := range visits {
		c, err := visit(t, w.internet, "tcp", visitors[1], netip.AddrPortFrom(gatePublic4, 6000))
		must(t, err)
		if _, err := ask(c); err != nil {
			t.Fatalf("visitor %d: %v", i, err)
		}
		must(t, c.Close())
	}
	must(t, <-sent)
	w.settle(t)
	came, heard := w.streamed(t, w.gate), w.streamed(t, w.home)
	counted := w.counters(t, w.gate)
	if n := counted.Forwards[1].In.Packets; n != came || came < packets*99/100 {
		t.Errorf("of %d packets %d come to the gate, and %d pass it", packets, came, n)
	}
	if heard < came*99/100 {
		t.Errorf("of %d packets %d come to the service", came, heard)
	}
	if n := counted.Forwards[1].NewConnections; n != 1 {
		t.Errorf("one flow is counted as %d connections", n)
	}
	if n := counted.Forwards[2].NewConnections; n != visits {
		t.Errorf("%d visitors beside it are counted as %d connections", visits, n)
	}
	if n := counted.Totals.Full.Packets; n != 0 {
		t.Errorf("%d packets are turned away", n)
	}
}

// pour sends packets of a byte, so many in a second.
func pour(c net.Conn, packets, pace int) error {
	start := time.Now()
	for n := range packets {
		if _, err := c.Write([]byte("!")); err != nil {
			return err
		}
		if ahead := time.Duration(n)*time.Second/time.Duration(pace) - time.Since(start); ahead > time.Millisecond {
			time.Sleep(ahead)
		}
	}
	return nil
}

// stream counts the packets of a stream before anything else sees them.
const stream = `table inet stream {
	counter seen {
	}
	chain early {
		type filter hook prerouting priority -500
		udp dport 5000 iifname { "eth0", "gatelodge0" } counter name seen
	}
}
`

func (w *world) streamed(t *testing.T, ns *netns.Namespace) uint64 {
	t.Helper()
	var n uint64
	must(t, ns.Do(func() error {
		objects, err := new(nftables.Conn).GetObjects(&nftables.Table{Name: "stream", Family: nftables.TableFamilyINet})
		if err == nil {
			n = objects[0].(*nftables.CounterObj).Packets
		}
		return err
	}))
	return n
}

// listenHome takes what comes to a UDP port at home, and answers nothing.
func (w *world) listenHome(t testing.TB, port uint16) {
	t.Helper()
	must(t, w.home.Do(func() error {
		c, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return err
	}))
}

// The first packets of a few visitors leave those of others their part of a second.
func TestGreedyVisitorsLeaveOthersTheirRate(t *testing.T) {
	w := newWorld(t)
	want := gateWant(toHome(1, "5000"))
	want.Gate.Connections = smallRoom
	w.apply(t, want, homeWant(mappings(netip.Addr{}, "5000")...))
	for host := range 4 {
		must(t, w.flows(5_000, addr(fmt.Sprintf("203.0.113.%d", 50+host)), netip.AddrPortFrom(gatePublic4, 5000)))
	}
	others := 0
	for host := range 10 {
		others += w.flood(t, fmt.Sprintf("203.0.113.%d", 60+host), "198.51.100.2:5000")
	}
	if others != 400 {
		t.Errorf("of 400 connections of others %d begin", others)
	}
}

// A flood of SYNs from a few addresses leaves others room to connect. Forged
// addresses of which each comes once cannot be told from visitors: then these
// have their part of what may begin in a second, and no more.
func TestVisitorsBesideAFlood(t *testing.T) {
	const packets, perSecond = 60_000, smallRoom / 16
	for _, c := range []struct {
		why     string
		sources int
		least   func(seconds float64) float64 // per cent of the visitors that come in with their first SYN
	}{
		{"ten addresses", 10, func(float64) float64 { return 95 }},
		{"an address for each", 1 << 22, func(seconds float64) float64 { return 50 * perSecond * seconds / packets }},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newWorld(t)
			want := gateWant(toHome(1, "5000"), toHome(2, "6000"))
			want.Gate.Connections = smallRoom
			w.apply(t, want, homeWant(mappings(netip.Addr{}, "5000", "6000")...))
			start := time.Now()
			must(t, w.mixed(packets, c.sources))
			took := time.Since(start).Seconds()
			w.settle(t)
			counted := w.counters(t, w.gate)
			in := 100 * float64(counted.Forwards[2].NewConnections) / (packets / oneIn)
			t.Logf("of %d SYNs in %.1f s %d begin, and %.0f %% of the visitors", packets, took, counted.Forwards[1].NewConnections, in)
			if least := c.least(took); in < least {
				t.Errorf("%.0f %% of the visitors come in, want %.0f %%", in, least)
			}
		})
	}
}

// oneIn is how many SYNs of a flood come with each of a visitor.
const oneIn = 100

// mixed sends SYNs from so many addresses to one forward, and evenly among them
// those of visitors to another, each from an address of its own.
func (w *world) mixed(packets, sources int) error {
	return w.internet.Do(func() error {
		fd, err := rawSocket(unix.AF_INET, "eth0")
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		at := &unix.SockaddrInet4{Addr: gatePublic4.As4()}
		for n := range packets {
			i, first, port := n%sources, byte(100), uint16(5000)
			if n%oneIn == 0 {
				i, first, port = n, 101, 6000
			}
			from := netip.AddrFrom4([4]byte{first, 64 + byte(i>>16)&63, byte(i >> 8), byte(i)})
			p := packet{
				protocol: tcp,
				src:      netip.AddrPortFrom(from, uint16(1024+n/sources%60000)),
				dst:      netip.AddrPortFrom(gatePublic4, port),
			}
			if err := unix.Sendto(fd, p.header4(), 0, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// Visitors of one home leave those of another room.
func TestOneHomesVisitorsLeaveOthersRoom(t *testing.T) {
	w := newWorld(t)
	want := gateWant(toHome(1, "5000"), toNext(2, "6000"))
	want.Gate.Connections = 512
	w.apply(t, want, homeWant(mappings(netip.Addr{}, "5000")...))
	first := 0
	for host := range 16 {
		first += w.flood(t, fmt.Sprintf("203.0.113.%d", 50+host), "198.51.100.2:5000")
	}
	if first < 200 || first > 256 {
		t.Errorf("one home's visitors have %d connections, not a half of 512", first)
	}
	before := w.counters(t, w.gate).Forwards[2].NewConnections
	for host := range 4 {
		w.flood(t, fmt.Sprintf("203.0.113.%d", 70+host), "198.51.100.2:6000")
	}
	if n := w.counters(t, w.gate).Forwards[2].NewConnections - before; n < 150 {
		t.Errorf("of 160 visitors of the other home %d are let in", n)
	}
}

// A home takes no more than a few entries of conntrack at the gate, whatever it
// sends, and others find the room that they had.
func TestAHomeCannotFillTheGatesConntrack(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000")), homeWant(mappings(netip.Addr{}, "5000")...))
	serve(t, w.home, 5000)
	serve(t, w.gate, 7117)
	serve(t, w.gate, 22)
	before := w.entries(t, w.gate)
	for _, own := range []netip.AddrPort{netip.AddrPortFrom(gateTunnel4, 7117), netip.AddrPortFrom(gateTunnel6, 7117)} {
		from := homeTunnel4
		if own.Addr().Is6() {
			from = homeTunnel6
		}
		must(t, w.flowsFrom(w.home, tunnelName, 64_511, from, own))
	}
	if n := w.entries(t, w.gate) - before; n > 2*128+50 {
		t.Errorf("a home has %d connections with the gate", n)
	}
	next := w.probe(w.home, tunnelName, udp, nextTunnel4, "10.99.0.1:7117")
	next.send(t, w.home, tunnelName)
	shake := w.probe(w.internet, "eth0", udp, addr("203.0.113.99"), "198.51.100.2:51820")
	shake.send(t, w.internet, "eth0")
	eventually(t, "another home's ping and a handshake of a new address arrive", func() bool {
		places := w.places(t)
		return places[next.src.Port()] != "" && places[shake.src.Port()] != ""
	})
	for _, to := range []string{"198.51.100.2:22", "198.51.100.2:5000"} {
		c, err := visit(t, w.internet, "tcp", visitors[0], netip.MustParseAddrPort(to))
		must(t, err)
		_, err = ask(c)
		must(t, err)
	}
	c, err := visit(t, w.home, "tcp", homeTunnel4, netip.AddrPortFrom(gateTunnel4, 7117))
	must(t, err)
	_, err = ask(c)
	must(t, err)
}

// entries is how many connections conntrack knows in a namespace.
func (w *world) entries(t *testing.T, ns *netns.Namespace) int {
	t.Helper()
	var text []byte
	must(t, ns.Do(func() (err error) {
		text, err = os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		return err
	}))
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	return n
}

// flows sends first packets of a visitor, each from a port of its own.
func (w *world) flows(packets int, from netip.Addr, to netip.AddrPort) error {
	return w.flowsFrom(w.internet, "eth0", packets, from, to)
}

func (w *world) flowsFrom(ns *netns.Namespace, device string, packets int, from netip.Addr, to netip.AddrPort) error {
	return ns.Do(func() error {
		family, at := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: to.Addr().As16()})
		if to.Addr().Is4() {
			family, at = unix.AF_INET, &unix.SockaddrInet4{Addr: to.Addr().As4()}
		}
		fd, err := rawSocket(family, device)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for n := range packets {
			p := packet{protocol: udp, src: netip.AddrPortFrom(from, uint16(1024+n)), dst: to}
			header := p.header6
			if from.Is4() {
				header = p.header4
			}
			if err := unix.Sendto(fd, header(), 0, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// Who fills what a limit remembers of visitors is not rid of it.
func TestALimitThatIsFullStillLimits(t *testing.T) {
	w := newWorld(t)
	limited := toHome(1, "5000")
	limited.Limit.NewConnections = forward.Rate{Count: 3, Per: time.Hour}
	w.apply(t, gateWant(limited), homeWant(mappings(netip.Addr{}, "5000")...))
	must(t, w.forge(70_000, netip.AddrPortFrom(gatePublic4, 5000)))
	begin := func(from string) uint64 {
		before := w.counters(t, w.gate).Forwards[1].NewConnections
		w.flood(t, from, "198.51.100.2:5000")
		return w.counters(t, w.gate).Forwards[1].NewConnections - before
	}
	var greedy uint64
	for host := range 4 {
		greedy += begin(fmt.Sprintf("203.0.113.%d", 50+host))
	}
	if greedy == 0 || greedy > 3*16 {
		t.Errorf("%d connections of one neighbourhood begin beside forged ones", greedy)
	}
	if n := begin("192.0.2.7"); n == 0 {
		t.Error("another neighbourhood is locked out")
	}
}

// A limit takes memory for the visitors that come, not for those that could: a
// home may publish hundreds, and a small gate has 512 MB.
func TestLimitsTakeNoMemoryInAdvance(t *testing.T) {
	for name, want := range rulesets() {
		if want.Gate == nil {
			continue
		}
		text, err := firewall.Render(want)
		must(t, err)
		for _, match := range regexp.MustCompile(`size (\d+)`).FindAllStringSubmatch(text, -1) {
			if n, err := strconv.Atoi(match[1]); err != nil || n > 4096 {
				t.Errorf("%s has a set for which the kernel takes memory at once: %s", name, match[0])
			}
		}
	}
}
