package wireguard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/wireguard"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func TestMain(m *testing.M) { netnstest.Main(m) }

// world is two ends of a tunnel with a router between:
//
//	gate eth0 ── gate0 router home0 ── eth0 home
//
//	gate  198.51.100.2, 2001:db8:a::2, UDP port 51820; in the tunnel 10.99.0.1, fd99::1
//	home  192.0.2.2, .3, 2001:db8:1::2; in the tunnel 10.99.0.2, fd99::2
type world struct {
	router     *netns.Namespace
	gate, home *end
}

// end is one end of the tunnel, which is an interface named gl0.
type end struct {
	ns     *netns.Namespace
	key    key.Private
	device wireguard.Device
	want   plan.WireGuard
	addrs  []string // in the tunnel
	tun    *os.File // for the next process to inherit

	keeping bool
	kept    *os.File // what the service manager keeps, if keeping
	log     strings.Builder
}

const tunnelName = "gl0"

var gateEndpoint = netip.MustParseAddrPort("198.51.100.2:51820")

func newWorld(t testing.TB) *world {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	w := &world{
		router: netnstest.New(t, "router"),
		gate:   newEnd(t, "gate", "10.99.0.1/24", "fd99::1/64"),
		home:   newEnd(t, "home", "10.99.0.2/24", "fd99::2/64"),
	}
	for _, ns := range []*netns.Namespace{w.router, w.gate.ns, w.home.ns} {
		run(t, ns, "", "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0") // nobody else has these addresses
	}
	ip(t, w.router, `
		link add gate0 type veth peer name eth0 netns gate
		link add home0 type veth peer name eth0 netns home
		addr add 198.51.100.1/24 dev gate0
		addr add 192.0.2.1/24 dev home0
		addr add 2001:db8:a::1/64 dev gate0 nodad
		addr add 2001:db8:1::1/64 dev home0 nodad
		link set gate0 up
		link set home0 up`)
	run(t, w.router, "", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	ip(t, w.gate.ns, `
		addr add 198.51.100.2/24 dev eth0
		addr add 2001:db8:a::2/64 dev eth0 nodad
		link set eth0 up
		route add default via 198.51.100.1
		route add default via 2001:db8:a::1`)
	ip(t, w.home.ns, `
		addr add 192.0.2.2/24 dev eth0
		addr add 192.0.2.3/24 dev eth0
		addr add 2001:db8:1::2/64 dev eth0 nodad
		link set eth0 up
		route add default via 192.0.2.1
		route add default via 2001:db8:1::1`)
	w.gate.want.ListenPort = gateEndpoint.Port()
	w.gate.want.Peers = []plan.Peer{peerOf(w.home, netip.AddrPort{})}
	w.home.want.Peers = []plan.Peer{peerOf(w.gate, gateEndpoint)}
	w.home.want.Peers[0].PersistentKeepalive = 15 * time.Second
	return w
}

func newEnd(t testing.TB, name string, addrs ...string) *end {
	t.Helper()
	e := &end{ns: netnstest.New(t, name), key: newKey(t), addrs: addrs}
	e.want = plan.WireGuard{Interface: tunnelName, PrivateKey: e.key, MTU: 1420}
	e.open(t)
	t.Cleanup(func() {
		if err := e.device.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// open opens the device, as a new process would.
func (e *end) open(t testing.TB) {
	t.Helper()
	e.do(t, func() (err error) {
		e.device, _, err = wireguard.Open(t.Context(), wireguard.Options{
			Interface: tunnelName,
			Choice:    wireguard.Embedded,
			TUN:       e.tun,
			KeepTUN:   e.keep,
			Log:       slog.New(slog.NewTextHandler(&e.log, nil)),
		})
		return err
	})
	e.tun = nil
}

// keep does what the service manager does with a file that it is to keep.
func (e *end) keep(f *os.File) error {
	if !e.keeping {
		return nil
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(err, raw.Control(func(fd uintptr) {
		var copied int
		if copied, err = unix.Dup(int(fd)); err == nil {
			e.kept = os.NewFile(uintptr(copied), "kept")
		}
	}))
}

func newKey(t testing.TB) key.Private {
	t.Helper()
	k, err := key.NewPrivate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func peerOf(e *end, endpoint netip.AddrPort) plan.Peer {
	p := plan.Peer{PublicKey: e.key.Public(), Endpoint: endpoint}
	for _, a := range e.addrs {
		addr := netip.MustParsePrefix(a).Addr()
		p.AllowedIPs = append(p.AllowedIPs, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return p
}

// up applies what both ends want and gives them their addresses.
func (w *world) up(t testing.TB) {
	t.Helper()
	for _, e := range []*end{w.gate, w.home} {
		e.apply(t)
		e.address(t)
	}
}

func (e *end) apply(t testing.TB) {
	t.Helper()
	e.do(t, func() error { return e.device.Apply(context.Background(), e.want) })
}

func (e *end) address(t testing.TB) {
	t.Helper()
	ip(t, e.ns, "link set "+tunnelName+" up")
	for _, a := range e.addrs {
		ip(t, e.ns, "addr add "+a+" dev "+tunnelName+" nodad")
	}
}

func (e *end) observe(t testing.TB) (o plan.ObservedWireGuard) {
	t.Helper()
	e.do(t, func() (err error) {
		o, err = e.device.Observe(context.Background())
		return err
	})
	return o
}

// peer returns what e sees of the other end.
func (e *end) peer(t testing.TB, other *end) plan.ObservedPeer {
	t.Helper()
	for _, p := range e.observe(t).Peers {
		if p.PublicKey == other.key.Public() {
			return p
		}
	}
	t.Fatal("the device has no such peer")
	return plan.ObservedPeer{}
}

func (e *end) do(t testing.TB, f func() error) {
	t.Helper()
	if err := e.ns.Do(f); err != nil {
		t.Fatal(err)
	}
}

// serve answers every TCP connection to e's address in the tunnel with what
// it receives.
func (e *end) serve(t testing.TB) {
	t.Helper()
	var l net.Listener
	e.do(t, func() (err error) {
		l, err = net.Listen("tcp", ":7000")
		return err
	})
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			context.AfterFunc(ctx, func() { _ = c.Close() })
			serving.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		serving.Wait()
	})
}

// dial connects to the other end's service, by IPv4 or IPv6 in the tunnel.
func (e *end) dial(t testing.TB, address string) net.Conn {
	t.Helper()
	var c net.Conn
	e.do(t, func() (err error) {
		c, err = net.DialTimeout("tcp", net.JoinHostPort(address, "7000"), patience)
		return err
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// patience is how long anything may take.
const patience = 20 * time.Second

// echo sends a word over a connection and waits for it to come back. It
// returns how long that took.
func echo(t testing.TB, c net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	_ = c.SetDeadline(start.Add(patience))
	word := []byte("hello")
	if _, err := c.Write(word); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, word); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if holds() {
			return
		}
	}
	t.Fatalf("not after %v: %s", patience, what)
}

// ip runs ip(8) in a namespace, a command a line. An address decides the
// family.
func ip(t testing.TB, ns *netns.Namespace, commands string) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(commands)) {
		args := strings.Fields(line)
		if strings.HasPrefix(line, "-") {
			run(t, ns, "", "ip", args...)
			continue
		}
		family := "-4"
		if strings.Contains(line, "::") {
			family = "-6"
		}
		run(t, ns, "", "ip", append([]string{family}, args...)...)
	}
}

// run runs a program in a namespace.
func run(t testing.TB, ns *netns.Namespace, stdin, name string, args ...string) string {
	t.Helper()
	var out []byte
	if err := ns.Do(func() (err error) {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func endpointAt(address string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(address), gateEndpoint.Port())
}
