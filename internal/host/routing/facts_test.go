package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func factsOf(t testing.TB, ns *netns.Namespace) (facts plan.Facts) {
	t.Helper()
	within(t, ns, func() (err error) {
		facts, err = open(t).Facts(t.Context(), "gatelodge")
		return err
	})
	return facts
}

func sameElements[T comparable](a, b []T) bool {
	missing := func(in []T) func(T) bool { return func(x T) bool { return !slices.Contains(in, x) } }
	return len(a) == len(b) && !slices.ContainsFunc(a, missing(b)) && !slices.ContainsFunc(b, missing(a))
}

func TestFactsOfAMachineWithoutNetwork(t *testing.T) {
	facts := factsOf(t, netnstest.New(t, "host"))
	if len(facts.Public)+len(facts.Networks)+len(facts.AcceptingRA)+facts.UnderlayMTU != 0 || !facts.IPv6 {
		t.Errorf("facts %+v", facts)
	}
}

func TestFacts(t *testing.T) {
	ns := netnstest.New(t, "host")
	setSysctl(t, ns, "net/ipv6/conf/default/accept_dad", "0")
	ip(t, ns, `
		link add eth0 mtu 1400 type bridge
		link add eth1 type bridge
		link add wlan0.7 type bridge
		link add docker0 type bridge
		link add wg0 mtu 1450 type bridge
		link add gatelodge mtu 1280 type bridge
		addr add 198.51.100.2/24 dev eth0
		addr add 198.51.100.3/24 dev eth0
		addr add 2001:db8:a::2/64 dev eth0 nodad
		addr add 203.0.113.2/24 dev eth1
		addr add 2001:db8:b::2/64 dev eth1 nodad
		addr add 192.168.7.2/24 dev wlan0.7
		addr add 2001:db8:c::2/64 dev wlan0.7 nodad
		addr add 172.17.0.1/16 dev docker0
		addr add 10.8.0.2/32 dev wg0
		addr add 10.99.0.2/32 dev gatelodge
		link set eth0 up
		link set eth1 up
		link set wlan0.7 up
		link set docker0 up
		link set wg0 arp off up
		link set gatelodge up
		route add default via 198.51.100.1
		route add default via 203.0.113.1 metric 200
		route add default dev gatelodge metric 300
		route add 192.168.50.0/24 via 192.168.7.1
		route add 10.8.0.0/16 dev wg0
		route add 0.0.0.0/1 dev wg0
		route add 128.0.0.0/1 dev wg0
		route add unreachable 10.50.0.0/16
		route add 10.60.0.0/16 dev wg0 table 77`)
	ip(t, ns, `
		route add default via 2001:db8:a::1 dev eth0
		route add default metric 2048 nexthop via 2001:db8:c::1 dev wlan0.7 nexthop via 2001:db8:a::9 dev eth0
		route add 2001:db8:77::/48 dev wg0`, "-6")

	facts := factsOf(t, ns)
	wantPublic := []netip.Addr{
		addr("198.51.100.2"), addr("198.51.100.3"), addr("2001:db8:a::2"), addr("203.0.113.2"), addr("2001:db8:b::2"), addr("2001:db8:c::2"),
	}
	if !sameElements(facts.Public, wantPublic) {
		t.Errorf("public addresses %v, want %v", facts.Public, wantPublic)
	}
	wantNetworks := []plan.Network{
		{Prefix: prefix("198.51.100.0/24"), Interface: "eth0", Default: true, OnLink: true},
		{Prefix: prefix("2001:db8:a::/64"), Interface: "eth0", Default: true, OnLink: true},
		{Prefix: prefix("203.0.113.0/24"), Interface: "eth1", Default: true, OnLink: true},
		{Prefix: prefix("2001:db8:b::/64"), Interface: "eth1", Default: true, OnLink: true},
		{Prefix: prefix("192.168.7.0/24"), Interface: "wlan0.7", Default: true, OnLink: true},
		{Prefix: prefix("192.168.50.0/24"), Interface: "wlan0.7", Default: true},
		{Prefix: prefix("2001:db8:c::/64"), Interface: "wlan0.7", Default: true, OnLink: true},
		{Prefix: prefix("172.17.0.0/16"), Interface: "docker0", OnLink: true},
		{Prefix: prefix("10.8.0.2/32"), Interface: "wg0", Default: true, OnLink: true},
		{Prefix: prefix("10.8.0.0/16"), Interface: "wg0", Default: true},
	}
	if !sameElements(facts.Networks, wantNetworks) {
		t.Errorf("networks %v, want %v", facts.Networks, wantNetworks)
	}
	if want := []string{"eth0", "eth1", "wlan0.7", "wg0"}; !sameElements(facts.AcceptingRA, want) {
		t.Errorf("accepting router advertisements: %v, want %v", facts.AcceptingRA, want)
	}
	if facts.UnderlayMTU != 1400 {
		t.Errorf("underlay MTU %d, want that of eth0, 1400", facts.UnderlayMTU)
	}

	setSysctl(t, ns, "net/ipv6/conf/wlan0.7/accept_ra", "0")
	ip(t, ns, "link set wlan0.7 mtu 1380")
	facts = factsOf(t, ns)
	if want := []string{"eth0", "eth1", "wg0"}; !sameElements(facts.AcceptingRA, want) || facts.UnderlayMTU != 1380 {
		t.Errorf("now accepting %v, want %v; underlay MTU %d, want 1380", facts.AcceptingRA, want, facts.UnderlayMTU)
	}
}

func TestConnectionsAsTheKernelHasThem(t *testing.T) {
	ns := newHost(t, "")
	run(t, ns, "table inet t { chain c { type filter hook input priority 0; ct state new; }; }", "nft", "-f", "-")
	setSysctl(t, ns, "net/netfilter/nf_conntrack_tcp_timeout_syn_recv", "17")
	table := factsOf(t, ns).Connections
	if table.Max == 0 || !table.Fixed || table.Memory == 0 {
		t.Errorf("in a namespace that cannot change its size: %+v", table)
	}
	if want := []plan.Sysctl{{Name: plan.HalfOpenTimes[0], Value: "120"}, {Name: plan.HalfOpenTimes[1], Value: "17"}}; !slices.Equal(table.HalfOpen, want) {
		t.Errorf("half-open connections: %v, want %v", table.HalfOpen, want)
	}
	within(t, ns, func() error {
		if err := sealSysctls(); err != nil {
			return err
		}
		facts, err := open(t).Facts(t.Context(), "gatelodge")
		if len(facts.Connections.HalfOpen) > 0 {
			t.Errorf("a read-only /proc/sys can be changed: %v", facts.Connections.HalfOpen)
		}
		return err
	})
}

// sealSysctls makes /proc/sys read-only for this thread, as in a container.
func sealSysctls() error {
	return errors.Join(
		unix.Unshare(unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""),
		unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""),
	)
}

func TestPassingAddressesAreNotPublic(t *testing.T) {
	ns := netnstest.New(t, "host")
	setSysctl(t, ns, "net/ipv6/conf/default/accept_dad", "0")
	setSysctl(t, ns, "net/ipv6/conf/default/use_tempaddr", "2")
	ip(t, ns, `
		link add eth0 type veth peer name peer
		link set peer up
		link set eth0 up
		addr add 2001:db8:a::2/64 dev eth0 mngtmpaddr nodad valid_lft 1000000 preferred_lft 100000
		addr add 2001:db8:a::d/64 dev eth0 nodad valid_lft 1000 preferred_lft 0
		addr add 2001:db8:a::e/64 dev eth0 nodad preferred_lft 0
		route add default via 2001:db8:a::1`)
	setSysctl(t, ns, "net/ipv6/conf/eth0/accept_dad", "1")
	setSysctl(t, ns, "net/ipv6/conf/eth0/dad_transmits", "1000") // a second each
	ip(t, ns, "addr add 2001:db8:a::7/64 dev eth0")
	var seen int
	within(t, ns, func() (err error) { seen, err = flagsOf("eth0"); return err })
	if want := unix.IFA_F_TEMPORARY | unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE; seen&want != want {
		t.Fatalf("the kernel has made addresses with flags %#x, not %#x", seen, want)
	}
	if got, want := factsOf(t, ns).Public, []netip.Addr{addr("2001:db8:a::2"), addr("2001:db8:a::e")}; !sameElements(got, want) {
		t.Errorf("public addresses %v, want %v", got, want)
	}
}

// flagsOf joins the flags of the interface's IPv6 addresses.
func flagsOf(name string) (flags int, err error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return 0, err
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	for _, a := range addrs {
		flags |= a.Flags
	}
	return flags, err
}

func TestMTUTo(t *testing.T) {
	ns := netnstest.New(t, "host")
	ip(t, ns, `
		link add eth0 mtu 1480 type bridge
		addr add 198.51.100.2/24 dev eth0
		addr add 2001:db8:a::2/64 dev eth0 nodad
		link set eth0 up
		route add 203.0.113.0/24 via 198.51.100.1 mtu 1300
		route add blackhole 192.0.2.0/24
		route add 192.0.2.0/24 dev eth0 mtu 1350 table 77
		rule add pref 50 fwmark 0x20000000/0xf0000000 lookup 77`)
	ip(t, ns, "route add 2001:db8:b::/64 via 2001:db8:a::1 mtu 1290", "-6")
	tests := []struct {
		to   string
		mark uint32
		want int // 0: no way
	}{
		{"198.51.100.9", 0, 1480},
		{"203.0.113.9", 0, 1300},
		{"2001:db8:a::9", 0, 1480},
		{"2001:db8:b::9", 0, 1290},
		{"192.0.2.9", 0, 0},
		{"192.0.2.9", 0x20000000, 1350},
		{"192.0.2.9", 0x10000000, 0},
		{"8.8.8.8", 0, 0},
		{"2001:db8:c::9", 0, 0},
	}
	within(t, ns, func() error {
		for _, tt := range tests {
			got, err := open(t).MTUTo(t.Context(), addr(tt.to), tt.mark)
			if got != tt.want || (err == nil) != (tt.want != 0) {
				t.Errorf("MTUTo(%s, %#x) = %d, %v; want %d", tt.to, tt.mark, got, err, tt.want)
			}
		}
		if _, err := open(t).MTUTo(t.Context(), netip.Addr{}, 0); err == nil {
			t.Error(fmt.Sprint("a way to no address: ", err))
		}
		return nil
	})
}
