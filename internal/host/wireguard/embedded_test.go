package wireguard_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatelodge/gatelodge/internal/plan"
)

func TestTunnel(t *testing.T) {
	for _, endpoint := range []netip.AddrPort{gateEndpoint, netip.MustParseAddrPort("[2001:db8:a::2]:51820")} {
		t.Run(endpoint.String(), func(t *testing.T) {
			w := newWorld(t)
			w.home.want.Peers[0].Endpoint = endpoint
			w.up(t)
			w.gate.serve(t)
			echo(t, w.home.dial(t, "10.99.0.1"))
			echo(t, w.home.dial(t, "fd99::1"))
			if got := w.home.peer(t, w.gate).Endpoint; got != endpoint {
				t.Errorf("home's endpoint is %v, want %v", got, endpoint)
			}
		})
	}
}

func TestObserveShowsWhatWasApplied(t *testing.T) {
	w := newWorld(t)
	if o := w.home.observe(t); o.Present {
		t.Error("a device that was never applied is present")
	}
	w.home.want.FirewallMark = 0xf0000001
	w.up(t)
	got := w.home.observe(t)
	if got.ListenPort == 0 {
		t.Error("no listen port was chosen")
	}
	want := plan.ObservedWireGuard{
		Present:      true,
		Kind:         plan.Embedded,
		PublicKey:    w.home.key.Public(),
		FirewallMark: 0xf0000001,
		ListenPort:   got.ListenPort,
		Peers: []plan.ObservedPeer{{
			PublicKey:           w.gate.key.Public(),
			Endpoint:            gateEndpoint,
			AllowedIPs:          w.home.want.Peers[0].AllowedIPs,
			PersistentKeepalive: 15 * time.Second,
		}},
	}
	counters := cmpopts.IgnoreFields(plan.ObservedPeer{}, "LatestHandshake", "ReceivedBytes", "SentBytes")
	prefixes := cmpopts.SortSlices(func(a, b netip.Prefix) bool { return a.String() < b.String() })
	if d := cmp.Diff(want, got, counters, prefixes, cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{})); d != "" {
		t.Errorf("observed (-want +got):\n%s", d)
	}
}

// A session shows in its connection, and in the time of its handshake.
func TestOtherPeersKeepTheirSessions(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	w.gate.serve(t)
	c := w.home.dial(t, "10.99.0.1")
	echo(t, c)
	before := w.gate.peer(t, w.home).LatestHandshake
	other := plan.Peer{PublicKey: newKey(t).Public(), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.99.0.3/32")}}
	changed := other
	changed.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("10.99.0.4/32"), netip.MustParsePrefix("fd99::4/128")}
	ours := w.gate.want.Peers[0]
	for _, peers := range [][]plan.Peer{{ours, other}, {changed, ours}, {ours}} {
		w.gate.want.Peers = peers
		w.gate.apply(t)
		if got := len(w.gate.observe(t).Peers); got != len(peers) {
			t.Errorf("the gate has %d peers, want %d", got, len(peers))
		}
		echo(t, c)
	}
	// More addresses for the peer itself do not disturb it either.
	w.gate.want.Peers[0].AllowedIPs = append(slices.Clone(ours.AllowedIPs), netip.MustParsePrefix("10.99.0.9/32"))
	w.gate.apply(t)
	echo(t, c)
	if got := w.gate.peer(t, w.home); got.LatestHandshake != before || len(got.AllowedIPs) != 3 {
		t.Errorf("handshake at %v, was at %v; allowed %v", got.LatestHandshake, before, got.AllowedIPs)
	}
}

func TestLearnedEndpointStays(t *testing.T) {
	w := newWorld(t)
	stale := netip.MustParseAddrPort("203.0.113.99:1")
	w.gate.want.Peers[0].Endpoint = stale
	w.up(t)
	learned := func() bool { return w.gate.peer(t, w.home).Endpoint.Addr() == netip.MustParseAddr("192.0.2.2") }
	eventually(t, "the gate learns home's endpoint", learned)
	w.gate.want.Peers[0].PersistentKeepalive = 25 * time.Second // something else changes
	w.gate.apply(t)
	if !learned() {
		t.Errorf("the learned endpoint became %v", w.gate.peer(t, w.home).Endpoint)
	}
	other := netip.MustParseAddrPort("203.0.113.98:2")
	w.home.do(t, func() error { return w.home.device.Close() }) // or it would be learned again
	w.gate.want.Peers[0].Endpoint = other
	w.gate.apply(t)
	if got := w.gate.peer(t, w.home).Endpoint; got != other {
		t.Errorf("the endpoint is %v, want the new %v", got, other)
	}
}

func TestRebind(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	w.gate.serve(t)
	c := w.home.dial(t, "10.99.0.1")
	echo(t, c)
	before := w.home.observe(t).ListenPort
	w.settle(t)
	w.home.do(t, func() error { return w.home.device.Rebind(context.Background()) })
	after := w.home.observe(t).ListenPort
	if after == before || after == 0 {
		t.Errorf("home's port is %d, was %d", after, before)
	}
	eventually(t, "the gate hears home at its new port", func() bool { return w.gate.peer(t, w.home).Endpoint.Port() == after })
	if took := echo(t, c); took > time.Second {
		t.Errorf("the connection went on only after %v", took)
	}
	w.gate.do(t, func() error { return w.gate.device.Rebind(context.Background()) })
	if got := w.gate.observe(t).ListenPort; got != gateEndpoint.Port() {
		t.Errorf("the gate's fixed port became %d", got)
	}
}

// settle waits until the gate would accept another handshake: it takes two
// within 20 ms for a flood.
func (w *world) settle(t *testing.T) {
	t.Helper()
	eventually(t, "the last handshake is a while ago", func() bool {
		return time.Since(w.gate.peer(t, w.home).LatestHandshake) > 50*time.Millisecond
	})
}

// The mark is what the only route to the gate depends on.
func TestFirewallMark(t *testing.T) {
	w := newWorld(t)
	ip(t, w.home.ns, `
		route del default
		route add default via 192.0.2.1 table 100
		rule add fwmark 0x20000000/0xf0000000 lookup 100`)
	w.home.want.FirewallMark = 0x20000000
	w.up(t)
	w.gate.serve(t)
	echo(t, w.home.dial(t, "10.99.0.1"))
	w.settle(t)
	w.home.do(t, func() error { return w.home.device.Rebind(context.Background()) })
	echo(t, w.home.dial(t, "10.99.0.1"))
}

func TestTheNextProcessAdopts(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	w.gate.serve(t)
	ip(t, w.home.ns, "route add 203.0.113.0/24 dev gl0")
	c := w.home.dial(t, "10.99.0.1")
	echo(t, c)
	before := run(t, w.home.ns, "", "ip", "-o", "addr", "show", "dev", tunnelName)
	w.settle(t)
	w.home.do(t, func() error { return w.home.device.Close() })
	if o := w.home.observe(t); o.Present {
		t.Error("a closed device is present")
	}
	if got := run(t, w.home.ns, "", "ip", "-o", "addr", "show", "dev", tunnelName); got != before {
		t.Errorf("addresses are now\n%swere\n%s", got, before)
	}
	w.home.open(t)
	w.home.apply(t)
	if took := echo(t, c); took > 3*time.Second {
		t.Errorf("the connection went on only after %v", took)
	}
	if routes := run(t, w.home.ns, "", "ip", "route"); !strings.Contains(routes, "203.0.113.0/24 dev gl0") {
		t.Errorf("the route through the tunnel is gone:\n%s", routes)
	}
}

func TestADeletedInterfaceComesBack(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	w.gate.serve(t)
	echo(t, w.home.dial(t, "10.99.0.1"))
	w.settle(t)
	ip(t, w.home.ns, "link del gl0")
	eventually(t, "the device notices", func() bool { return !w.home.observe(t).Present })
	w.home.apply(t)
	w.home.address(t)
	echo(t, w.home.dial(t, "10.99.0.1"))
}

// wireguard-go would go on sending from the address that is gone until a
// handshake fails.
func TestHomeMoves(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	w.gate.serve(t)
	c := w.home.dial(t, "10.99.0.1")
	echo(t, c)
	ip(t, w.home.ns, `
		addr del 192.0.2.2/24 dev eth0
		addr replace 192.0.2.3/24 dev eth0
		route replace default via 192.0.2.1`)
	if took := echo(t, c); took > 2*time.Second {
		t.Errorf("the connection went on only after %v", took)
	}
	if got := w.gate.peer(t, w.home).Endpoint.Addr().String(); got != "192.0.2.3" {
		t.Errorf("the gate sees home at %s", got)
	}
}
