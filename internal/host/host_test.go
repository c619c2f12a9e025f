package host_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/store"
)

func TestRemoveLeavesTheMachineAsFound(t *testing.T) {
	for name, want := range map[string]func(m *machine) plan.State{
		"home": func(m *machine) plan.State { return m.home(t, lan) },
		"gate": func(m *machine) plan.State { return m.gate(t, "") },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			before := m.dump(t)
			m.bring(t, want(m))
			if after := m.dump(t); after == before {
				t.Fatal("nothing was set up")
			}
			must(t, m.host.Close()) // down comes when the daemon has ended
			if done := m.remove(t, "gatelodge"); len(done) < 3 {
				t.Errorf("done: %q", done)
			}
			if d := cmp.Diff(before, m.dump(t)); d != "" {
				t.Errorf("the machine (-before +after):\n%s", d)
			}
			if done := m.remove(t, "gatelodge"); len(done) != 0 {
				t.Errorf("done at the second time: %q", done)
			}
		})
	}
}

// The first time, what was made before the failure is undone: there is no
// earlier state of ours.
func TestAFailedStepIsUndone(t *testing.T) {
	m := newMachine(t)
	before := m.dump(t)
	good := m.home(t, lan)
	bad := good
	bad.Routing.Sysctls = append(slices.Clone(good.Routing.Sysctls), plan.Sysctl{Name: "net.ipv4.conf.all.rp_filter", Value: "nonsense"})
	changes, err := m.apply(t, m.host, bad)
	if err == nil || !strings.Contains(err.Error(), "rp_filter") || len(changes) != 0 {
		t.Fatalf("changed %v: %v", changes, err)
	}
	if d := cmp.Diff(before, m.dump(t)); d != "" {
		t.Errorf("the machine (-before +after):\n%s", d)
	}
	m.bring(t, good)
}

// Switching forwarding sets another setting by the way, which many have hardened
// (accept_redirects): it comes back too, by down and where a step has failed.
func TestWhatForwardingSetsByTheWayComesBack(t *testing.T) {
	const hardened = "net/ipv4/conf/all/accept_redirects"
	m := newMachine(t)
	m.sysctl(t, hardened, "0")
	bad := m.gate(t, "")
	bad.Routing.Sysctls = append(slices.Clone(bad.Routing.Sysctls), plan.Sysctl{Name: "net.ipv4.conf.all.rp_filter", Value: "nonsense"})
	if _, err := m.apply(t, m.host, bad); err == nil {
		t.Fatal("a setting has taken nonsense")
	}
	if got := m.run(t, "", "cat", "/proc/sys/"+hardened); got != "0\n" {
		t.Errorf("after a failed step it is %s", got)
	}
	m.bring(t, m.gate(t, ""))
	must(t, m.host.Close())
	m.remove(t, "gatelodge")
	if got := m.run(t, "", "cat", "/proc/sys/"+hardened); got != "0\n" {
		t.Errorf("after down it is %s", got)
	}
}

// A new process whose first change fails leaves what the one before it has set
// up: the closed ports closed, and the forwards.
func TestAFailedStartLeavesWhatStood(t *testing.T) {
	m := newMachine(t)
	good := m.gate(t, "")
	m.bring(t, good)
	must(t, m.host.Close())
	before := m.run(t, "", "nft", "list", "table", "inet", "gatelodge")
	m.open(t, "gatelodge")
	bad := good
	bad.Routing.Sysctls = append(slices.Clone(good.Routing.Sysctls), plan.Sysctl{Name: "net.ipv4.no_such_setting", Value: "1"})
	if changes, err := m.apply(t, m.host, bad); err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Fatalf("changed %v: %v", changes, err)
	}
	if d := cmp.Diff(before, m.run(t, "", "nft", "list", "table", "inet", "gatelodge")); d != "" {
		t.Errorf("the table (-before +after):\n%s", d)
	}
	if left := m.diff(t, m.host, good); len(left) != 0 {
		t.Errorf("the next try still has to make: %v", left)
	}
}

// Later, the machine goes back to the state before.
func TestAFailedChangeGoesBack(t *testing.T) {
	m := newMachine(t)
	good := m.home(t, "")
	m.bring(t, good)
	before := m.dump(t)

	bad := m.home(t, lan+"[forward.more]\nports = \"443\"\n")
	bad.WireGuard.PrivateKey = good.WireGuard.PrivateKey
	bad.Routing.Addresses = append(slices.Clone(bad.Routing.Addresses), netip.MustParsePrefix("10.99.0.9/32"))
	bad.Routing.Sysctls = append(slices.Clone(bad.Routing.Sysctls), plan.Sysctl{Name: "net.ipv4.no_such_setting", Value: "1"})
	if changes, err := m.apply(t, m.host, bad); err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Fatalf("changed %v: %v", changes, err)
	}
	if left := m.diff(t, m.host, good); len(left) != 0 {
		t.Errorf("it differs from the state before: %v", left)
	}
	if d := cmp.Diff(before, m.dump(t)); d != "" {
		t.Errorf("the machine (-before +after):\n%s", d)
	}
}

// The journal holds the values from before us, no matter who set them since and
// however the process ended.
func TestTheJournalKeepsTheFirstValue(t *testing.T) {
	m := newMachine(t)
	want := m.home(t, lan)
	m.bring(t, want)
	must(t, m.host.Close())
	m.open(t, "gatelodge")
	m.sysctl(t, "net/ipv4/ip_forward", "0") // somebody else
	m.bring(t, want)
	note := store.Entry{Kind: "sysctl", Name: "net.ipv4.ip_forward", Previous: "0"}
	notes := m.journal.Entries()
	if !slices.Contains(notes, note) {
		t.Errorf("the journal has %v", notes)
	}
	ofTunnel := func(e store.Entry) bool { return strings.Contains(e.Name, ".gatelodge.") }
	if slices.ContainsFunc(notes, ofTunnel) {
		t.Errorf("the journal has settings that go with the interface: %v", notes)
	}
}

// A setting that has disappeared with its interface is nothing to restore,
// and what the journal cannot mean is an error that stops nothing else.
func TestRemoveWithAStrangeJournal(t *testing.T) {
	m := newMachine(t)
	before := m.dump(t)
	m.bring(t, m.home(t, ""))
	must(t, m.host.Close())
	notes := []store.Entry{
		{Kind: "sysctl", Name: "net.ipv4.conf.gone.rp_filter", Previous: "1"},
		{Kind: "spell", Name: "abracadabra", Previous: "1"},
	}
	err := m.ns.Do(func() error {
		_, err := host.Remove(context.Background(), []string{"gatelodge"}, notes)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "spell") || strings.Contains(err.Error(), "gone") {
		t.Errorf("removing gives: %v", err)
	}
	if d := cmp.Diff(before, m.dump(t)); d != "" {
		t.Errorf("the machine (-before +after):\n%s", d)
	}
}

func TestRemoveSparesAnotherInstance(t *testing.T) {
	for _, going := range []string{"gate", "gatelodge"} {
		t.Run(going, func(t *testing.T) {
			m := newMachine(t)
			gate, gateWants := m.open(t, "gate"), m.gate(t, "[tunnel]\ninterface = \"gate\"\nprefix4 = \"10.98.0.0/24\"\n")
			m.bring(t, gateWants)
			home := m.open(t, "gatelodge")
			homeWants := m.home(t, "")
			m.bring(t, homeWants)
			staying, wants := home, homeWants
			if going == "gatelodge" {
				staying, wants = gate, gateWants
				must(t, home.Close())
			} else {
				must(t, gate.Close())
			}
			must(t, m.ns.Do(func() error {
				_, err := host.Remove(context.Background(), []string{going}, nil)
				return err
			}))
			if left := m.diff(t, staying, wants); len(left) != 0 {
				t.Errorf("the other instance has lost: %v", left)
			}
			if dump := m.dump(t); strings.Contains(dump, going+":") || strings.Contains(dump, "table inet "+going+" ") {
				t.Errorf("left behind:\n%s", dump)
			}
		})
	}
}

// What is not ours is never touched, and what somebody takes from us is
// restored.
func TestDriftIsRepaired(t *testing.T) {
	m := newMachine(t)
	want := m.home(t, lan)
	m.bring(t, want)
	whole := m.dump(t)
	for _, damage := range [][]string{
		{"nft", "flush", "ruleset"},
		{"ip", "route", "flush", "proto", "155", "table", "all"},
		{"ip", "-6", "rule", "del", "proto", "155"},
		{"ip", "addr", "flush", "dev", "gatelodge"},
		{"ip", "link", "set", "gatelodge", "mtu", "1300"},
		{"sysctl", "-qw", "net.ipv4.ip_forward=0"},
	} {
		m.run(t, "", damage[0], damage[1:]...)
		if damage[0] == "nft" {
			m.run(t, foreignTable, "nft", "-f", "-")
		}
		m.bring(t, want)
		if d := cmp.Diff(sorted(whole), sorted(m.dump(t))); d != "" {
			t.Errorf("after %v (-before +after):\n%s", damage, d)
		}
	}
}

// sorted is the lines in order: what comes back stands elsewhere in its list.
func sorted(text string) []string { return slices.Sorted(strings.Lines(text)) }

// second is the configuration of a home beside the first one.
const second = `
[tunnel]
interface = "second"
table = 6701
rule_priority = 110

[marks]
answer = "0x30000000"
`

func TestTwoInstancesOnOneMachine(t *testing.T) {
	m := newMachine(t)
	before := m.dump(t)
	first := m.home(t, "")
	m.bring(t, first)
	alone := m.dump(t)
	other := &machine{ns: m.ns, store: newStore(t)}
	other.open(t, "second")
	clashing := other.home(t, strings.ReplaceAll(second, "6701", "6700"))
	if changes, err := other.apply(t, other.host, clashing); err == nil || !strings.Contains(err.Error(), "routing table 6700") || len(changes) != 0 {
		t.Errorf("with the first one's table it changed %v: %v", changes, err)
	}
	if d := cmp.Diff(alone, m.dump(t)); d != "" {
		t.Errorf("refused, it has changed the machine (-before +after):\n%s", d)
	}
	beside := other.home(t, second)
	beside.Routing.Addresses = []netip.Prefix{netip.MustParsePrefix("10.98.0.2/32")}
	other.bring(t, beside)
	for name, left := range map[string][]plan.Step{"first": m.diff(t, m.host, first), "second": other.diff(t, other.host, beside)} {
		if len(left) != 0 {
			t.Errorf("side by side, the %s would do: %v", name, left)
		}
	}
	must(t, other.host.Close())
	other.remove(t, "second")
	if left := m.diff(t, m.host, first); len(left) != 0 {
		t.Errorf("the other has gone down; the first would do: %v", left)
	}
	if d := cmp.Diff(alone, m.dump(t)); d != "" {
		t.Errorf("the first one alone (-before +after):\n%s", d)
	}
	must(t, m.host.Close())
	m.remove(t, "gatelodge")
	if d := cmp.Diff(before, m.dump(t)); d != "" {
		t.Errorf("the machine (-before +after):\n%s", d)
	}
}

// Others take the table and cannot take the guard; where the guard is gone, the
// table is not loaded again for it.
func TestTheGuardIsRestoredByItself(t *testing.T) {
	m := newMachine(t)
	want := m.home(t, "")
	m.bring(t, want)
	m.run(t, "flush ruleset\n", "nft", "-f", "-")
	if left := m.diff(t, m.host, want); len(left) != 1 || !strings.Contains(left[0].String(), "the table is missing") {
		t.Errorf("after a flush: %v", left)
	}
	m.bring(t, want)
	must(t, m.host.Close())
	m.open(t, "gatelodge")
	changes, err := m.apply(t, m.host, want)
	must(t, err)
	for _, c := range changes {
		if _, loads := c.(plan.LoadFirewall); loads {
			t.Errorf("the next process would: %v", changes)
		}
	}
	if !slices.ContainsFunc(changes, func(c plan.Step) bool { _, raises := c.(plan.RaiseGuard); return raises }) {
		t.Errorf("the next process has: %v", changes)
	}
}
