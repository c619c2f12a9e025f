package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

// TestMain lets the test binary stand in for gatelodge where the lab runs it.
func TestMain(m *testing.M) {
	StandIn()
	if len(os.Args) > 3 && os.Args[1] == "--root" {
		exit(standIn(os.Args[2], os.Args[3:]))
	}
	netnstest.Main(m)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// standIn does what the tests need of gatelodge: a daemon that writes down
// that it is up, and a status that tells.
func standIn(root string, args []string) error {
	up := root + "/up"
	switch strings.Join(args, " ") {
	case "run":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Fprintln(os.Stderr, "running")
		if err := os.WriteFile(up, []byte(`{"running":true,"tunnel":{"up":true,"device":"none"}}`), 0o600); err != nil {
			return err
		}
		<-stop
		return os.Remove(up)
	case "status --json":
		text, err := os.ReadFile(up)
		fmt.Println(string(text))
		return err
	}
	return fmt.Errorf("gatelodge: error: cannot %s\ngatelodge: hint: none", strings.Join(args, " "))
}

func newLab(t *testing.T) *Lab {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(t.Context(), Options{
		Binary: self,
		// Under the race detector a program rests for a second when it ends.
		Env: []string{"GORACE=atexit_sleep_ms=0"},
		Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

const testPort = 9999

func at(addr string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
}

func TestWhoReachesWhom(t *testing.T) {
	l := newLab(t)
	if err := l.Gate().Echo(testPort); err != nil {
		t.Fatal(err)
	}
	type ask = func(context.Context, *Host, netip.AddrPort) (Answer, error)
	for _, c := range []struct {
		name string
		from string
		to   netip.AddrPort
		ask  ask
		host string
		saw  string
	}{
		{"visitor to the gate, IPv4", "visitor", at("198.51.100.1", PortGateSSH), ProbeSSH, "gate", "203.0.113.10"},
		{"visitor to the gate, IPv6", "visitor", at("2001:db8:a::1", PortGateSSH), ProbeSSH, "gate", "2001:db8:c::10"},
		{"visitor to the gate, UDP", "visitor", at("2001:db8:a::1", testPort), ProbeUDP, "gate", "2001:db8:c::10"},
		{"home through the NAT, TCP", "home", at("198.51.100.1", testPort), ProbeTCP, "gate", "192.0.2.2"},
		{"home through the NAT, UDP", "home", at("198.51.100.1", testPort), ProbeUDP, "gate", "192.0.2.2"},
		{"home2 through the NAT", "home2", at("198.51.100.1", testPort), ProbeUDP, "gate", "192.0.2.2"},
		{"device through the NAT", "device", at("198.51.100.1", testPort), ProbeTCP, "gate", "192.0.2.2"},
		{"container through two NATs", "container", at("198.51.100.1", testPort), ProbeTCP, "gate", "192.0.2.2"},
		{"home to the device", "home", at("192.168.1.20", PortDevice), ProbeTCP, "device", "192.168.1.10"},
		{"device to the container", "device", at("192.168.1.10", PortContainer), ProbeHTTP, "container", "192.168.1.20"},
		{"device to home's certificate", "device", at("192.168.1.10", PortHTTPS), l.ProbeHTTPS, "home", "192.168.1.20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := c.ask(t.Context(), l.Host(c.from), c.to)
			if err != nil {
				t.Fatal(err)
			}
			if a.Host != c.host || a.Saw.Addr() != netip.MustParseAddr(c.saw) {
				t.Errorf("%s saw %s, want %s to see %s", a.Host, a.Saw, c.host, c.saw)
			}
		})
	}
}

func TestNothingGetsInToHomes(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct{ from, to string }{
		{"visitor", "192.168.1.10"},
		{"visitor", "192.0.2.2"},
		{"internet", "192.0.2.2"},
		{"gate", "192.168.1.20"},
		{"home2", "192.168.1.10"},
	} {
		if a, err := ProbeTCP(t.Context(), l.Host(c.from), at(c.to, PortEcho)); err == nil {
			t.Errorf("%s reaches %s through %s", c.from, a.Host, c.to)
		}
	}
}

func TestLargeTransfer(t *testing.T) {
	l := newLab(t)
	for _, d := range []Direction{Download, Upload} {
		if _, err := Transfer(t.Context(), l.Host("device"), at("192.168.1.10", PortBulk), d, 1_000_000); err != nil {
			t.Errorf("%c: %v", d, err)
		}
	}
}

func TestSilence(t *testing.T) {
	l := newLab(t)
	const wait = 200 * time.Millisecond
	gate, visitor := l.Gate().IPv4, l.Visitor()
	if err := l.Gate().Echo(testPort); err != nil {
		t.Fatal(err)
	}
	for _, p := range []forward.Protocol{forward.TCP, forward.UDP} {
		if ProbeSilence(t.Context(), visitor, p, netip.AddrPortFrom(gate, testPort), wait) == nil {
			t.Errorf("an answer over %s counts as silence", p)
		}
		if ProbeSilence(t.Context(), visitor, p, netip.AddrPortFrom(gate, 1), wait) == nil {
			t.Errorf("a refusal over %s counts as silence", p)
		}
	}
	if err := l.BlockUDP(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ProbeSilence(t.Context(), l.Home(), forward.UDP, netip.AddrPortFrom(gate, testPort), wait); err != nil {
		t.Errorf("blocked UDP is not silent: %v", err)
	}
	if err := l.UnblockUDP(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ProbeUDP(t.Context(), l.Home(), netip.AddrPortFrom(gate, testPort)); err != nil {
		t.Errorf("after unblocking: %v", err)
	}
}

func TestNATForgets(t *testing.T) {
	l := newLab(t)
	if err := l.Gate().Echo(testPort); err != nil {
		t.Fatal(err)
	}
	c, err := l.Home().Dial(t.Context(), "udp", at("198.51.100.1", testPort).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	seen := func() netip.AddrPort {
		t.Helper()
		if err := c.SetDeadline(time.Now().Add(AnswerTime)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(nil); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 200)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseGreeting(string(buf[:n]))
		if err != nil {
			t.Fatal(err)
		}
		return a.Saw
	}
	before := seen()
	if again := seen(); again != before {
		t.Errorf("the mapping went from %s to %s by itself", before, again)
	}
	if err := l.FlushNAT(t.Context()); err != nil {
		t.Fatal(err)
	}
	flushed := seen()
	if flushed.Port() == before.Port() || flushed.Addr() != before.Addr() {
		t.Errorf("after FlushNAT the gate sees %s, before %s", flushed, before)
	}
	moved := netip.MustParseAddr("192.0.2.77")
	if err := l.ChangeAddress(t.Context(), "cgnat", moved); err != nil {
		t.Fatal(err)
	}
	if got := seen().Addr(); got != moved {
		t.Errorf("after ChangeAddress the gate sees %s, want %s", got, moved)
	}
}

func TestGateMoves(t *testing.T) {
	l := newLab(t)
	old, moved := l.Gate().IPv4, netip.MustParseAddr("198.51.100.7")
	if err := l.ChangeAddress(t.Context(), "gate", moved); err != nil {
		t.Fatal(err)
	}
	if _, err := ProbeSSH(t.Context(), l.Home(), netip.AddrPortFrom(moved, PortGateSSH)); err != nil {
		t.Error(err)
	}
	if _, err := ProbeSSH(t.Context(), l.Visitor(), at("2001:db8:a::1", PortGateSSH)); err != nil {
		t.Error(err)
	}
	if err := ProbeSilence(t.Context(), l.Home(), forward.TCP, netip.AddrPortFrom(old, PortGateSSH), 200*time.Millisecond); err != nil {
		t.Errorf("the old address: %v", err)
	}
	if err := l.ChangeAddress(t.Context(), "home", moved); err == nil {
		t.Error("home has no public address, and yet it was changed")
	}
}

func TestNarrowPath(t *testing.T) {
	l := newLab(t)
	if err := l.SetMTU("cgnat-internet", 1400); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), AnswerTime)
	defer cancel()
	err := Until(ctx, 5*time.Millisecond, func() error {
		mtu, err := pathMTU(l.Home(), netip.AddrPortFrom(l.Gate().IPv4, testPort))
		if err == nil && mtu != 1400 {
			err = fmt.Errorf("home's path MTU to the gate is %d, want %d", mtu, 1400)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := l.SetMTU("no-such", 1400); err == nil {
		t.Error("a wire that does not exist got an MTU")
	}
}

// pathMTU sends a packet of 1500 bytes that must not be fragmented, and
// returns what the kernel knows of the path.
func pathMTU(h *Host, to netip.AddrPort) (mtu int, err error) {
	err = h.ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
			return err
		}
		if mtu, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU); err == nil && mtu == 1500 {
			_, err = unix.Write(fd, make([]byte, 1472))
		}
		return err
	})
	return mtu, err
}
