package firewall_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"syscall"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// No spelling of an IPv4 address in IPv6, and no address that nobody has, gets
// past the gate: a service of both families would take it for 127.0.0.1.
func TestTheGateBelievesNoSpelling(t *testing.T) {
	w := newWorld(t)
	want := gateWant(toHome(1, "5000"))
	want.Gate.Input.Accept = ports("9000")
	w.apply(t, want, homeWant(mappings(netip.Addr{}, "5000")...))
	before := w.counters(t, w.gate).Totals.Spoofed.Packets
	var list []passage
	for _, src := range []string{
		"::ffff:127.0.0.1", "::ffff:192.168.1.20", "::ffff:203.0.113.10", "::127.0.0.1", "::192.168.1.20",
		"::ffff:0:127.0.0.1", "::1:127.0.0.1", "127.0.0.1",
	} {
		public := "[2001:db8:a::2]"
		if addr(src).Is4() {
			public = "198.51.100.2"
		}
		for _, port := range []string{":5000", ":9000"} {
			list = append(list, passage{src, w.internet, "eth0", udp, src, public + port, ""}, passage{src, w.internet, "eth0", tcp, src, public + port, ""})
		}
	}
	w.check(t, list)
	if n := w.counters(t, w.gate).Totals.Spoofed.Packets - before; n != uint64(len(list)) {
		t.Errorf("%d packets counted as spoofed, want %d", n, len(list))
	}
	// Of these the kernel itself drops some before they count.
	w.check(t, []passage{
		{"this network", w.internet, "eth0", udp, "0.1.2.3", "198.51.100.2:5000", ""},
		{"multicast", w.internet, "eth0", udp, "224.0.0.9", "198.51.100.2:5000", ""},
		{"reserved", w.internet, "eth0", udp, "250.1.2.3", "198.51.100.2:5000", ""},
		{"multicast by IPv6", w.internet, "eth0", udp, "ff02::1", "[2001:db8:a::2]:5000", ""},
		{"link-local", w.internet, "eth0", udp, "fe80::77", "[2001:db8:a::2]:5000", ""},
	})
}

// A user of the gate gets no further than a visitor: into a forward within its
// limits, and past none of them.
func TestUsersOfTheGateAreVisitors(t *testing.T) {
	w := newWorld(t)
	friends, few := toHome(1, "5000"), toHome(3, "7000")
	friends.Allow = []netip.Prefix{prefix("192.0.2.99/32")}
	few.Limit.Connections = 2
	w.apply(t, gateWant(friends, toHome(2, "6000"), few), homeWant(append(mappings(netip.Addr{}, "5000", "7000"), hiding(mappings(netip.Addr{}, "6000"))...)...))
	for _, port := range []uint16{5000, 6000, 7000} {
		serve(t, w.home, port)
	}
	for _, c := range []struct {
		why, to string
		port    uint16
		user    uint32
		in      bool
	}{
		{"a forward for others", "198.51.100.2", 5000, nobody, false},
		{"the same by IPv6", "2001:db8:a::2", 5000, nobody, false},
		{"a forward for all", "198.51.100.2", 6000, nobody, true},
		{"the same by IPv6", "2001:db8:a::2", 6000, nobody, true},
		{"the home itself", "10.99.0.2", 6000, nobody, false},
		{"the same by IPv6", "fd99::2", 6000, nobody, false},
		{"a forward for others, as root", "198.51.100.2", 5000, 0, false},
		{"the home itself, as root", "10.99.0.2", 6000, 0, true},
	} {
		for _, network := range []string{"tcp", "udp"} {
			if in := answersTo(t, w.gate, c.user, network, c.to, c.port); in != c.in {
				t.Errorf("user %d of the gate at %s by %s: let in %t, want %t", c.user, c.why, network, in, c.in)
			}
		}
	}
	for i := range 3 {
		c, err := visit(t, w.gate, "udp", netip.Addr{}, netip.AddrPortFrom(gatePublic4, 7000))
		must(t, err)
		if got := !dead(c); got != (i < 2) {
			t.Errorf("connection %d of the gate to a forward that allows two: %t", i+1, got)
		}
	}
	counted := w.counters(t, w.gate).Forwards
	if f := counted[2]; f.NewConnections != 4 || f.In.Packets == 0 || f.Out.Packets == 0 {
		t.Errorf("connections of the gate's users are counted as %+v", f)
	}
	if n := counted[1].Dropped.Packets; n == 0 {
		t.Error("what allow refuses is not counted")
	}
}

// Any user may send from an IPv6 address that the machine does not have.
func TestUsersOfTheGateAreNoHomes(t *testing.T) {
	w := newWorld(t)
	w.apply(t, gateWant(toHome(1, "5000")), homeWant(mappings(netip.Addr{}, "5000")...))
	w.check(t, []passage{
		{"the control channel", w.gate, "", udp, "fd99::2", "[fd99::1]:7117", ""},
		{"the same by TCP", w.gate, "", tcp, "fd99::2", "[fd99::1]:7117", ""},
		{"the same by IPv4", w.gate, "", udp, "10.99.0.2", "10.99.0.1:7117", ""},
		{"a port of the gate", w.gate, "", udp, "fd99::3", "[2001:db8:a::2]:22", ""},
	})
	for _, p := range []probe{
		w.probe(w.gate, tunnelName, udp, nextTunnel6, "[fd99::2]:5000"),
		w.probe(w.gate, tunnelName, udp, nextTunnel4, "10.99.0.2:5000"),
	} {
		if err := p.try(p.from, p.device); err == nil {
			t.Errorf("%s goes into the tunnel", p)
		}
	}
}

const nobody = 65534

// answersTo reports whether a program of that user gets an answer.
func answersTo(t *testing.T, ns *netns.Namespace, user uint32, network, to string, port uint16) bool {
	t.Helper()
	answered := false
	must(t, ns.Do(func() error {
		cmd := exec.Command("timeout", "1", "bash", "-c", fmt.Sprintf("exec 3<>/dev/%s/%s/%d && echo '?' >&3 && read -r -n 1 <&3", network, to, port))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		answered = cmd.Run() == nil
		return nil
	}))
	return answered
}
