package firewall_test

import (
	"fmt"
	"net/netip"
	"testing"
)

// othersNAT are source translations of others that are left on a gate, in the
// chain of iptables' POSTROUTING or in one like it.
var othersNAT = []struct{ name, chain, rule string }{
	{"masquerade of everything", "type nat hook postrouting priority srcnat", "masquerade"},
	{"masquerade into the tunnel", "type nat hook postrouting priority srcnat", `oifname "gatelodge0" masquerade`},
	{"masquerade of what is not local", "type nat hook postrouting priority srcnat", "fib saddr type != local masquerade"},
	{"snat", "type nat hook postrouting priority srcnat", "meta nfproto ipv4 snat ip to 198.51.100.2"},
	{"masquerade before most others", "type nat hook postrouting priority srcnat - 10", "masquerade"},
}

// No matter who translates sources on the gate, the service sees the visitor; and
// whose home has asked for masquerade still gets it.
func TestNobodyHidesVisitors(t *testing.T) {
	w := newWorld(t)
	masked := toHome(2, "6000")
	masked.Masquerade = true
	want := gateWant(toHome(1, "5000"), masked)
	serve(t, w.home, 5000)
	serve(t, w.home, 6000)
	for _, o := range othersNAT {
		for _, order := range []string{"before us", "after us"} {
			t.Run(o.name+" "+order, func(t *testing.T) {
				load := func() {
					nft(t, w.gate, fmt.Sprintf("table inet othernat { chain p { %s\n %s\n }\n }", o.chain, o.rule))
				}
				if order == "before us" {
					load()
				}
				w.apply(t, want, homeWant(append(mappings(netip.Addr{}, "5000"), hiding(mappings(netip.Addr{}, "6000"))...)...))
				if order == "after us" {
					load()
				}
				everyWay(func(network string, visitor, public netip.Addr) {
					w.sees(t, network, visitor, public, 5000, visitor)
					w.sees(t, network, visitor, public, 6000, map[bool]netip.Addr{true: gateTunnel4, false: gateTunnel6}[visitor.Is4()])
				})
				nft(t, w.gate, "delete table inet othernat\ndelete table inet gatelodge0")
			})
		}
	}
}
