package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// Whatever else a home's routes lead to: visitors are served, and answers go
// back by the tunnel.
func TestVisitorsFromWhereHomeHasRoutes(t *testing.T) {
	l := newJoinedLab(t)
	must(t, l.Home().Expose(t.Context(), "7002:80/tcp", "--to", "172.17.0.2", "--name", "container"))
	run(t, l.Home(), "ip", "link", "add", "vpn0", "type", "bridge")
	run(t, l.Home(), "ip", "link", "set", "vpn0", "arp", "off", "up")
	run(t, l.Home(), "ip", "-6", "addr", "add", "2001:db8:e::10/64", "dev", "eth0", "nodad")
	must(t, ipRoute(t.Context(), l.Home(), "add", "default via 2001:db8:e::1"))
	for _, routes := range []struct {
		name  string
		lines []string
	}{
		{"a second line for some of the internet", []string{"203.0.113.0/24 via 192.168.1.1", "2001:db8:c::/64 via 2001:db8:e::1"}},
		{"a host route", []string{"203.0.113.10 via 192.168.1.1", "2001:db8:c::10 via 2001:db8:e::1"}},
		{"a VPN for some of the internet", []string{"203.0.113.0/24 dev vpn0", "2001:db8:c::/64 dev vpn0"}},
		{"a VPN for a part of the internet, broad", []string{"200.0.0.0/5 dev vpn0"}},
		{"2000::/3", []string{"2000::/3 via 2001:db8:e::1"}},
	} {
		t.Run(routes.name, func(t *testing.T) {
			change := func(verb string) {
				for _, line := range routes.lines {
					must(t, ipRoute(t.Context(), l.Home(), verb, line))
				}
			}
			change("add")
			defer change("del")
			applyHome(t, l)
			if refused := run(t, l.Home(), "nft", "list", "set", "inet", "gatelodge", "refused4"); strings.Contains(refused, "203.0.113.") {
				t.Errorf("visitors' addresses are refused:\n%s", refused)
			}
			reachable(t, l)
			container := netip.AddrPortFrom(l.Gate().IPv4, 7002)
			eventually(t, "a container", func(ctx context.Context) error {
				return saw(l, l.Gate().IPv4)(lab.ProbeHTTP(ctx, l.Visitor(), container))
			})
		})
	}
}

func ipRoute(ctx context.Context, h *lab.Host, verb, line string) error {
	_, err := h.Run(ctx, "sh", "-c", "ip route "+verb+" "+line)
	return err
}

// A VPN with a wide route cuts nothing off, and nothing is cut off by it: the
// tunnel has single addresses.
func TestAVPNForTheTunnelsRangeIsNoObstacle(t *testing.T) {
	for _, side := range []string{"home", "gate"} {
		t.Run(side, func(t *testing.T) {
			l := newLab(t)
			h := l.Host(side)
			run(t, h, "ip", "link", "add", "vpn0", "type", "bridge")
			run(t, h, "ip", "link", "set", "vpn0", "arp", "off", "up")
			run(t, h, "ip", "route", "add", "10.0.0.0/8", "dev", "vpn0")
			must(t, l.InitGate(t.Context()))
			must(t, l.Join(t.Context(), l.Home()))
			must(t, l.Home().Expose(t.Context(), "7000", "--name", "echo"))
			reachable(t, l)
			must(t, h.Kill())
			run(t, h, "ip", "link", "del", "gatelodge")
			must(t, h.Start())
			must(t, h.Ready(t.Context()))
			reachable(t, l)
		})
	}
}

// Visitors arrive at whatever address of the gate leads to the internet.
func TestGateAddressesAsTheyAre(t *testing.T) {
	l := newJoinedLab(t)
	for _, change := range []struct {
		name, line string
		at         string
	}{
		{"an IPv6 default of 2000::/3", "ip -6 route del default; ip -6 route add 2000::/3 via 2001:db8:a::fe", "2001:db8:a::1"},
		{"an IPv4 default in halves", "ip route add 0.0.0.0/1 via 198.51.100.254; ip route add 128.0.0.0/1 via 198.51.100.254; ip route del default", "198.51.100.1"},
		{"a deprecated address", "ip -6 addr change 2001:db8:a::1/64 dev eth0 preferred_lft 0", "2001:db8:a::1"},
		{"an address on lo", "ip addr add 198.51.100.77/32 dev lo", "198.51.100.77"},
		{"a second address that is one host", "ip addr add 198.51.100.78/32 dev eth0", "198.51.100.78"},
	} {
		t.Run(change.name, func(t *testing.T) {
			run(t, l.Gate(), "sh", "-c", change.line)
			if addr := netip.MustParseAddr(change.at); addr != l.Gate().IPv4 && addr.Is4() {
				run(t, l.Host("internet"), "ip", "route", "add", change.at, "via", "198.51.100.1")
			}
			gate := netip.MustParseAddr(change.at)
			_, err := l.Gate().Gatelodge(t.Context(), "apply")
			must(t, err)
			contains(t, report(t, l.Gate(), "--json"), fmt.Sprintf("%q", gate))
			at := netip.AddrPortFrom(gate, portEcho)
			eventually(t, fmt.Sprint("TCP at ", at), func(ctx context.Context) error { return saw(l, gate)(lab.ProbeTCP(ctx, l.Visitor(), at)) })
			eventually(t, fmt.Sprint("UDP at ", at), func(ctx context.Context) error { return saw(l, gate)(lab.ProbeUDP(ctx, l.Visitor(), at)) })
		})
	}
}

// Forwarding that somebody switches off for one interface comes back, on the
// gate and at a home that passes packets on.
func TestForwardingOfOneInterfaceComesBack(t *testing.T) {
	l := newJoinedLab(t)
	must(t, l.Home().Expose(t.Context(), "7002:80/tcp", "--to", "172.17.0.2", "--name", "container"))
	container := netip.AddrPortFrom(l.Gate().IPv4, 7002)
	for _, off := range []struct {
		h    *lab.Host
		name string
	}{
		{l.Gate(), "net.ipv4.conf.eth0.forwarding"},
		{l.Gate(), "net.ipv4.conf.gatelodge.forwarding"},
		{l.Home(), "net.ipv4.conf.docker0.forwarding"},
		{l.Home(), "net.ipv4.conf.gatelodge.forwarding"},
		{l.Gate(), "net.ipv6.conf.eth0.forwarding"}, // the kernel asks that for all alone
		{l.Gate(), "net.ipv6.conf.gatelodge.forwarding"},
	} {
		t.Run(off.h.Name+" "+off.name, func(t *testing.T) {
			run(t, off.h, "sysctl", "-qw", off.name+"=0")
			_, err := off.h.Gatelodge(t.Context(), "apply")
			must(t, err)
			reachable(t, l)
			eventually(t, "a container", func(ctx context.Context) error {
				return saw(l, l.Gate().IPv4)(lab.ProbeHTTP(ctx, l.Visitor(), container))
			})
		})
	}
}
