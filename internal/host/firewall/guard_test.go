package firewall_test

import (
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func openGuard(t testing.TB) *firewall.Guard { return openGuardWith(t, firewall.GuardOptions{}) }

func openGuardWith(t testing.TB, o firewall.GuardOptions) *firewall.Guard {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	g := firewall.OpenGuard(o)
	t.Cleanup(func() { must(t, g.Close()) })
	return g
}

// guardTable is what nft(8) shows of the guard of a namespace; "" if there is
// none.
func guardTable(t testing.TB, ns *netns.Namespace) string {
	t.Helper()
	var out []byte
	must(t, ns.Do(func() error {
		out, _ = exec.Command("nft", "list", "table", "inet", firewall.GuardTable(tableName)).Output()
		return nil
	}))
	return string(out)
}

// nftRefusal is what nft(8) says against a document; "" if it takes it.
func nftRefusal(t testing.TB, ns *netns.Namespace, text string) string {
	t.Helper()
	var out []byte
	must(t, ns.Do(func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(text)
		out, _ = cmd.CombinedOutput()
		return nil
	}))
	return string(out)
}

func guardDrift(t testing.TB, g *firewall.Guard, want plan.Firewall) []string {
	t.Helper()
	list, err := g.Drift(want)
	must(t, err)
	return list
}

func TestGuardReadsAsPlanned(t *testing.T) {
	ns := netnstest.New(t, "home")
	g := openGuard(t)
	inside(t, ns, func() { must(t, g.Raise(homeWant())) })
	out := guardTable(t, ns)
	for _, want := range []string{
		"flags owner", "Gatelodge: shuts the tunnel while table gatelodge0 is away",
		`iifname "gatelodge0" meta mark & 0x08000000 == 0x00000000 counter name "total_tunnel" drop`,
		`oifname "gatelodge0" meta mark & 0x08000000 == 0x00000000 counter name "total_tunnel" drop`,
		`iifname "gatelodge0" meta mark set meta mark & 0xf7ffffff`,
		`oifname != "gatelodge0" oifname != "lo" ip saddr 10.99.0.2 counter name "total_leaked" drop`,
		`oifname != "gatelodge0" oifname != "lo" ct direction reply ct original ip6 daddr fd99::2 counter name "total_leaked" drop`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the guard lacks %q:\n%s", want, out)
		}
	}
}

// Nobody else can take the guard away, and it goes with its socket.
func TestGuardBelongsToItsSocket(t *testing.T) {
	ns := netnstest.New(t, "home")
	g, want := openGuard(t), homeWant()
	inside(t, ns, func() {
		if seen := guardDrift(t, g, want); len(seen) != 1 {
			t.Errorf("before it stands: %q", seen)
		}
		must(t, g.Raise(want))
		must(t, g.Raise(want)) // again is no error
	})
	table := "inet " + firewall.GuardTable(tableName)
	if said := nftRefusal(t, ns, "flush ruleset\n"); said != "" {
		t.Errorf("a flush of the ruleset: %s", said)
	}
	for _, text := range []string{
		"delete table " + table, "flush table " + table, "flush chain " + table + " forward",
		"add rule " + table + " input accept", "add chain " + table + " mine", "destroy table " + table,
	} {
		if said := nftRefusal(t, ns, text+"\n"); said == "" {
			t.Errorf("somebody else can: %s", text)
		}
	}
	inside(t, ns, func() {
		if seen := guardDrift(t, g, want); len(seen) != 0 {
			t.Errorf("after all that: %q", seen)
		}
	})
	must(t, g.Close())
	if left := guardTable(t, ns); left != "" {
		t.Errorf("without its process there is still\n%s", left)
	}
}

// The next process takes over the socket that the service manager has kept, and
// with it the guard, which never goes.
func TestGuardIsHandedOn(t *testing.T) {
	ns := netnstest.New(t, "home")
	var kept *os.File
	keep := func(f *os.File) error {
		raw, err := f.SyscallConn()
		must(t, err)
		return raw.Control(func(fd uintptr) {
			again, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
			must(t, err)
			kept = os.NewFile(uintptr(again), "kept")
		})
	}
	first, want := openGuardWith(t, firewall.GuardOptions{Keep: keep}), homeWant()
	inside(t, ns, func() { must(t, first.Raise(want)) })
	must(t, first.Close())
	before := guardTable(t, ns)
	if before == "" {
		t.Fatal("the guard has gone with the first process")
	}
	next := openGuardWith(t, firewall.GuardOptions{Kept: kept})
	renamed := want
	renamed.Table = "other"
	inside(t, ns, func() {
		must(t, next.Raise(want))
		if seen := guardDrift(t, next, want); len(seen) != 0 {
			t.Errorf("the next process sees %q", seen)
		}
		must(t, next.Raise(renamed)) // the interface has another name now
	})
	if left := guardTable(t, ns); left != "" {
		t.Errorf("the guard of the old name is still there:\n%s", left)
	}
	must(t, next.Close())
	if tables := nftRefusal(t, ns, "list tables\n"); tables != "" {
		t.Errorf("left behind: %s", tables)
	}
}

// A file that is no such socket is closed, and another socket opened.
func TestGuardTakesNoOtherFileOver(t *testing.T) {
	ns := netnstest.New(t, "home")
	null, err := os.Open(os.DevNull)
	must(t, err)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	must(t, err)
	for _, f := range []*os.File{null, os.NewFile(uintptr(fd), "route")} {
		g := openGuardWith(t, firewall.GuardOptions{Kept: f})
		inside(t, ns, func() { must(t, g.Raise(homeWant())) })
		if guardTable(t, ns) == "" {
			t.Error("no guard")
		}
		if err := f.Close(); err == nil {
			t.Error("a file of no use was kept open")
		}
		must(t, g.Close())
	}
}

// A daemon that hangs may keep its guard: the next one goes on without, and
// makes its own as soon as that has ended.
func TestGuardOfAnotherProcess(t *testing.T) {
	ns := netnstest.New(t, "gate")
	old, g, want := openGuard(t), openGuard(t), gateWant()
	inside(t, ns, func() {
		must(t, old.Raise(want))
		must(t, g.Raise(want))
		if seen := guardDrift(t, g, want); len(seen) != 0 {
			t.Errorf("beside the other's: %q", seen)
		}
		if err := g.Lower(tableName); err == nil {
			t.Error("it could remove the other's")
		}
	})
	must(t, old.Close())
	inside(t, ns, func() {
		if seen := guardDrift(t, g, want); len(seen) != 1 {
			t.Errorf("after the other has ended: %q", seen)
		}
		must(t, g.Raise(want))
		if seen := guardDrift(t, g, want); len(seen) != 0 {
			t.Errorf("with its own: %q", seen)
		}
		must(t, g.Lower(tableName))
		must(t, g.Lower(tableName)) // gone is no error
	})
}

// Somebody has saved the ruleset and loaded it: the copy belongs to nobody, and
// ours takes its place.
func TestGuardTakesThePlaceOfACopy(t *testing.T) {
	ns := netnstest.New(t, "home")
	g, want := openGuard(t), homeWant()
	table := "table inet " + firewall.GuardTable(tableName)
	copied := table + " { chain forward { type filter hook forward priority -4; drop; } ; }\n"
	nft(t, ns, copied)
	inside(t, ns, func() {
		if seen := guardDrift(t, g, want); len(seen) != 1 {
			t.Errorf("a copy passes for ours: %q", seen)
		}
		must(t, g.Raise(want))
	})
	if out := guardTable(t, ns); !strings.Contains(out, "flags owner") || strings.Contains(out, " ; drop") {
		t.Errorf("the guard is\n%s", out)
	}
	must(t, g.Close())
	nft(t, ns, copied)
	inside(t, ns, func() { must(t, firewall.OpenGuard(firewall.GuardOptions{}).Lower(tableName)) })
	if left := guardTable(t, ns); left != "" {
		t.Errorf("a copy outlives down:\n%s", left)
	}
}

// Other rules are other guards: a change of the bit, the tunnel or our
// addresses is seen.
func TestGuardFollowsTheConfiguration(t *testing.T) {
	ns := netnstest.New(t, "home")
	g := openGuard(t)
	change := func(edit func(*plan.HomeFirewall)) plan.Firewall {
		want := homeWant()
		h := *want.Home
		edit(&h)
		want.Home = &h
		return want
	}
	inside(t, ns, func() {
		must(t, g.Raise(homeWant()))
		for what, want := range map[string]plan.Firewall{
			"bit":       change(func(h *plan.HomeFirewall) { h.Marks.AcceptedBit = 1 }),
			"tunnel":    change(func(h *plan.HomeFirewall) { h.Interface = "other" }),
			"addresses": change(func(h *plan.HomeFirewall) { h.Addresses = h.Addresses[:1] }),
		} {
			if seen := guardDrift(t, g, want); len(seen) != 1 {
				t.Errorf("another %s: %q", what, seen)
			}
			must(t, g.Raise(want))
			if seen := guardDrift(t, g, want); len(seen) != 0 {
				t.Errorf("another %s, raised: %q", what, seen)
			}
		}
	})
}

// Nobody restores the tables here: a daemon that is stopped, or dies. Whatever
// comes by the tunnel, or would go into it, stays out, whatever mark another
// program gives it; the rest of the machine is as it is without us.
func TestTheTunnelIsShutWhileTheTableIsAway(t *testing.T) {
	const forger = "table inet forger { chain c { type filter hook prerouting priority mangle; meta mark set 0x08000000; }; }\n"
	for name, other := range map[string]string{"alone": "", "beside another program's marks": forger} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.apply(t, gateWant(toHome(1, "7000/tcp", "7000/udp")), homeWant(mappings(netip.Addr{}, "7000/tcp", "7000/udp")...))
			for _, ns := range w.all() {
				nft(t, ns, "flush ruleset\n"+witness+other)
			}
			shut := w.probesOfTheTunnel()
			for _, p := range shut {
				p.send(t, p.from, p.device)
			}
			eventually(t, "every packet is counted as dropped", func() bool {
				return w.counters(t, w.gate).Totals.Tunnel.Packets+w.counters(t, w.home).Totals.Tunnel.Packets >= uint64(len(shut))
			})
			places := w.places(t)
			for _, p := range shut {
				if where := places[p.src.Port()]; where != "" {
					t.Errorf("%s %s > %s ended at %s", p.protocol, p.src, p.dst, where)
				}
			}
			for _, ssh := range []probe{
				w.probe(w.internet, "eth0", forward.TCP, visitors[0], "198.51.100.2:22"),
				w.probe(w.internet, "eth0", forward.TCP, visitors[2], "[2001:db8:a::2]:22"),
			} {
				ssh.send(t, w.internet, "eth0")
				eventually(t, "the gate's ssh is reached", func() bool { return w.places(t)[ssh.src.Port()] != "" })
			}
		})
	}
}

// probesOfTheTunnel are packets that would pass the tunnel if nothing kept them
// from it.
func (w *world) probesOfTheTunnel() []probe {
	var list []probe
	for _, p := range []forward.Protocol{forward.TCP, forward.UDP} {
		list = append(list,
			w.probe(w.gate, tunnelName, p, gateTunnel4, "10.99.0.2:22"),
			w.probe(w.gate, tunnelName, p, gateTunnel6, "[fd99::2]:7000"),
			w.probe(w.gate, tunnelName, p, visitors[0], "192.168.1.10:22"),
			w.probe(w.gate, tunnelName, p, visitors[0], "192.168.1.20:22"),
			w.probe(w.gate, tunnelName, p, visitors[2], "[2001:db8:1::20]:22"),
			w.probe(w.home, tunnelName, p, homeTunnel4, "10.99.0.1:7117"),
			w.probe(w.home, tunnelName, p, homeTunnel6, "[fd99::1]:22"),
			w.probe(w.home, tunnelName, p, homeTunnel4, "203.0.113.10:80"),
			w.probe(w.internet, "eth0", p, visitors[0], "10.99.0.2:7000"),
			w.probe(w.internet, "eth0", p, visitors[2], "[fd99::2]:7000"))
	}
	return list
}
