package firewall_test

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

var update = flag.Bool("update", false, "write the golden rulesets again")

// rulesets are the golden ones, by the name of their file.
func rulesets() map[string]plan.Firewall {
	everything := fullGate()
	leave := gateWant(toHome(1, "80/tcp"))
	leave.Gate.Input.Protect = false
	trial := gateWant()
	trial.Gate.Input.Protect = false
	trial.Gate.Trial = &plan.Trial{Number: 1, Policy: plan.InputPolicy{Protect: true, Accept: ports("8443/tcp")}, Left: time.Minute}
	roomy := gateWant(toHome(1, "80/tcp"), toNext(2, "81/tcp"))
	roomy.Gate.Connections = 57344
	private := homeWant(mappings(netip.Addr{}, "443")...)
	private.Home.DropPrivate = true
	shared := mappings(netip.Addr{}, "443", "2222:22/tcp", "8000-8003:9000-9003/udp", "5000-5009/udp")
	shared = append(shared, mappings(lan6, "8080:80/tcp", "6000-6009/udp")...)
	return map[string]plan.Firewall{
		"gate_none":       gateWant(),
		"gate_room":       roomy,
		"gate_minimal":    gateWant(toHome(1, "80/tcp")),
		"gate_full":       everything,
		"gate_leave":      leave,
		"gate_trial":      trial,
		"home_none":       homeWant(),
		"home_host":       private,
		"home_hairpin":    hairpin(homeWant(append(shared, mappings(netip.Addr{}, "9443")...)...), shared...),
		"home_remap":      homeWant(mappings(netip.Addr{}, "2222:22/tcp", "8000-8003:9000-9003/udp")...),
		"home_lan":        homeWant(slices.Concat(mappings(lan4, "8080:80/tcp", "5000-5009/udp"), masqueraded(mappings(lan6, "8080/tcp")))...),
		"home_containers": homeWant(slices.Concat(mappings(container4, "25565"), mappings(netip.Addr{}, "53"))...),
	}
}

func fullGate() plan.Firewall {
	games := toHome(7, "25565-25570", "27015/udp")
	limited := forward.Grant{
		ID:        12,
		Target4:   nextTunnel4,
		Target6:   nextTunnel6,
		Published: forward.Published{Ports: ports("443/tcp"), Allow: []netip.Prefix{prefix("203.0.113.0/24"), prefix("203.0.113.7/32"), prefix("2001:db8:c::/48")}, Limit: forward.Limit{NewConnections: forward.Rate{Count: 20, Per: time.Second}, Connections: 200}},
	}
	hidden := forward.Grant{ID: 3, Target4: homeTunnel4, Published: forward.Published{Ports: ports("8080/tcp"), Masquerade: true}}
	hourly := toHome(40, "2222/tcp")
	hourly.Limit.NewConnections = forward.Rate{Count: 10, Per: time.Hour}
	want := gateWant(games, limited, hidden, hourly)
	want.Gate.SSHPorts = []uint16{22, 2200}
	want.Gate.Input.Accept = ports("53", "7117/tcp", "9000-9010/tcp")
	want.Gate.Input.Protocols = []forward.Protocol{41, 47}
	return want
}

func TestRulesetsAreGoldenAndLoadTwice(t *testing.T) {
	f := open(t)
	for name, want := range rulesets() {
		t.Run(name, func(t *testing.T) {
			text, err := firewall.Render(want)
			must(t, err)
			compareGolden(t, filepath.Join("testdata", name+".nft"), text)
			inside(t, netnstest.New(t, "golden"), func() {
				ctx := context.Background()
				must(t, f.Check(ctx, want))
				if seen := observe(t, f, want); seen.Present {
					t.Error("checking has made the table")
				}
				for range 2 {
					must(t, f.Apply(ctx, want))
					must(t, f.Check(ctx, want))
					if diff := cmp.Diff(plan.ObservedFirewall{Present: true, Current: true}, observe(t, f, want)); diff != "" {
						t.Errorf("observed after loading (-want +got):\n%s", diff)
					}
				}
			})
		})
	}
}

func compareGolden(t *testing.T, path, text string) {
	t.Helper()
	if *update {
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	golden, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(golden), text); diff != "" {
		t.Errorf("%s differs; if that is meant, run the test with -update (-want +got):\n%s", path, diff)
	}
}

func TestRenderIgnoresTheOrderOfItsInput(t *testing.T) {
	want, shuffled := fullGate(), fullGate()
	slices.Reverse(shuffled.Gate.Forwards)
	slices.Reverse(shuffled.Gate.Tenants)
	slices.Reverse(shuffled.Gate.Public)
	for i := range shuffled.Gate.Forwards {
		slices.Reverse(shuffled.Gate.Forwards[i].Ports)
		slices.Reverse(shuffled.Gate.Forwards[i].Allow)
	}
	a, err := firewall.Render(want)
	must(t, err)
	b, err := firewall.Render(shuffled)
	must(t, err)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
}

func TestRenderRefuses(t *testing.T) {
	gate := func(change func(*plan.GateFirewall)) plan.Firewall {
		want := gateWant(toHome(1, "80/tcp"))
		change(want.Gate)
		return want
	}
	named := func(table string) plan.Firewall {
		want := gateWant()
		want.Table = table
		return want
	}
	tests := map[string]struct {
		want plan.Firewall
		in   string
	}{
		"no role":        {plan.Firewall{Table: tableName}, "either"},
		"no name":        {named(""), "1 to 64"},
		"hostile name":   {named("a; flush ruleset"), `character ';'`},
		"newline":        {named("a\nb"), `character '\n'`},
		"wildcard":       {gate(func(g *plan.GateFirewall) { g.Interface = "wg*" }), `character '*'`},
		"quote":          {gate(func(g *plan.GateFirewall) { g.Interface = `a"b` }), `character '"'`},
		"long interface": {gate(func(g *plan.GateFirewall) { g.Interface = "abcdefghijklmnop" }), "not the name"},
		"id 0":           {gate(func(g *plan.GateFirewall) { g.Forwards[0].ID = 0 }), "forward 0"},
		"id in marks":    {gate(func(g *plan.GateFirewall) { g.Forwards[0].ID = 1 << 28 }), "out of range"},
		"wrong family":   {gate(func(g *plan.GateFirewall) { g.Forwards[0].Target4 = homeTunnel6 }), "not an IPv4"},
		"one id twice":   {gateWant(toHome(1, "80/tcp"), toHome(1, "81/tcp")), "twice"},
		"one port twice": {gateWant(toHome(1, "80-90/tcp"), toHome(2, "85/tcp")), "80-90/tcp and 85/tcp"},
		"home twice":     {homeWant(slices.Concat(mappings(netip.Addr{}, "80/tcp"), mappings(lan4, "80:81/tcp"))...), "80/tcp and 80/tcp"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text, err := firewall.Render(test.want)
			if err == nil || !strings.Contains(err.Error(), test.in) {
				t.Errorf("error %v does not say %q; text:\n%s", err, test.in, text)
			}
		})
	}
}

// Two forwards may share a port if they serve different families.
func TestFamiliesAreApart(t *testing.T) {
	four := forward.Grant{ID: 1, Target4: homeTunnel4, Published: forward.Published{Ports: ports("80/tcp")}}
	six := forward.Grant{ID: 2, Target6: nextTunnel6, Published: forward.Published{Ports: ports("80/tcp")}}
	for _, want := range []plan.Firewall{
		gateWant(four, six),
		homeWant(slices.Concat(mappings(lan4, "80/tcp"), mappings(lan6, "80/tcp"))...),
	} {
		if _, err := firewall.Render(want); err != nil {
			t.Error(err)
		}
	}
}

func TestOpen(t *testing.T) {
	fake := func(script string) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "nft"), []byte("#!/bin/sh\n"+script), 0o755))
		t.Setenv("PATH", dir)
	}
	fake("echo 'nftables v0.9.8 (E.D.S.)'")
	var old *firewall.VersionError
	if _, err := firewall.Open(); !errors.As(err, &old) || old.Found != "0.9.8" || old.Needed != "1.0.2" {
		t.Errorf("an old nft: %v", err)
	}
	fake("echo 'nftables v1.1 (x)'")
	if _, err := firewall.Open(); err != nil {
		t.Errorf("a new nft: %v", err)
	}
	fake("echo hello")
	if _, err := firewall.Open(); err == nil || !strings.Contains(err.Error(), "hello") {
		t.Errorf("no nft at all: %v", err)
	}
}

// Zones and mapped addresses are no part of a rule.
func TestAddressesAreWrittenPlain(t *testing.T) {
	want := gateWant()
	want.Gate.Public = []netip.Addr{addr("fe80::1").WithZone("x }; flush ruleset"), addr("::ffff:198.51.100.2")}
	text, err := firewall.Render(want)
	must(t, err)
	if strings.Contains(text, "flush") || strings.Contains(text, "ffff:198") || !strings.Contains(text, "198.51.100.2") {
		t.Error(text)
	}
}

// The example rulesets say what they are about: nothing of them may get lost.
func TestGoldenRulesetsAreAllThere(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.nft"))
	must(t, err)
	if len(files) != len(rulesets()) {
		t.Errorf("%d files for %d rulesets: %v", len(files), len(rulesets()), files)
	}
}
