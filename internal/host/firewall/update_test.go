package firewall_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// TestUpdatesEndWhereALoadDoes walks from one random table to another, each a
// change of the last, and compares what the kernel has with a load of the whole.
func TestUpdatesEndWhereALoadDoes(t *testing.T) {
	for name, c := range map[string]struct {
		from plan.Firewall
		next func(*rapid.T, plan.Firewall) plan.Firewall
		ways []string // that have to be gone often
	}{
		"gate": {fullGate(), another, []string{"netlink", "nft", "whole"}},
		"home": {homeWant(), anotherHome, []string{"netlink"}},
	} {
		t.Run(name, func(t *testing.T) {
			ways := walk(t, c.from, c.next)
			t.Logf("%v", ways)
			for _, way := range c.ways {
				if ways[way] < 3 {
					t.Errorf("that tests too little of the way %s: %v", way, ways)
				}
			}
		})
	}
}

func walk(t *testing.T, want plan.Firewall, next func(*rapid.T, plan.Firewall) plan.Firewall) map[string]int {
	fix(t, "rapid.seed", "1")
	fix(t, "rapid.checks", "60")
	f, walked, loaded := open(t), netnstest.New(t, "walked"), netnstest.New(t, "loaded")
	ways := make(map[string]int)
	rapid.Check(t, func(rt *rapid.T) {
		want = next(rt, want)
		inside(t, walked, func() {
			ctx := context.Background()
			way, err := f.Way(want)
			must(t, err)
			ways[way]++
			must(t, f.Check(ctx, want))
			must(t, f.Apply(ctx, want))
			for who, each := range map[string]*firewall.Firewall{"who made it": f, "somebody else": open(t)} {
				if diff := cmp.Diff(plan.ObservedFirewall{Present: true, Current: true}, observe(t, each, want)); diff != "" {
					rt.Fatalf("by the way %s, %s sees (-want +got):\n%s", way, who, diff)
				}
			}
			if now, err := f.Way(want); err != nil || now != "nothing" {
				rt.Fatalf("after %s it would do %s, %v", way, now, err)
			}
		})
		text, err := firewall.Render(want)
		must(t, err)
		nft(t, loaded, "table inet "+tableName+"\ndelete table inet "+tableName+"\n"+text)
		if diff := cmp.Diff(listed(t, loaded), listed(t, walked)); diff != "" {
			rt.Fatalf("there is (-loaded +updated):\n%s", diff)
		}
	})
	return ways
}

// Where somebody else has changed nf_tables since we looked, nothing is taken for
// known: the table is read again, and what was done to it is undone.
func TestAnUpdateIsMadeOnlyToWhatIsKnown(t *testing.T) {
	f, ctx, before, after := open(t), context.Background(), gateWant(toHome(1, "80/tcp")), gateWant(toHome(1, "80/tcp"), toHome(2, "81/tcp"))
	expect := func(want string) {
		t.Helper()
		if got, err := f.Way(after); err != nil || got != want {
			t.Errorf("it would go the way %s, %v, and not %s", got, err, want)
		}
	}
	inside(t, netnstest.New(t, "known"), func() {
		expect("whole")
		must(t, f.Apply(ctx, before))
		observe(t, f, before)
		expect("netlink")
		shell(t, "add table inet theirs")
		expect("whole")
		observe(t, f, after) // it sees that the table is as it was made
		expect("netlink")
		shell(t, "delete element inet gatelodge0 homes4 { tcp . 80 }")
		observe(t, f, after)
		expect("whole")
		must(t, f.Apply(ctx, after))
		if diff := cmp.Diff(plan.ObservedFirewall{Present: true, Current: true}, observe(t, f, after)); diff != "" {
			t.Error(diff)
		}
		end, err := f.Trace(ctx, tableName, visitors[0])
		must(t, err)
		expect("nothing") // a trace of ours changes nothing of that
		must(t, f.Apply(ctx, before))
		must(t, end(ctx))
		expect("netlink")
	})
	inside(t, netnstest.New(t, "elsewhere"), func() { expect("whole") })
}

// listed returns what nft(8) shows of the table, its parts in order, and what is
// in sets as well.
func listed(t testing.TB, ns *netns.Namespace) []string {
	t.Helper()
	parts := strings.Split(output(t, ns, "nft", "--stateless", "list", "table", "inet", tableName), "\n\n")
	for i, p := range parts {
		if strings.HasPrefix(p, "\tset ") || strings.HasPrefix(p, "\tmap ") {
			words := strings.FieldsFunc(p, func(r rune) bool { return strings.ContainsRune("{},=\n\t", r) })
			for i, w := range words {
				words[i] = strings.TrimSpace(w)
			}
			slices.Sort(words)
			parts[i] = strings.TrimSpace(strings.Join(words, "\n"))
		}
	}
	slices.Sort(parts)
	return parts
}

// another draws a table that differs in something from the one before.
func another(t *rapid.T, before plan.Firewall) plan.Firewall {
	gate := *before.Gate
	gate.Forwards = slices.Clone(gate.Forwards)
	for range rapid.IntRange(1, 4).Draw(t, "changes") {
		id := rapid.Uint32Range(1, 24).Draw(t, "forward")
		gate.Forwards = slices.DeleteFunc(gate.Forwards, func(f forward.Grant) bool { return f.ID == id })
		if rapid.IntRange(0, 2).Draw(t, "there") > 0 {
			gate.Forwards = append(gate.Forwards, anyForward(t, id))
		}
	}
	switch rapid.IntRange(0, 15).Draw(t, "else") {
	case 0:
		gate.Input.Protect = !gate.Input.Protect
	case 1:
		gate.Input.Accept = ports(fmt.Sprintf("%d-%d", 9000, rapid.IntRange(9000, 9003).Draw(t, "open")))
	case 2, 3, 4:
		home := rapid.Uint32Range(4, 9).Draw(t, "home")
		for _, a := range []netip.Addr{addr(fmt.Sprintf("10.99.0.%d", home)), addr(fmt.Sprintf("fd99::%d", home))} {
			if !slices.Contains(gate.Tenants, a) {
				gate.Tenants = append(slices.Clone(gate.Tenants), a)
			} else {
				gate.Tenants = slices.DeleteFunc(slices.Clone(gate.Tenants), func(b netip.Addr) bool { return a == b })
			}
		}
	}
	before.Gate = &gate
	return before
}

// anyForward draws one that has ports of its own number, so that no two meet.
func anyForward(t *rapid.T, id uint32) forward.Grant {
	first := 100 * id
	list := []string{fmt.Sprintf("%d", first), fmt.Sprintf("%d/tcp", first+1), fmt.Sprintf("%d-%d/udp", first+10, first+20), fmt.Sprintf("%d-%d", first+30, first+31)}
	f := toHome(id, list[:rapid.IntRange(1, len(list)).Draw(t, "ports")]...)
	switch rapid.IntRange(0, 5).Draw(t, "family") {
	case 0:
		f.Target4 = netip.Addr{}
	case 1:
		f.Target6 = netip.Addr{}
	case 2:
		f.Target4 = nextTunnel4
	}
	f.Masquerade = rapid.IntRange(0, 3).Draw(t, "masquerade") == 0
	switch rapid.IntRange(0, 9).Draw(t, "allow") {
	case 0:
		f.Allow = []netip.Prefix{prefix("203.0.113.0/24")}
	case 1:
		f.Allow = []netip.Prefix{prefix("203.0.113.0/25"), prefix("2001:db8:c::/48")}
	}
	switch rapid.IntRange(0, 9).Draw(t, "limit") {
	case 0:
		f.Limit.Connections = rapid.Uint32Range(1, 2).Draw(t, "connections")
	case 1:
		f.Limit.NewConnections = forward.Rate{Count: 5, Per: time.Minute}
	}
	return f
}

// anotherHome draws a home that publishes something else.
func anotherHome(t *rapid.T, before plan.Firewall) plan.Firewall {
	home := *before.Home
	home.Forwards = nil
	for i, list := range [][]plan.HomeForward{
		mappings(netip.Addr{}, "443"), mappings(netip.Addr{}, "2222:22/tcp"), mappings(netip.Addr{}, "5000-5009/udp"),
		mappings(lan4, "8080:80/tcp"), masqueraded(mappings(lan4, "8081:81/tcp")), mappings(lan4, "6000-6009/udp"),
		mappings(lan6, "8082:80/tcp"), mappings(lan6, "7000-7009/udp"), hiding(mappings(netip.Addr{}, "9000-9001")),
	} {
		if rapid.Bool().Draw(t, fmt.Sprint("publish ", i)) {
			home.Forwards = append(home.Forwards, list...)
		}
	}
	before.Home = &home
	return before
}
