package firewall_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// The second uplink of a gate: its address, the provider's router, and the
// owner's rule that what has this address leaves by it. Either provider drops
// what has an address of the other.
const (
	uplinkInternet = `
		link add eth1 type veth peer name eth1 netns gate
		addr add 198.18.5.254/24 dev eth1
		addr add 2001:db8:5::fe/64 dev eth1 nodad
		link set eth1 up`
	uplinkGate = `
		addr add 198.18.5.1/24 dev eth1
		addr add 2001:db8:5::1/64 dev eth1 nodad
		link set eth1 up`
	uplinkRoutes4 = `
		route add default via 198.18.5.254 table 200
		rule add pref 500 from 198.18.5.1 lookup 200`
	uplinkRoutes6 = `
		route add default via 2001:db8:5::fe table 200
		rule add pref 500 from 2001:db8:5::1 lookup 200`
	providers = `table inet providers {
		chain antispoofing {
			type filter hook prerouting priority -500
			iifname "eth0" ip saddr 198.18.5.0/24 counter drop
			iifname "eth1" ip saddr != 198.18.5.0/24 counter drop
			iifname "eth0" ip6 saddr 2001:db8:5::/64 counter drop
			iifname "eth1" ip6 saddr 2001:db8:a::/64 counter drop
		}
	}`
)

// A gate with an address at each of two providers answers by the one whose
// address was called: TCP, UDP, and errors about a port that nobody serves.
func TestAnswersLeaveByTheAddressThatWasCalled(t *testing.T) {
	w := newWorld(t)
	ip(t, w.internet, uplinkInternet)
	ip(t, w.gate, uplinkGate)
	ip(t, w.gate, uplinkRoutes4)
	ip(t, w.gate, uplinkRoutes6, "-6")
	nft(t, w.internet, providers)
	sysctl(t, w.gate, "net/ipv4/conf/gatelodge0/accept_local=1", "net/ipv4/conf/gatelodge0/rp_filter=2") // as plan.ForGate asks
	hidden := toHome(2, "6000")
	hidden.Masquerade = true
	want := gateWant(toHome(1, "5000", "7000"), hidden)
	second4, second6 := addr("198.18.5.1"), addr("2001:db8:5::1")
	want.Gate.Public = append(want.Gate.Public, second4, second6)
	w.apply(t, want, homeWant(append(mappings(netip.Addr{}, "5000", "7000"), hiding(mappings(netip.Addr{}, "6000"))...)...))
	serve(t, w.home, 5000)
	serve(t, w.home, 6000)
	// A strict filter (1) drops what comes by the second uplink, as it looks for
	// the way back after translation: docs/configuration.md says so.
	for _, all := range []int{0, 2} {
		sysctl(t, w.gate, fmt.Sprintf("net/ipv4/conf/all/rp_filter=%d", all))
		for _, public := range []netip.Addr{gatePublic4, second4, gatePublic6, second6} {
			visitor, gate := visitors[0], gateTunnel4
			if public.Is6() {
				visitor, gate = visitors[2], gateTunnel6
			}
			for _, network := range []string{"tcp", "udp"} {
				w.sees(t, network, visitor, public, 5000, visitor)
				w.sees(t, network, visitor, public, 6000, gate)
				c, err := visit(t, w.internet, network, visitor, netip.AddrPortFrom(public, 7000))
				if err == nil {
					_, err = ask(c)
				}
				if !refused(err) {
					t.Errorf("%s to %s, where nobody serves: %v", network, public, err)
				}
			}
		}
	}
	// The gate itself still reaches its forwards.
	for _, public := range []netip.Addr{gatePublic4, gatePublic6} {
		c, err := visit(t, w.gate, "tcp", netip.Addr{}, netip.AddrPortFrom(public, 5000))
		must(t, err)
		if got, err := ask(c); err != nil || got != public.String() {
			t.Errorf("the gate at %s: %q, %v", public, got, err)
		}
	}
}

func refused(err error) bool { return err != nil && errors.Is(err, unix.ECONNREFUSED) }
