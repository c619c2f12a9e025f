package firewall_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// world is a small internet:
//
//	internet ── eth0 gate gatelodge0 ══ gatelodge0 home eth0 ── lan
//
//	internet  198.51.100.1, 203.0.113.10, .11, 2001:db8:c::10
//	gate      198.51.100.2, 2001:db8:a::2; in the tunnel 10.99.0.1, fd99::1
//	home      192.168.1.10, 2001:db8:1::10; in the tunnel 10.99.0.2, fd99::2
//	lan       192.168.1.20, 2001:db8:1::20, and the router .1
//
// The tunnel is a veth of that name. Home has a default route by its LAN, so
// that answers find back through the tunnel only by our doing.
type world struct {
	internet, gate, home, lan *netns.Namespace
	firewall                  *firewall.Firewall
	guards                    map[*netns.Namespace]*firewall.Guard
	port                      uint16 // source port of the last packet
}

var visitors = []netip.Addr{addr("203.0.113.10"), addr("203.0.113.11"), addr("2001:db8:c::10"), addr("2001:db8:c:1::10")}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		internet: netnstest.New(t, "internet"), gate: netnstest.New(t, "gate"),
		home: netnstest.New(t, "home"), lan: netnstest.New(t, "lan"),
		firewall: open(t), port: 20000,
	}
	w.guards = map[*netns.Namespace]*firewall.Guard{w.gate: openGuard(t), w.home: openGuard(t)}
	for _, ns := range w.all() {
		sysctl(t, ns, "net/ipv6/conf/default/accept_dad=0") // nobody else has these addresses
	}
	ip(t, w.internet, internetLinks)
	ip(t, w.gate, gateLinks)
	ip(t, w.home, homeLinks)
	ip(t, w.home, homeLinks6, "-6")
	ip(t, w.lan, lanLinks)
	sysctl(t, w.gate, "net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1")
	sysctl(t, w.home, "net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1", "net/ipv4/conf/gatelodge0/rp_filter=2")
	for _, ns := range w.all() {
		sysctl(t, ns, "net/ipv6/neigh/eth0/retrans_time_ms=20") // neighbours answer at once
		nft(t, ns, witness)
	}
	w.awaitNeighbours(t)
	return w
}

// What ip(8) makes of each host.
const (
	internetLinks = `
		link add eth0 type veth peer name eth0 netns gate
		addr add 198.51.100.1/24 dev eth0
		addr add 203.0.113.10/32 dev lo
		addr add 203.0.113.11/32 dev lo
		addr add 2001:db8:a::1/64 dev eth0 nodad
		addr add 2001:db8:c::10/128 dev lo nodad
		addr add 2001:db8:c:1::10/128 dev lo nodad
		link set eth0 up
		route add 10.99.0.0/24 via 198.51.100.2
		route add fd99::/64 via 2001:db8:a::2`
	// Both ends of the tunnel have one hardware address and ask for none, as
	// a WireGuard device does.
	gateLinks = `
		link add gatelodge0 address 02:00:00:00:00:01 type veth peer name gatelodge0 address 02:00:00:00:00:01 netns home
		addr add 198.51.100.2/24 dev eth0
		addr add 2001:db8:a::2/64 dev eth0 nodad
		addr add 10.99.0.1/24 dev gatelodge0
		addr add fd99::1/64 dev gatelodge0 nodad
		link set gatelodge0 arp off
		link set eth0 up
		link set gatelodge0 up
		route add default via 198.51.100.1
		route add default via 2001:db8:a::1
		route add 192.168.1.0/24 dev gatelodge0
		route add 2001:db8:1::/64 dev gatelodge0`
	homeLinks = `
		link add eth0 type veth peer name eth0 netns lan
		addr add 192.168.1.10/24 dev eth0
		addr add 2001:db8:1::10/64 dev eth0 nodad
		addr add 10.99.0.2/32 dev gatelodge0
		addr add fd99::2/128 dev gatelodge0 nodad
		link set gatelodge0 arp off
		link set eth0 up
		link set gatelodge0 up
		route add default via 192.168.1.1
		route add default via 2001:db8:1::1
		route add default dev gatelodge0 table 6700
		rule add pref 101 fwmark 0x10000000/0xf0000000 lookup main suppress_prefixlength 1
		rule add pref 102 fwmark 0x10000000/0xf0000000 lookup 6700
		rule add pref 103 from 10.99.0.2 lookup 6700`
	homeLinks6 = `
		route add default dev gatelodge0 metric 9999
		route add default dev gatelodge0 table 6700
		rule add pref 101 fwmark 0x10000000/0xf0000000 lookup main suppress_prefixlength 1
		rule add pref 102 fwmark 0x10000000/0xf0000000 lookup 6700
		rule add pref 103 from fd99::2 lookup 6700`
	lanLinks = `
		addr add 192.168.1.20/24 dev eth0
		addr add 192.168.1.1/24 dev eth0
		addr add 2001:db8:1::20/64 dev eth0 nodad
		addr add 2001:db8:1::1/64 dev eth0 nodad preferred_lft 0
		link set eth0 up
		route add 10.99.0.2 via 192.168.1.10
		route add fd99::2 via 2001:db8:1::10`
)

// awaitNeighbours waits until IPv6 works on the links that ask for neighbours.
func (w *world) awaitNeighbours(t testing.TB) {
	t.Helper()
	eventually(t, "IPv6 neighbours answer", func() bool {
		out := w.probe(w.internet, "eth0", forward.UDP, addr("2001:db8:a::1"), "[2001:db8:a::2]:9")
		in := w.probe(w.home, "eth0", forward.UDP, addr("2001:db8:1::10"), "[2001:db8:1::20]:9")
		out.send(t, out.from, out.device)
		in.send(t, in.from, in.device)
		places := w.places(t)
		return places[out.src.Port()] != "" && places[in.src.Port()] != ""
	})
}

func (w *world) all() []*netns.Namespace {
	return []*netns.Namespace{w.internet, w.gate, w.home, w.lan}
}

// witness sees what is delivered, behind all filters, and changes nothing.
const witness = `table inet witness {
	set seen4 { type inet_proto . ipv4_addr . inet_service . inet_service; flags dynamic; size 65535; }
	set seen6 { type inet_proto . ipv6_addr . inet_service . inet_service; flags dynamic; size 65535; }
	chain delivered {
		type filter hook input priority 300
		meta nfproto ipv4 meta l4proto { tcp, udp } add @seen4 { meta l4proto . ip daddr . th sport . th dport }
		meta nfproto ipv6 meta l4proto { tcp, udp } add @seen6 { meta l4proto . ip6 daddr . th sport . th dport }
	}
}
`

// place is where a packet ends: "host protocol address:port", or "" if nowhere.
type place string

// places returns where packets have ended, by their source port.
func (w *world) places(t testing.TB) map[uint16]place {
	t.Helper()
	places := make(map[uint16]place)
	for _, ns := range w.all() {
		must(t, ns.Do(func() error {
			for _, name := range []string{"seen4", "seen6"} {
				elements, err := new(nftables.Conn).GetSetElements(&nftables.Set{
					Table: &nftables.Table{Name: "witness", Family: nftables.TableFamilyINet}, Name: name,
				})
				if err != nil {
					return err
				}
				for _, e := range elements {
					port, where := decodeSeen(e.Key)
					places[port] = place(ns.Name + " " + where)
				}
			}
			return nil
		}))
	}
	return places
}

// decodeSeen takes a concatenated key apart, each part filled up to 4 bytes.
func decodeSeen(key []byte) (source uint16, where string) {
	ports := key[len(key)-8:]
	a, _ := netip.AddrFromSlice(key[4 : len(key)-8])
	to := netip.AddrPortFrom(a, binary.BigEndian.Uint16(ports[4:]))
	return binary.BigEndian.Uint16(ports), fmt.Sprintf("%s %s", forward.Protocol(key[0]), to)
}

// probe is a packet and where it was put on the wire.
type probe struct {
	packet
	from   *netns.Namespace
	device string
}

// probe makes a packet with a source port that no other has.
func (w *world) probe(from *netns.Namespace, device string, p forward.Protocol, src netip.Addr, dst string) probe {
	w.port++
	return probe{
		packet: packet{protocol: p, src: netip.AddrPortFrom(src, w.port), dst: netip.MustParseAddrPort(dst)},
		from:   from, device: device,
	}
}

// ends sends a packet and returns where it ended.
func (w *world) ends(t testing.TB, p probe) place {
	t.Helper()
	p.send(t, p.from, p.device)
	return w.settle(t)[p.src.Port()]
}

// settle returns where packets have ended, once the last ones sent have: it
// sends further ones that are let through everywhere, and waits for those.
func (w *world) settle(t testing.TB) map[uint16]place {
	t.Helper()
	marks := []probe{
		w.probe(w.internet, "eth0", forward.UDP, addr("198.51.100.1"), "198.51.100.2:51820"),
		w.probe(w.internet, "eth0", forward.UDP, addr("2001:db8:a::1"), "[2001:db8:a::2]:51820"),
		w.probe(w.home, tunnelName, forward.UDP, homeTunnel4, "10.99.0.1:7117"),
		w.probe(w.home, tunnelName, forward.UDP, homeTunnel6, "[fd99::1]:7117"),
		w.probe(w.home, "eth0", forward.UDP, addr("192.168.1.10"), "192.168.1.20:9"),
		w.probe(w.home, "eth0", forward.UDP, addr("2001:db8:1::10"), "[2001:db8:1::20]:9"),
		w.probe(w.gate, "eth0", forward.UDP, gatePublic4, "203.0.113.10:9"),
	}
	for _, m := range marks {
		must(t, m.try(m.from, m.device))
	}
	var places map[uint16]place
	eventually(t, "the last packets sent have arrived", func() bool {
		places = w.places(t)
		return !slices.ContainsFunc(marks, func(m probe) bool { return places[m.src.Port()] == "" })
	})
	return places
}

// forget ends all that conntrack knows in a namespace.
func (w *world) forget(t testing.TB, ns *netns.Namespace) {
	t.Helper()
	must(t, ns.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }))
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 10 seconds: %s", what)
		}
	}
}

// apply loads a table at a gate or a home, and raises its guard: what the table
// lets through must pass that too.
func (w *world) apply(t testing.TB, wants ...plan.Firewall) {
	t.Helper()
	for _, want := range wants {
		ns := w.home
		if want.Gate != nil {
			ns = w.gate
		}
		inside(t, ns, func() {
			must(t, w.firewall.Apply(context.Background(), want))
			must(t, w.guards[ns].Raise(want))
		})
	}
}

// takeAway deletes a table with its guard, as where the kernel has none.
func (w *world) takeAway(t testing.TB, ns *netns.Namespace) {
	t.Helper()
	inside(t, ns, func() {
		must(t, w.guards[ns].Lower(tableName))
		must(t, w.firewall.Remove(context.Background(), tableName))
	})
}

// counters reads those of the table at a gate or a home.
func (w *world) counters(t testing.TB, ns *netns.Namespace) firewall.Counters {
	t.Helper()
	var c firewall.Counters
	must(t, ns.Do(func() (err error) {
		c, err = w.firewall.Counters(context.Background(), tableName)
		return err
	}))
	return c
}

func open(t testing.TB) *firewall.Firewall {
	t.Helper()
	f, err := firewall.Open()
	must(t, err)
	return f
}

// inside runs do in a namespace. It may end the test: that ends do's goroutine
// instead of the test's, which is then ended here.
func inside(t testing.TB, ns *netns.Namespace, do func()) {
	t.Helper()
	entered, done := make(chan error, 2), false
	go func() {
		entered <- ns.Do(func() error {
			defer func() {
				if !done {
					entered <- errEnded
				}
			}()
			do()
			done = true
			return nil
		})
	}()
	must(t, <-entered)
}

var errEnded = errors.New("the test ended inside the namespace")

func observe(t testing.TB, f *firewall.Firewall, want plan.Firewall) plan.ObservedFirewall {
	t.Helper()
	seen, err := f.Observe(context.Background(), want)
	must(t, err)
	return seen
}

// ip runs lines of ip(8) in a namespace.
func ip(t testing.TB, ns *netns.Namespace, lines string, options ...string) {
	t.Helper()
	command(t, ns, lines, append([]string{"ip", "-batch", "-"}, options...)...)
}

// nft loads a document in a namespace.
func nft(t testing.TB, ns *netns.Namespace, text string) {
	t.Helper()
	command(t, ns, text, "nft", "-f", "-")
}

func command(t testing.TB, ns *netns.Namespace, stdin string, argv ...string) {
	t.Helper()
	must(t, ns.Do(func() error {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
		}
		return nil
	}))
}

// sysctl sets kernel settings given as path=value.
func sysctl(t testing.TB, ns *netns.Namespace, settings ...string) {
	t.Helper()
	must(t, ns.Do(func() error {
		for _, s := range settings {
			path, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0o644); err != nil {
				return err
			}
		}
		return nil
	}))
}

// output returns what a command prints in a namespace.
func output(t testing.TB, ns *netns.Namespace, argv ...string) string {
	t.Helper()
	var out []byte
	must(t, ns.Do(func() (err error) {
		out, err = exec.Command(argv[0], argv[1:]...).Output()
		return err
	}))
	return string(out)
}
