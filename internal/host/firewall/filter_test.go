package firewall_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// passage is a packet and where it must end; "" is nowhere.
type passage struct {
	why      string
	from     *netns.Namespace
	device   string
	protocol forward.Protocol
	src, dst string
	end      place
}

func (w *world) check(t *testing.T, list []passage) {
	t.Helper()
	sent := make([]probe, len(list))
	for i, c := range list {
		sent[i] = w.probe(c.from, c.device, c.protocol, addr(c.src), c.dst)
		sent[i].send(t, c.from, c.device)
	}
	places := w.settle(t)
	for i, c := range list {
		if got := places[sent[i].src.Port()]; got != c.end {
			t.Errorf("%s: %s ends at %q, want %q", c.why, sent[i], got, c.end)
		}
	}
}

const (
	tcp = forward.TCP
	udp = forward.UDP
)

func TestGateInputProtected(t *testing.T) {
	w := newWorld(t)
	want := gateWant()
	want.Gate.Input.Accept = ports("53", "9000-9010/tcp", "7117")
	w.apply(t, want)
	before := w.counters(t, w.gate).Totals
	w.check(t, append([]passage{
		{"ssh", w.internet, "eth0", tcp, "203.0.113.10", "198.51.100.2:22", "gate tcp 198.51.100.2:22"},
		{"ssh by IPv6", w.internet, "eth0", tcp, "2001:db8:c::10", "[2001:db8:a::2]:22", "gate tcp [2001:db8:a::2]:22"},
		{"accepted", w.internet, "eth0", udp, "203.0.113.10", "198.51.100.2:53", "gate udp 198.51.100.2:53"},
		{"accepted range", w.internet, "eth0", tcp, "203.0.113.10", "198.51.100.2:9005", "gate tcp 198.51.100.2:9005"},
		{"WireGuard", w.internet, "eth0", udp, "203.0.113.10", "198.51.100.2:51820", "gate udp 198.51.100.2:51820"},
		{"control from outside", w.internet, "eth0", tcp, "203.0.113.10", "198.51.100.2:7117", ""},
		{"closed", w.internet, "eth0", tcp, "203.0.113.10", "198.51.100.2:80", ""},
		{"closed by IPv6", w.internet, "eth0", udp, "2001:db8:c::10", "[2001:db8:a::2]:80", ""},
		{"ssh by UDP", w.internet, "eth0", udp, "203.0.113.10", "198.51.100.2:22", ""},
	}, w.fromHomes()...))
	after := w.counters(t, w.gate).Totals
	if n := after.Closed.Packets - before.Closed.Packets; n < 4 {
		t.Errorf("%d packets counted as to closed ports, want 4 or more", n)
	}
	if n := after.Tunnel.Packets - before.Tunnel.Packets; n != 5 {
		t.Errorf("%d packets counted as not offered in the tunnel, want 5", n)
	}
}

// fromHomes is what a home may ask of the gate, in both modes.
func (w *world) fromHomes() []passage {
	return []passage{
		{"control", w.home, tunnelName, tcp, "10.99.0.2", "10.99.0.1:7117", "gate tcp 10.99.0.1:7117"},
		{"control of the other home", w.home, tunnelName, udp, "10.99.0.3", "10.99.0.1:7117", "gate udp 10.99.0.1:7117"},
		{"control by IPv6", w.home, tunnelName, tcp, "fd99::2", "[fd99::1]:7117", "gate tcp [fd99::1]:7117"},
		{"ssh from home", w.home, tunnelName, tcp, "10.99.0.2", "10.99.0.1:22", ""},
		{"ssh from home to the public address", w.home, tunnelName, tcp, "10.99.0.2", "198.51.100.2:22", ""},
		{"WireGuard inside the tunnel", w.home, tunnelName, udp, "10.99.0.2", "10.99.0.1:51820", ""},
		{"control at the public address", w.home, tunnelName, tcp, "10.99.0.2", "198.51.100.2:7117", ""},
		{"ssh from home by IPv6", w.home, tunnelName, tcp, "fd99::2", "[fd99::1]:22", ""},
	}
}

func TestGateInputLeft(t *testing.T) {
	w := newWorld(t)
	want := gateWant(toHome(1, "80/tcp"))
	want.Gate.Input.Protect = false
	w.apply(t, want)
	w.check(t, append([]passage{
		{"any port", w.internet, "eth0", tcp, "203.0.113.10", "198.51.100.2:81", "gate tcp 198.51.100.2:81"},
		{"any port by IPv6", w.internet, "eth0", udp, "2001:db8:c::10", "[2001:db8:a::2]:81", "gate udp [2001:db8:a::2]:81"},
	}, w.fromHomes()...))
}

func TestGateBelievesNoForgedSource(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000")), homeWant(mappings(netip.Addr{}, "5000")...))
	before := w.counters(t, w.gate).Totals.Spoofed.Packets
	list := []passage{
		{"no tenant", w.home, tunnelName, tcp, "10.99.0.77", "10.99.0.1:7117", ""},
		{"the LAN", w.home, tunnelName, tcp, "192.168.1.20", "10.99.0.1:7117", ""},
		{"no tenant by IPv6", w.home, tunnelName, tcp, "fd99::77", "[fd99::1]:7117", ""},
		{"a home outside", w.internet, "eth0", tcp, "10.99.0.2", "198.51.100.2:22", ""},
		{"a home outside by IPv6", w.internet, "eth0", tcp, "fd99::2", "[2001:db8:a::2]:22", ""},
		{"a home outside to a forward", w.internet, "eth0", tcp, "10.99.0.3", "198.51.100.2:5000", ""},
		{"the gate outside", w.internet, "eth0", tcp, "10.99.0.1", "198.51.100.2:22", ""},
		{"to the tunnel address", w.internet, "eth0", udp, "203.0.113.10", "10.99.0.1:51820", ""},
		{"to a home's address", w.internet, "eth0", udp, "203.0.113.10", "10.99.0.2:5000", ""},
		{"to a home's address by IPv6", w.internet, "eth0", udp, "2001:db8:c::10", "[fd99::2]:5000", ""},
	}
	// The gate's own address from the tunnel never gets as far: the kernel
	// itself drops what claims to come from an address of its own.
	w.check(t, list)
	if n := w.counters(t, w.gate).Totals.Spoofed.Packets - before; n != uint64(len(list)) {
		t.Errorf("%d packets counted as spoofed, want %d", n, len(list))
	}
}

func TestHomesReachNobodyThroughTheGate(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000")))
	before := w.counters(t, w.gate).Totals.Leaked.Packets
	list := []passage{
		{"internet", w.home, tunnelName, tcp, "10.99.0.2", "203.0.113.10:80", ""},
		{"internet by IPv6", w.home, tunnelName, udp, "fd99::2", "[2001:db8:c::10]:80", ""},
		{"a forgotten answer", w.home, tunnelName, udp, "10.99.0.2", "203.0.113.10:40000", ""},
		{"the other home", w.home, tunnelName, tcp, "10.99.0.2", "10.99.0.3:5000", ""},
		{"the other home by IPv6", w.home, tunnelName, tcp, "fd99::2", "[fd99::3]:5000", ""},
	}
	w.check(t, list)
	if n := w.counters(t, w.gate).Totals.Leaked.Packets - before; n != uint64(len(list)) {
		t.Errorf("%d packets counted as leaked, want %d", n, len(list))
	}
	w.check(t, []passage{
		{"a forward of the public address", w.home, tunnelName, tcp, "10.99.0.3", "198.51.100.2:5000", ""},
	})
}

// Root at the gate sends what it likes.
func TestHomeBelievesNoGate(t *testing.T) {
	w := newWorld(t)
	want := homeWant(slices.Concat(mappings(netip.Addr{}, "5000", "2222:22/tcp"), mappings(lan4, "8080:80/tcp"), hiding(mappings(netip.Addr{}, "6000")))...)
	want.Home.DropPrivate = true
	w.apply(t, want)
	w.check(t, []passage{
		{"published", w.gate, tunnelName, tcp, "203.0.113.10", "10.99.0.2:5000", "home tcp 10.99.0.2:5000"},
		{"published by IPv6", w.gate, tunnelName, udp, "2001:db8:c::10", "[fd99::2]:5000", "home udp [fd99::2]:5000"},
		{"remapped", w.gate, tunnelName, tcp, "203.0.113.10", "10.99.0.2:2222", "home tcp 10.99.0.2:22"},
		{"LAN", w.gate, tunnelName, tcp, "203.0.113.10", "10.99.0.2:8080", "lan tcp 192.168.1.20:80"},
		{"the gate for those it hides", w.gate, tunnelName, tcp, "10.99.0.1", "10.99.0.2:6000", "home tcp 10.99.0.2:6000"},
		{"the same by IPv6", w.gate, tunnelName, udp, "fd99::1", "[fd99::2]:6000", "home udp [fd99::2]:6000"},
		{"the gate itself", w.gate, tunnelName, tcp, "10.99.0.1", "10.99.0.2:5000", ""},
		{"the gate itself by IPv6", w.gate, tunnelName, udp, "fd99::1", "[fd99::2]:5000", ""},
		{"the gate itself to the LAN", w.gate, tunnelName, tcp, "10.99.0.1", "10.99.0.2:8080", ""},
		{"undeclared", w.gate, tunnelName, tcp, "203.0.113.10", "10.99.0.2:5001", ""},
		{"the local port of a remapped one", w.gate, tunnelName, tcp, "203.0.113.10", "10.99.0.2:22", ""},
		{"a LAN port in the other family", w.gate, tunnelName, tcp, "2001:db8:c::10", "[fd99::2]:8080", ""},
		{"home's LAN address", w.gate, tunnelName, tcp, "203.0.113.10", "192.168.1.10:5000", ""},
		{"LAN device itself", w.gate, tunnelName, tcp, "203.0.113.10", "192.168.1.20:80", ""},
		{"LAN device itself by IPv6", w.gate, tunnelName, tcp, "2001:db8:c::10", "[2001:db8:1::20]:80", ""},
		{"from home's own LAN address", w.gate, tunnelName, tcp, "192.168.1.10", "10.99.0.2:5000", ""},
		{"from a neighbour", w.gate, tunnelName, tcp, "192.168.1.20", "10.99.0.2:5000", ""},
		{"from a neighbour by IPv6", w.gate, tunnelName, tcp, "2001:db8:1::99", "[fd99::2]:5000", ""},
		{"from a private address", w.gate, tunnelName, tcp, "10.1.2.3", "10.99.0.2:5000", ""},
		{"from carrier NAT", w.gate, tunnelName, tcp, "100.64.1.2", "10.99.0.2:5000", ""},
		{"from a unique local address", w.gate, tunnelName, tcp, "fd12::1", "[fd99::2]:5000", ""},
		{"from another home", w.gate, tunnelName, tcp, "10.99.0.3", "10.99.0.2:5000", ""},
		{"from loopback", w.gate, tunnelName, tcp, "127.0.0.1", "10.99.0.2:5000", ""},
		{"tunnel address by the LAN", w.lan, "eth0", tcp, "192.168.1.20", "10.99.0.2:5000", ""},
		{"tunnel address by the LAN, IPv6", w.lan, "eth0", tcp, "2001:db8:1::20", "[fd99::2]:5000", ""},
	})
	for _, p := range []probe{
		w.probe(w.home, "eth0", udp, homeTunnel4, "192.168.1.20:9"),
		w.probe(w.home, "eth0", udp, homeTunnel6, "[2001:db8:1::20]:9"),
	} {
		if err := p.try(p.from, p.device); !errors.Is(err, unix.EPERM) {
			t.Errorf("the tunnel address into the LAN: %v, want %v", err, unix.EPERM)
		}
	}
	totals := w.counters(t, w.home).Totals
	if totals.Leaked.Packets != 2 {
		t.Errorf("%d packets counted as leaked, want 2", totals.Leaked.Packets)
	}
	if totals.Spoofed.Packets < 7 || totals.Tunnel.Packets < 6 {
		t.Errorf("counted %+v", totals)
	}
}

func TestPrivateVisitorsUnlessRefused(t *testing.T) {
	w := newWorld(t)
	want := homeWant(mappings(netip.Addr{}, "5000")...)
	want.Home.Local = []netip.Prefix{prefix("192.168.1.0/24")}
	w.apply(t, want)
	w.check(t, []passage{
		{"private", w.gate, tunnelName, tcp, "10.1.2.3", "10.99.0.2:5000", "home tcp 10.99.0.2:5000"},
		{"from a neighbour", w.gate, tunnelName, tcp, "192.168.1.20", "10.99.0.2:5000", ""},
		{"from an address of home's own", w.gate, tunnelName, tcp, "2001:db8:1::10", "[fd99::2]:5000", ""},
	})
}

func TestAllowAndLimits(t *testing.T) {
	w := newWorld(t)
	allowed, rated, counted := toHome(1, "5001"), toHome(2, "5002"), toHome(3, "5003")
	allowed.Allow = []netip.Prefix{prefix("203.0.113.10/32"), prefix("2001:db8:c::/64")}
	rated.Limit.NewConnections = forward.Rate{Count: 3, Per: time.Hour}
	counted.Limit.Connections = 2
	w.apply(t, gateWant(allowed, rated, counted), homeWant(mappings(netip.Addr{}, "5001-5003")...))
	home := func(p forward.Protocol, a netip.Addr, port uint16) place {
		return place("home " + p.String() + " " + netip.AddrPortFrom(a, port).String())
	}
	in := func(src, dst string, end place) passage {
		return passage{"limits", w.internet, "eth0", udp, src, dst, end}
	}
	w.check(t, []passage{
		in("203.0.113.10", "198.51.100.2:5001", home(udp, homeTunnel4, 5001)),
		in("203.0.113.11", "198.51.100.2:5001", ""),
		in("2001:db8:c::10", "[2001:db8:a::2]:5001", home(udp, homeTunnel6, 5001)),
		in("2001:db8:c:1::10", "[2001:db8:a::2]:5001", ""),
	})
	for _, c := range []struct {
		port  uint16
		limit int
	}{{5002, 3}, {5003, 2}} {
		var list []passage
		for i := range 5 {
			end4, end6 := home(udp, homeTunnel4, c.port), home(udp, homeTunnel6, c.port)
			if i >= c.limit {
				end4, end6 = "", ""
			}
			four, six := netip.AddrPortFrom(gatePublic4, c.port).String(), netip.AddrPortFrom(gatePublic6, c.port).String()
			sixes := []string{"2001:db8:c::10", "2001:db8:c::11"} // one /64, one visitor
			list = append(list, in("203.0.113.10", four, end4), in(sixes[i%2], six, end6))
		}
		first4, first6 := home(udp, homeTunnel4, c.port), home(udp, homeTunnel6, c.port)
		list = append(list,
			in("203.0.113.11", netip.AddrPortFrom(gatePublic4, c.port).String(), first4),
			in("2001:db8:c:1::10", netip.AddrPortFrom(gatePublic6, c.port).String(), first6))
		w.check(t, list)
	}
	got := w.counters(t, w.gate).Forwards
	want := map[uint32]firewall.ForwardCounters{
		1: {NewConnections: 2, Dropped: firewall.Count{Packets: 2, Bytes: 28 + 48}},
		2: {NewConnections: 8, Dropped: firewall.Count{Packets: 4, Bytes: 2 * (28 + 48)}},
		3: {NewConnections: 6, Dropped: firewall.Count{Packets: 6, Bytes: 3 * (28 + 48)}},
	}
	for id, c := range want {
		if got[id].NewConnections != c.NewConnections || got[id].Dropped != c.Dropped {
			t.Errorf("forward %d counted %+v, want %+v", id, got[id], c)
		}
	}
}
