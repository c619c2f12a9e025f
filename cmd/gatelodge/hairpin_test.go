package main

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// A home whose line has IPv6 visits itself by its public name: by IPv4 round by
// the gate, by IPv6 at once, where the gate has granted the port and as long as
// it does.
func TestADualStackHomeVisitsItself(t *testing.T) {
	l := newJoinedLab(t)
	giveHomeIPv6(t, l)
	applyHome(t, l)
	own := netip.MustParseAddr("2001:db8:e::10")
	for gate, seen := range map[netip.Addr]netip.Addr{l.Gate().IPv4: l.Host("cgnat").IPv4, l.Gate().IPv6: own} {
		at := netip.AddrPortFrom(gate, portEcho)
		for network, probe := range map[string]func(context.Context, *lab.Host, netip.AddrPort) (lab.Answer, error){"TCP": lab.ProbeTCP, "UDP": lab.ProbeUDP} {
			eventually(t, network+" at "+at.String(), func(ctx context.Context) error {
				a, err := probe(ctx, l.Home(), at)
				if err == nil && a.Saw.Addr() != seen {
					err = fmt.Errorf("the service saw %s, want %s", a.Saw, seen)
				}
				return err
			})
		}
	}
	reachable(t, l) // for others nothing has changed
	_, err := l.Home().Gatelodge(t.Context(), "unexpose", "echo")
	must(t, err)
	if a, err := lab.ProbeTCP(t.Context(), l.Home(), netip.AddrPortFrom(l.Gate().IPv6, portEcho)); err == nil {
		t.Errorf("unpublished, and answered by %s", a.Saw)
	}
}

// giveHomeIPv6 gives the line of home 2001:db8:e::/64.
func giveHomeIPv6(t *testing.T, l *lab.Lab) {
	t.Helper()
	for _, step := range []struct {
		on   string
		line string
	}{
		{"internet", "addr add 2001:db8:d::1/64 dev cgnat nodad"},
		{"internet", "route add 2001:db8:e::/64 via 2001:db8:d::2"},
		{"cgnat", "addr add 2001:db8:d::2/64 dev wan nodad"},
		{"cgnat", "addr add 2001:db8:e::1/64 dev lan1 nodad"},
		{"cgnat", "route add default via 2001:db8:d::1"},
		{"home", "addr add 2001:db8:e::10/64 dev eth0 nodad"},
		{"home", "route add default via 2001:db8:e::1"},
	} {
		_, err := l.Host(step.on).Run(t.Context(), "sh", "-c", "ip -6 "+step.line)
		must(t, err)
	}
	run(t, l.Host("cgnat"), "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
}
