package host_test

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/store"
)

func TestMain(m *testing.M) { netnstest.Main(m) }

// machine is a network namespace that stands for a machine with a LAN, and
// with rules, routes and tables of others.
type machine struct {
	ns   *netns.Namespace
	host *host.Host

	journal *store.Journal
	store   *store.Store
}

// foreign is what others have on the machine; some looks much like ours.
const foreign = `
	link add eth0 type bridge
	link set eth0 up
	addr add 192.168.1.10/24 dev eth0
	route add default via 192.168.1.1
	route add 203.0.113.0/24 dev eth0 table 55107
	route add blackhole 198.51.100.0/24 table 99
	rule add pref 5301 fwmark 0x10000000/0xf0000000 lookup 99
	rule add pref 90 lookup 77 protocol 3`

const foreignTable = `
	table inet theirs {
		chain input {
			type filter hook input priority 0; policy accept;
			tcp dport 631 drop
		}
	}
	table ip gatelodge {
		set named_like_ours { type ipv4_addr; elements = { 192.0.2.7 }; }
	}`

func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{ns: netnstest.New(t, "machine")}
	m.sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1") // no addresses that the kernel adds later
	m.sysctl(t, "net/ipv4/ip_forward", "0")
	m.run(t, foreign, "ip", "-batch", "-")
	m.run(t, foreignTable, "nft", "-f", "-")
	m.store = newStore(t)
	m.open(t, config.DefaultInterface)
	return m
}

func newStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "state"), nil) // made for its owner alone
	must(t, err)
	return s
}

// open opens the machine as a new process of the instance of that name would.
func (m *machine) open(t testing.TB, name string) *host.Host {
	t.Helper()
	var err error
	m.journal, _, err = m.store.Journal("boot")
	must(t, err)
	must(t, m.ns.Do(func() (err error) {
		m.host, err = host.Open(context.Background(), host.Options{
			Interface: name, Device: "embedded", Journal: m.journal, Log: slog.New(slog.DiscardHandler),
		})
		return err
	}))
	opened := m.host
	t.Cleanup(func() { must(t, opened.Close()) })
	return opened
}

// facts are what the machine says of itself.
func (m *machine) facts(t testing.TB) (facts plan.Facts) {
	t.Helper()
	must(t, m.ns.Do(func() (err error) {
		facts, err = m.host.Facts(context.Background(), config.DefaultInterface)
		return err
	}))
	return facts
}

// home is what a home wants of the machine, with that further text in its
// home.toml.
func (m *machine) home(t testing.TB, text string) plan.State {
	t.Helper()
	return homeOf(t, text, m.facts(t))
}

func homeOf(t testing.TB, text string, facts plan.Facts) plan.State {
	t.Helper()
	c, err := config.ParseHome("home.toml", []byte("version = 1\n"+text))
	must(t, err)
	return plan.ForHome(c, plan.HomeInput{
		PrivateKey:    newKey(t),
		Addresses:     []netip.Addr{addr("10.99.0.2"), addr("fd99::2")},
		GatePublicKey: newKey(t).Public(),
		GateAddresses: []netip.Addr{addr("10.99.0.1"), addr("fd99::1")},
		Endpoint:      netip.MustParseAddrPort("198.51.100.2:55107"),
	}, facts)
}

// lan publishes a service of another device, for which home must forward.
const lan = `
[forward.camera]
ports = "8080/tcp"
to = "192.168.1.20"
`

// gate is what a gate wants of the machine.
func (m *machine) gate(t testing.TB, text string, forwards ...forward.Grant) plan.State {
	t.Helper()
	return gateOf(t, text, m.facts(t), forwards...)
}

func gateOf(t testing.TB, text string, facts plan.Facts, forwards ...forward.Grant) plan.State {
	t.Helper()
	c, err := config.ParseGate("gate.toml", []byte("version = 1\n"+text))
	must(t, err)
	return plan.ForGate(c, plan.GateInput{
		PrivateKey: newKey(t),
		Tenants:    []plan.Tenant{{PublicKey: newKey(t).Public(), Addresses: []netip.Addr{addr("10.99.0.2")}}},
		Forwards:   forwards,
		Input:      plan.WantedInput(c),
	}, facts)
}

func (m *machine) apply(t testing.TB, h *host.Host, want plan.State) (changes []plan.Step, err error) {
	t.Helper()
	err = m.ns.Do(func() error {
		changes, err = h.Apply(context.Background(), want)
		return err
	})
	return changes, err
}

// bring applies what must succeed, and to nothing left to do.
func (m *machine) bring(t testing.TB, want plan.State) {
	t.Helper()
	if changes, err := m.apply(t, m.host, want); err != nil || len(changes) == 0 {
		t.Fatalf("changed %v: %v", changes, err)
	}
	if changes, err := m.apply(t, m.host, want); err != nil || len(changes) != 0 {
		t.Fatalf("the second time changed %v: %v", changes, err)
	}
	m.settle(t, want.Routing.Addresses)
}

// settle waits for the routes that the kernel adds for IPv6 addresses a moment
// after these.
func (m *machine) settle(t testing.TB, addresses []netip.Prefix) {
	t.Helper()
	const patience = 10 * time.Second
	for _, a := range addresses {
		deadline := time.Now().Add(patience)
		for a.Addr().Is6() && !strings.Contains(m.run(t, "", "ip", "-6", "route", "show", "table", "local"), "local "+a.Addr().String()+" ") {
			if time.Now().After(deadline) {
				t.Fatalf("no local route for %s after %v", a, patience)
			}
		}
	}
}

// diff is what lies between the machine and the wanted state.
func (m *machine) diff(t testing.TB, h *host.Host, want plan.State) (changes []plan.Step) {
	t.Helper()
	must(t, m.ns.Do(func() (err error) {
		changes, err = h.Diff(context.Background(), want)
		return err
	}))
	return changes
}

// remove takes the named instances from the machine, as gatelodge down does.
func (m *machine) remove(t testing.TB, names ...string) (done []string) {
	t.Helper()
	must(t, m.ns.Do(func() (err error) {
		done, err = host.Remove(context.Background(), names, m.journal.Entries())
		return err
	}))
	must(t, m.journal.Clear())
	return done
}

// dump is all that the machine has and that we might have changed.
func (m *machine) dump(t testing.TB) string {
	t.Helper()
	var all strings.Builder
	for _, family := range []string{"-4", "-6"} {
		all.WriteString(m.run(t, "", "ip", "-d", family, "rule"))
		all.WriteString(m.run(t, "", "ip", "-d", family, "route", "show", "table", "all"))
	}
	all.WriteString(m.run(t, "", "ip", "-o", "addr"))
	all.WriteString(m.run(t, "", "ip", "-o", "link"))
	all.WriteString(m.run(t, "", "nft", "list", "ruleset"))
	for _, name := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.all.send_redirects", "net.ipv4.conf.eth0.send_redirects", "net.ipv4.conf.all.rp_filter"} {
		all.WriteString(m.run(t, "", "sysctl", name))
	}
	return all.String()
}

func (m *machine) run(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var text []byte
	err := m.ns.Do(func() (err error) { text, err = cmd.CombinedOutput(); return err })
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, text)
	}
	return string(text)
}

func (m *machine) sysctl(t testing.TB, path, value string) {
	t.Helper()
	must(t, m.ns.Do(func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0) }))
}

func newKey(t testing.TB) key.Private {
	t.Helper()
	k, err := key.NewPrivate()
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
