package routing

import (
	"net/netip"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// newMachine is a machine with IPv6 whose addresses are usable at once.
func newMachine(t testing.TB, lines, lines6 string) *netns.Namespace {
	t.Helper()
	ns := netnstest.New(t, "host")
	setSysctl(t, ns, "net/ipv6/conf/default/accept_dad", "0")
	setSysctl(t, ns, "net/ipv6/conf/default/addr_gen_mode", "1") // no link-local ones
	ip(t, ns, lines)
	ip(t, ns, lines6, "-6")
	return ns
}

// What is this machine's own is a matter of where its hosts are, not of which
// routes there are.
func TestOwnNetworks(t *testing.T) {
	const lan = `
		link add eth0 type bridge
		link set eth0 up
		addr add 192.168.1.10/24 dev eth0
		link add tun0 type bridge
		link set tun0 arp off up
		route add default via 192.168.1.1
	`
	const lan6 = `
		addr add 2001:db8:e::10/64 dev eth0 nodad
		route add default via 2001:db8:e::1
	`
	tests := []struct {
		name, lines, lines6 string
		want                []string // beside the LAN's
	}{
		{name: "a second line for a public prefix", lines: "route add 203.0.113.0/24 via 192.168.1.2"},
		{name: "a host route to a VPN's server", lines: "route add 203.0.113.7/32 via 192.168.1.1"},
		{name: "a VPN for a public prefix", lines: "route add 203.0.113.0/24 dev tun0"},
		{name: "the same, IPv6", lines6: "route add 2001:db8:77::/48 via 2001:db8:e::2"},
		{name: "a VPN for a public prefix, IPv6", lines6: "route add 2001:db8:77::/48 dev tun0"},
		{name: "several ways to a public prefix", lines: "route add 203.0.113.0/24 nexthop via 192.168.1.2 nexthop via 192.168.1.3"},
		{name: "everything by a VPN, in halves", lines: "route add 0.0.0.0/1 dev tun0\nroute add 128.0.0.0/1 dev tun0"},
		{name: "everything by a neighbour, in halves", lines: "route add 0.0.0.0/1 dev eth0\nroute add 128.0.0.0/1 dev eth0"},
		{name: "IPv6 by 2000::/3", lines6: "route add 2000::/3 via 2001:db8:e::2"},
		{name: "IPv6 by 2000::/3 on link", lines6: "route add 2000::/3 dev eth0"},
		{name: "everything but private ranges by a VPN", lines: "route add 8.0.0.0/7 dev tun0\nroute add 11.0.0.0/8 dev tun0\nroute add 12.0.0.0/6 dev tun0"},
		{name: "what is refused", lines: "route add unreachable 10.1.0.0/16\nroute add blackhole 203.0.113.0/24"},
		{name: "another table's", lines: "route add 10.1.0.0/16 dev tun0 table 100"},

		{name: "a private network behind a router", lines: "route add 192.168.50.0/24 via 192.168.1.2", want: []string{"192.168.50.0/24"}},
		{name: "a VPN of a company", lines: "route add 10.0.0.0/8 dev tun0", want: []string{"10.0.0.0/8"}},
		{name: "several ways to a private network", lines: "route add 10.1.0.0/16 nexthop via 192.168.1.2 nexthop via 192.168.1.3", want: []string{"10.1.0.0/16"}},
		{name: "a unique local network", lines6: "route add fd00:1::/32 via 2001:db8:e::2", want: []string{"fd00:1::/32"}},
		{name: "a public network on a bridge", lines: "addr add 203.0.113.17/28 dev eth0", want: []string{"203.0.113.16/28*"}},
		{name: "a public host on link", lines: "route add 203.0.113.5/32 dev eth0", want: []string{"203.0.113.5/32*"}},
		{name: "a public network on link, IPv6", lines6: "route add 2001:db8:77::/64 dev eth0", want: []string{"2001:db8:77::/64*"}},
		{name: "an address on lo", lines: "addr add 203.0.113.77/32 dev lo", want: []string{"203.0.113.77/32*"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ns := newMachine(t, lan+tt.lines, lan6+tt.lines6)
			var got []string
			for _, n := range factsOf(t, ns).Networks {
				text := n.Prefix.String()
				if n.OnLink {
					text += "*"
				}
				got = append(got, text)
			}
			if want := append([]string{"192.168.1.0/24*", "2001:db8:e::/64*"}, tt.want...); !sameElements(got, want) {
				t.Errorf("own networks %v, want %v (* on link)", got, want)
			}
		})
	}
}

// An address is one at which visitors arrive if its packets find a way to the
// internet, however that is written.
func TestPublicAddresses(t *testing.T) {
	const vps = `
		link add eth0 type bridge
		link set eth0 up
		addr add 198.51.100.1/24 dev eth0
		link add eth1 type bridge
		link set eth1 up
		link add tun0 type bridge
		link set tun0 arp off up
		link add gatelodge type bridge
		link set gatelodge up
		addr add 10.99.0.1/24 dev gatelodge
	`
	const vps6 = `
		addr add 2001:db8:a::1/64 dev eth0 nodad
		addr add fd99::1/64 dev gatelodge nodad
	`
	const defaults, default6 = "route add default via 198.51.100.254\n", "route add default via 2001:db8:a::fe\n"
	both := []string{"198.51.100.1", "2001:db8:a::1"}
	tests := []struct {
		name, lines, lines6 string
		want                []string
	}{
		{"as usual", defaults, default6, both},
		{"no way out", "", "", nil},
		{"2000::/3 for a default route", defaults, "route add 2000::/3 via 2001:db8:a::fe", both},
		{"halves", "route add 0.0.0.0/1 via 198.51.100.254\nroute add 128.0.0.0/1 via 198.51.100.254", "route add 2000::/4 via 2001:db8:a::fe", both},
		{"one half", "route add 128.0.0.0/1 via 198.51.100.254", default6, both},
		{"routes without a default", "route add 1.1.1.0/24 via 198.51.100.254", default6, both},
		{"a default of every metric", "route add default via 198.51.100.254 metric 4000", default6, both},
		{"in another table", "route add default via 198.51.100.254 table 200\nrule add from 198.51.100.1 lookup 200", default6, both},
		{"in another table, IPv6", defaults, "route add default via 2001:db8:a::fe table 200\nrule add from 2001:db8:a::1 lookup 200", both},
		{"a router on link (/32)", "route add 172.31.1.1 dev eth0\nroute add default via 172.31.1.1 dev eth0 onlink", "route add default via fe80::1 dev eth0", both},
		{"a second uplink with a table of its own", defaults +
			"addr add 198.18.5.1/24 dev eth1\nroute add default via 198.18.5.254 table 200\nrule add from 198.18.5.1 lookup 200", default6, append(both, "198.18.5.1")},
		{"a second uplink of higher metric", defaults +
			"addr add 203.0.113.1/24 dev eth1\nroute add default via 203.0.113.254 metric 500", default6, append(both, "203.0.113.1")},
		{"several ways out", "addr add 203.0.113.1/24 dev eth1\nroute add default nexthop via 198.51.100.254 nexthop via 203.0.113.254", default6, append(both, "203.0.113.1")},
		{"on lo", defaults + "addr add 198.51.100.77/32 dev lo", default6 + "addr add 2001:db8:a:1::1/128 dev lo nodad", append(both, "198.51.100.77", "2001:db8:a:1::1")},
		{"on another interface", defaults + "addr add 198.51.100.77/32 dev tun0", default6, append(both, "198.51.100.77")},
		{"on a bridge of one's own", defaults + "addr add 203.0.113.17/28 dev eth1", default6, append(both, "203.0.113.17")},
		{"deprecated for ever", defaults, default6 + "addr add 2001:db8:a::2/64 dev eth0 nodad preferred_lft 0", append(both, "2001:db8:a::2")},
		{"deprecated", defaults, default6 + "addr add 2001:db8:a::2/64 dev eth0 nodad valid_lft 1000 preferred_lft 0", both},
		{"translated one to one", "addr flush dev eth0\naddr add 10.0.0.5/24 dev eth0\nroute add default via 10.0.0.1", "", []string{"10.0.0.5"}},
		{"a private network without a way out", defaults + "addr add 10.0.0.5/24 dev eth1", default6, both},
		{"a private address on lo", defaults + "addr add 10.255.0.1/32 dev lo", default6, both},
		{"a container engine's bridge", defaults + "addr add 172.17.0.1/16 dev eth1", default6, both},
		{"IPv4 out by a tunnel (WARP)", "addr flush dev eth0\naddr add 172.16.0.2/32 dev tun0\nroute add default dev tun0 table 51820\nrule add not fwmark 51820 lookup 51820",
			"addr add 2001:db8:a::1/64 dev eth0 nodad\n" + default6, []string{"2001:db8:a::1"}},
		{"our own tunnel for a way out", "route add default dev gatelodge", "", nil},
		{"refused", "route add unreachable default", default6, both[1:]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want []netip.Addr
			for _, a := range tt.want {
				want = append(want, addr(a))
			}
			ns := newMachine(t, vps, vps6)
			ip(t, ns, tt.lines)
			ip(t, ns, tt.lines6, "-6")
			if got := factsOf(t, ns).Public; !sameElements(got, want) {
				t.Errorf("public addresses %v, want %v", got, want)
			}
		})
	}
}

func TestFactsOfManyRoutes(t *testing.T) {
	ns := newRouter(t, 3000)
	facts := factsOf(t, ns)
	if want := []plan.Network{{Prefix: prefix("198.51.100.0/24"), Interface: "eth0", Default: true, OnLink: true}}; !sameElements(facts.Networks, want) {
		t.Errorf("networks %v, want %v", facts.Networks, want)
	}
	within(t, ns, func() error {
		routes, err := tellingRoutes()
		if len(routes) != 2 { // the default route and that of the network on link
			t.Errorf("%d of 3002 routes are kept, not 2", len(routes))
		}
		return err
	})
}
