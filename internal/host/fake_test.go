package host_test

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// walk has the machine in memory and a real one do the same, and holds what they say
// of themselves against each other after each step.
type walk struct {
	t     *testing.T
	real  *machine
	fake  *hosttest.Machine
	want  plan.State
	peers []key.Private
	ports [2]uint16 // of the device, on both, that the kernel has chosen
	out   map[key.Public]bool
	steps map[string]int
}

// TestTheFakeIsLikeTheKernel walks at random, as a gate and as a home. Each step begins
// where the last one has led.
func TestTheFakeIsLikeTheKernel(t *testing.T) {
	for _, role := range []forward.Role{forward.Gate, forward.Home} {
		t.Run(string(role), func(t *testing.T) {
			const steps = 150
			w := newWalk(t, role)
			fix(t, "rapid.seed", "7")
			fix(t, "rapid.checks", fmt.Sprint(steps))
			rapid.Check(t, w.step)
			t.Logf("the steps were %v", w.steps)
			if len(w.steps) < 10 {
				t.Errorf("only %d kinds of steps were taken", len(w.steps))
			}
		})
	}
}

func newWalk(t *testing.T, role forward.Role) *walk {
	t.Helper()
	w := &walk{t: t, real: newMachine(t), steps: map[string]int{}, out: map[key.Public]bool{}}
	for range 4 {
		w.peers = append(w.peers, newKey(t))
	}
	facts := w.real.facts(t)
	w.fake = hosttest.New(facts)
	admit := func(k key.Public) bool { return !w.out[k] }
	w.real.host.AdmitOnly(admit)
	w.fake.AdmitOnly(admit)
	if role == forward.Gate {
		w.want = w.real.gate(t, "[firewall]\ninput = \"leave\"\n")
		w.want.WireGuard.Peers = nil
	} else {
		w.want = w.real.home(t, lan)
		w.want.WireGuard.Peers[0].PublicKey = w.peers[0].Public()
	}
	var first plan.Observed
	w.do(func(ctx context.Context) (err error) { first, err = w.real.host.Observe(ctx, w.want); return err })
	w.fake.Do(func(f *hosttest.World) {
		f.Kind, f.Routing.Sysctls = plan.Embedded, first.Routing.Sysctls
		f.Routing.Sysctls = append(f.Routing.Sysctls, plan.Sysctl{Name: "net.ipv6.conf.gatelodge.disable_ipv6", Value: "1"})
	})
	return w
}

// do does something on the real machine, which must succeed.
func (w *walk) do(f func(ctx context.Context) error) {
	w.t.Helper()
	must(w.t, w.real.ns.Do(func() error { return f(context.Background()) }))
}

// step is one step of the walk.
func (w *walk) step(t *rapid.T) {
	steps := map[string]func(t *rapid.T){
		"apply": func(*rapid.T) { w.apply() }, "peers": w.wantPeers, "endpoint": w.wantEndpoint, "forwards": w.wantForwards, "mtu": w.wantMTU,
		"drop": w.drop, "admit": func(*rapid.T) { clear(w.out) }, "renew": w.renew, "redial": w.redial,
		"table goes": w.loseTable, "link goes down": w.linkDown, "address goes": w.loseAddress, "rules go": w.loseRules, "forwarding goes": w.loseForwarding,
	}
	var names []string
	for name := range steps {
		names = append(names, name)
	}
	slices.Sort(names)
	name := rapid.SampledFrom(append(names, "apply", "apply", "apply")).Draw(t, "step")
	steps[name](t)
	w.steps[name]++
	w.compare(t, name)
}

var ctx = context.Background()

func (w *walk) apply() {
	fake, fakeErr := w.fake.Apply(ctx, w.want)
	real, realErr := w.real.apply(w.t, w.real.host, w.want)
	if fakeErr != nil || realErr != nil {
		w.t.Fatalf("apply: %v, and the real machine says %v", fakeErr, realErr)
	}
	if d := cmp.Diff(texts(real), texts(fake)); d != "" {
		w.t.Errorf("they were changed otherwise (-real +fake):\n%s", d)
	}
	w.real.settle(w.t, w.want.Routing.Addresses)
}

// texts are steps in words, and their reasons, in any order.
func texts(steps []plan.Step) []string {
	list := []string{}
	for _, s := range steps {
		what, why, _ := strings.Cut(fmt.Sprint(s), ": ")
		reasons := strings.Split(why, "; ")
		slices.Sort(reasons)
		list = append(list, what+": "+strings.Join(reasons, "; "))
	}
	slices.Sort(list)
	return list
}

func (w *walk) wantPeers(t *rapid.T) {
	if w.want.Role == forward.Home {
		w.want.WireGuard.Peers = slices.Clone(w.want.WireGuard.Peers)
		w.want.WireGuard.Peers[0].PublicKey = w.drawPeer(t)
		return
	}
	w.want.WireGuard.Peers = nil
	for i, p := range w.peers {
		if rapid.Bool().Draw(t, "wanted") {
			w.want.WireGuard.Peers = append(w.want.WireGuard.Peers, plan.Peer{
				PublicKey: p.Public(), PersistentKeepalive: rapid.SampledFrom([]time.Duration{0, plan.Keepalive}).Draw(t, "keepalive"),
				AllowedIPs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 99, 0, byte(i + 2)}), 32)},
			})
		}
	}
}

func (w *walk) drawPeer(t *rapid.T) key.Public {
	return rapid.SampledFrom(w.peers).Draw(t, "peer").Public()
}

func (w *walk) wantEndpoint(t *rapid.T) {
	w.want.WireGuard.Peers = slices.Clone(w.want.WireGuard.Peers)
	for i := range w.want.WireGuard.Peers {
		w.want.WireGuard.Peers[i].Endpoint = rapid.SampledFrom([]netip.AddrPort{
			{}, netip.MustParseAddrPort("198.51.100.2:55107"), netip.MustParseAddrPort("198.51.100.3:55107"),
		}).Draw(t, "endpoint")
	}
}

func (w *walk) wantForwards(t *rapid.T) {
	if g := w.want.Firewall.Gate; g != nil {
		changed := *g
		changed.User = rapid.Uint32Range(1, 3).Draw(t, "user")
		w.want.Firewall.Gate = &changed
		return
	}
	changed := *w.want.Firewall.Home
	changed.DropPrivate = !changed.DropPrivate
	w.want.Firewall.Home = &changed
}

func (w *walk) wantMTU(t *rapid.T) {
	w.want.Routing.MTU = rapid.SampledFrom([]int{1280, 1420}).Draw(t, "MTU")
	w.want.WireGuard.MTU = w.want.Routing.MTU
}

func (w *walk) drop(t *rapid.T) {
	k := w.drawPeer(t)
	w.out[k] = true
	must(w.t, w.fake.Drop(ctx, []key.Public{k}))
	w.do(func(ctx context.Context) error { return w.real.host.Drop(ctx, []key.Public{k}) })
}

func (w *walk) renew(t *rapid.T) {
	k := w.drawPeer(t)
	must(w.t, w.fake.Renew(ctx, w.want, []key.Public{k}))
	w.do(func(ctx context.Context) error { return w.real.host.Renew(ctx, w.want, []key.Public{k}) })
}

func (w *walk) redial(*rapid.T) {
	must(w.t, w.fake.Redial(ctx, w.want))
	w.do(func(ctx context.Context) error { return w.real.host.Redial(ctx, w.want) })
}

// What follows is done by somebody else, where there is something to do it to.

func (w *walk) loseTable(*rapid.T) {
	w.other(func(f *hosttest.World) bool { there := f.Table != ""; f.Table = ""; return there }, "nft", "delete", "table", "inet", config.DefaultInterface)
}

func (w *walk) linkDown(*rapid.T) {
	w.other(func(f *hosttest.World) bool {
		there := f.Routing.LinkUp
		if there {
			// The kernel deletes routes by an interface that goes down, and addresses of IPv6.
			f.Routing.LinkUp = false
			f.Routing.Routes = slices.DeleteFunc(f.Routing.Routes, func(r plan.Route) bool { return r.Interface == config.DefaultInterface })
			f.Routing.Addresses = slices.DeleteFunc(f.Routing.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() })
		}
		return there
	}, "ip", "link", "set", config.DefaultInterface, "down")
}

func (w *walk) loseAddress(*rapid.T) {
	w.other(func(f *hosttest.World) bool {
		there := slices.Contains(f.Routing.Addresses, w.want.Routing.Addresses[0])
		f.Routing.Addresses = slices.DeleteFunc(f.Routing.Addresses, func(p netip.Prefix) bool { return p == w.want.Routing.Addresses[0] })
		// With the last address of IPv4 the kernel deletes the routes of IPv4.
		f.Routing.Routes = slices.DeleteFunc(f.Routing.Routes, func(r plan.Route) bool { return r.Interface == config.DefaultInterface && r.Destination.Addr().Is4() })
		return there
	}, "ip", "addr", "del", w.want.Routing.Addresses[0].String(), "dev", config.DefaultInterface)
}

func (w *walk) loseRules(*rapid.T) {
	w.other(func(f *hosttest.World) bool {
		there := slices.ContainsFunc(f.Routing.Rules, func(r plan.Rule) bool { return !r.IPv6 })
		f.Routing.Rules = slices.DeleteFunc(f.Routing.Rules, func(r plan.Rule) bool { return !r.IPv6 })
		return there
	}, "ip", "-4", "rule", "flush", "protocol", fmt.Sprint(plan.RouteProtocol))
}

func (w *walk) loseForwarding(*rapid.T) {
	w.other(func(f *hosttest.World) bool { f.SetSysctl("net.ipv4.ip_forward", "0"); return true }, "sysctl", "-q", "net.ipv4.ip_forward=0")
}

// other has somebody else do something to both machines: to the real one by a command,
// if the one in memory says that there is something to do.
func (w *walk) other(fake func(*hosttest.World) bool, name string, args ...string) {
	there := false
	w.fake.Do(func(f *hosttest.World) { there = fake(f) })
	if there {
		w.real.run(w.t, "", name, args...)
	}
}

// compare holds what both say of themselves against each other.
func (w *walk) compare(t *rapid.T, after string) {
	fake, err := w.fake.Observe(ctx, w.want)
	must(w.t, err)
	var real plan.Observed
	w.do(func(ctx context.Context) (err error) { real, err = w.real.host.Observe(ctx, w.want); return err })
	w.comparePorts(t, &real, &fake)
	if d := cmp.Diff(real, fake, sameMeaning...); d != "" {
		t.Fatalf("after %q they differ (-real +fake):\n%s", after, d)
	}
	left, err := w.fake.Diff(ctx, w.want)
	must(w.t, err)
	if d := cmp.Diff(texts(w.real.diff(w.t, w.real.host, w.want)), texts(left)); d != "" {
		t.Fatalf("after %q this is left to do (-real +fake):\n%s", after, d)
	}
}

// comparePorts says whether a port that the kernel chooses is another one on both, or
// on none, and takes it out.
func (w *walk) comparePorts(t *rapid.T, real, fake *plan.Observed) {
	if w.want.WireGuard.ListenPort != 0 {
		return
	}
	now := [2]uint16{real.WireGuard.ListenPort, fake.WireGuard.ListenPort}
	if (now[0] == w.ports[0]) != (now[1] == w.ports[1]) {
		t.Fatalf("the ports were %v and are %v", w.ports, now)
	}
	w.ports = now
	real.WireGuard.ListenPort, fake.WireGuard.ListenPort = 0, 0
}

// sameMeaning is what does not count: the order of things, and what is sent on the
// real machine.
var sameMeaning = []cmp.Option{
	cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{}, netip.Addr{}),
	cmpopts.IgnoreFields(plan.ObservedPeer{}, "SentBytes"),
	cmpopts.SortSlices(func(a, b netip.Prefix) bool { return a.String() < b.String() }),
	cmpopts.SortSlices(func(a, b plan.Route) bool { return a.String() < b.String() }),
	cmpopts.SortSlices(func(a, b plan.Rule) bool { return a.String() < b.String() }),
	cmpopts.SortSlices(func(a, b plan.ObservedPeer) bool { return strings.Compare(a.PublicKey.Hex(), b.PublicKey.Hex()) < 0 }),
}

// fix gives a flag of rapid a value, unless the command line has given it one.
func fix(t *testing.T, name, value string) {
	t.Helper()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if !given {
		must(t, flag.Set(name, value))
	}
}
