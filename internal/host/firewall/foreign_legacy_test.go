package firewall_test

import (
	"net/netip"
	"strings"
	"testing"
)

// legacyRules are what people have in iptables-legacy, of which nft(8) shows
// nothing: the commands, and which of the ways they block, and where.
var legacyRules = []struct {
	name, commands string
	blocks         map[string]string
}{
	{"policy of FORWARD", "-P FORWARD DROP", map[string]string{"visitors": "FORWARD"}},
	{"policy of INPUT beside ssh", `
		-A INPUT -i lo -j ACCEPT
		-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
		-A INPUT -p tcp -m multiport --dports 22,80:90 -j ACCEPT
		-P INPUT DROP`, map[string]string{"WireGuard": "INPUT", "control channel": "INPUT"}},
	{"REJECT at the end", `
		-A INPUT -p udp --dport 51820 -j ACCEPT
		-A INPUT -p tcp --dport 22 -j ACCEPT
		-A INPUT -i lo -j ACCEPT
		-A INPUT -j REJECT --reject-with icmp-host-prohibited
		-A FORWARD -j REJECT`, map[string]string{"visitors": "FORWARD", "control channel": "INPUT"}},
	{"a chain of the owner's", `
		-N mine
		-N other
		-A FORWARD -i eth0 -j mine
		-A mine -p udp -j RETURN
		-A mine -o gatelodge+ -g other
		-A mine -j ACCEPT
		-A other -p tcp --dport 5000:5001 -j DROP`, map[string]string{"visitors": "other"}},
	{"what concerns others", `
		-A FORWARD -s 192.0.2.0/24 -j DROP
		-A FORWARD ! -i eth0 -j DROP
		-A FORWARD -d 192.0.2.1 -j DROP
		-A FORWARD -p tcp ! --dport 5000 -j DROP
		-A INPUT -p tcp -m multiport ! --dports 22,7117 -j DROP`, nil},
}

func TestRulesOfLegacyIPTablesAreNamed(t *testing.T) {
	for _, c := range legacyRules {
		for _, order := range []string{"before us", "after us"} {
			t.Run(c.name+" "+order, func(t *testing.T) {
				w := newWorld(t)
				ours := func() { w.apply(t, gateWant(toHome(1, "5000")), homeWant(mappings(netip.Addr{}, "5000")...)) }
				load := func() {
					for line := range strings.Lines(strings.TrimSpace(c.commands)) {
						command(t, w.gate, "", append([]string{"iptables-legacy"}, strings.Fields(line)...)...)
					}
				}
				if order == "after us" {
					ours()
				}
				load()
				if order == "before us" {
					ours()
				}
				found, passes := find(t, w.gate), w.passes(t)
				for _, way := range wayNames {
					d := found[way]
					if passes[way] == d.Legacy || d.Chain != c.blocks[way] {
						t.Errorf("%s: passes is %v, and named is %q of %q; wanted %q", way, passes[way], d.Rule, d.Chain, c.blocks[way])
					}
				}
				for _, d := range found {
					inside(t, w.gate, func() { must(t, d.Remedy.Put(t.Context())) })
				}
				for way, in := range w.passes(t) {
					if !in {
						t.Errorf("%s: after the remedy it does not pass", way)
					}
				}
				for way, d := range find(t, w.gate) {
					t.Errorf("%s: after the remedy it is still %+v", way, d)
				}
				for _, d := range found {
					inside(t, w.gate, func() { must(t, d.Remedy.TakeBack(t.Context())) })
				}
				if again := find(t, w.gate); len(again) != len(found) {
					t.Errorf("after it is undone, %d ways are blocked, not %d", len(again), len(found))
				}
			})
		}
	}
}
