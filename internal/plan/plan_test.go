package plan_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func parseHome(t *testing.T, text string) config.Home {
	t.Helper()
	c, err := config.ParseHome("home.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parseGate(t *testing.T, text string) config.Gate {
	t.Helper()
	c, err := config.ParseGate("gate.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t *testing.T) key.Private {
	t.Helper()
	k, err := key.NewPrivate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func homeInput(t *testing.T) plan.HomeInput {
	t.Helper()
	return plan.HomeInput{
		PrivateKey:    newKey(t),
		Addresses:     []netip.Addr{netip.MustParseAddr("10.99.0.2"), netip.MustParseAddr("fd99::2")},
		GatePublicKey: newKey(t).Public(),
		GateAddresses: []netip.Addr{netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("fd99::1")},
		Endpoint:      netip.MustParseAddrPort("198.51.100.1:55107"),
	}
}

var homeFacts = plan.Facts{
	IPv6:        true,
	UnderlayMTU: 1500,
	Networks: []plan.Network{
		{Prefix: netip.MustParsePrefix("192.168.1.0/24"), Interface: "eth0", Default: true},
		{Prefix: netip.MustParsePrefix("172.17.0.0/16"), Interface: "docker0"},
	},
	Own: []netip.Addr{netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("172.17.0.1")},
}

const homeText = `version = 1
[forward.web]
ports = ["80/tcp", "443"]
[forward.game]
ports = "25565/tcp"
to = "192.168.1.20"
`

// observe plays a machine that has exactly the wanted state.
func observe(want plan.State) plan.Observed {
	o := plan.Observed{
		WireGuard: plan.ObservedWireGuard{
			Present: true, PublicKey: want.WireGuard.PrivateKey.Public(), ListenPort: want.WireGuard.ListenPort,
			FirewallMark: want.WireGuard.FirewallMark,
		},
		Routing: plan.ObservedRouting{
			LinkPresent: true, LinkUp: true, MTU: want.Routing.MTU, Addresses: want.Routing.Addresses,
			Routes: want.Routing.Routes, Rules: want.Routing.Rules, Sysctls: want.Routing.Sysctls,
		},
		Firewall: plan.ObservedFirewall{Present: true, Current: true},
	}
	for _, p := range want.WireGuard.Peers {
		o.WireGuard.Peers = append(o.WireGuard.Peers, plan.ObservedPeer{
			PublicKey: p.PublicKey, Endpoint: p.Endpoint, AllowedIPs: p.AllowedIPs, PersistentKeepalive: p.PersistentKeepalive,
		})
	}
	return o
}

func TestNothingDiffersFromItself(t *testing.T) {
	want := plan.ForHome(parseHome(t, homeText), homeInput(t), homeFacts)
	if changes := plan.Diff(observe(want), want); len(changes) != 0 {
		t.Errorf("changes from the wanted state to itself: %v", changes)
	}
}

func TestFromNothingTheFilterComesFirstAndForwardingLast(t *testing.T) {
	want := plan.ForHome(parseHome(t, homeText), homeInput(t), homeFacts)
	changes := plan.Diff(plan.Observed{}, want)
	if _, ok := changes[0].(plan.LoadFirewall); !ok {
		t.Errorf("the first change is %q, not the firewall", changes[0])
	}
	last, ok := changes[len(changes)-1].(plan.SetSysctl)
	if !ok || last.Sysctl.Name != "net.ipv4.ip_forward" {
		t.Errorf("the last change is %q, not forwarding", changes[len(changes)-1])
	}
}

func TestEveryDifferenceIsFound(t *testing.T) {
	want := plan.ForHome(parseHome(t, homeText), homeInput(t), homeFacts)
	for name, spoil := range map[string]func(o *plan.Observed){
		"table missing":       func(o *plan.Observed) { o.Firewall.Present = false },
		"table outdated":      func(o *plan.Observed) { o.Firewall.Current = false },
		"rule deleted":        func(o *plan.Observed) { o.Firewall.Drift = []string{"chain x has 3 rules, not 4"} },
		"guard missing":       func(o *plan.Observed) { o.Firewall.Guard = []string{"it is missing"} },
		"device missing":      func(o *plan.Observed) { o.WireGuard = plan.ObservedWireGuard{} },
		"other key":           func(o *plan.Observed) { o.WireGuard.PublicKey = key.Public{1} },
		"other fwmark":        func(o *plan.Observed) { o.WireGuard.FirewallMark++ },
		"peer gone":           func(o *plan.Observed) { o.WireGuard.Peers = nil },
		"stranger among them": func(o *plan.Observed) { o.WireGuard.Peers = append(o.WireGuard.Peers, plan.ObservedPeer{}) },
		"keepalive off":       func(o *plan.Observed) { o.WireGuard.Peers[0].PersistentKeepalive = 0 },
		"endpoint unknown":    func(o *plan.Observed) { o.WireGuard.Peers[0].Endpoint = netip.AddrPort{} },
		"allowed IPs cut":     func(o *plan.Observed) { o.WireGuard.Peers[0].AllowedIPs = o.WireGuard.Peers[0].AllowedIPs[:1] },
		"link down":           func(o *plan.Observed) { o.Routing.LinkUp = false },
		"other MTU":           func(o *plan.Observed) { o.Routing.MTU = 1500 },
		"address gone":        func(o *plan.Observed) { o.Routing.Addresses = o.Routing.Addresses[1:] },
		"address too many": func(o *plan.Observed) {
			o.Routing.Addresses = append(slices.Clone(o.Routing.Addresses), netip.Prefix{})
		},
		"route gone": func(o *plan.Observed) { o.Routing.Routes = o.Routing.Routes[1:] },
		"rule gone":  func(o *plan.Observed) { o.Routing.Rules = o.Routing.Rules[:len(o.Routing.Rules)-1] },
		"rule too many": func(o *plan.Observed) {
			o.Routing.Rules = append(slices.Clone(o.Routing.Rules), plan.Rule{Priority: 7})
		},
		"sysctl reset": func(o *plan.Observed) {
			o.Routing.Sysctls = slices.Clone(o.Routing.Sysctls)
			o.Routing.Sysctls[0].Value = "1"
		},
	} {
		o := observe(want)
		spoil(&o)
		if changes := plan.Diff(o, want); len(changes) != 1 {
			t.Errorf("%s: %d changes instead of 1: %v", name, len(changes), changes)
		}
	}
}

func TestAnEndpointLearnedSinceIsNotADifference(t *testing.T) {
	want := plan.ForHome(parseHome(t, homeText), homeInput(t), homeFacts)
	o := observe(want)
	o.WireGuard.Peers[0].Endpoint = netip.MustParseAddrPort("203.0.113.7:4000")
	if changes := plan.Diff(o, want); len(changes) != 0 {
		t.Errorf("a roaming peer counts as drift: %v", changes)
	}
}

func TestHomePlanInWords(t *testing.T) {
	in := homeInput(t)
	want := plan.ForHome(parseHome(t, homeText), in, homeFacts)
	var got []string
	for _, c := range plan.Diff(plan.Observed{}, want) {
		got = append(got, c.String())
	}
	expected := []string{
		"~ table inet gatelodge: the table is missing",
		"+ WireGuard interface gatelodge: it is missing; 1 peer",
		"~ link gatelodge: up, MTU 1420",
		"~ sysctl net.ipv4.conf.gatelodge.rp_filter: not there yet → 2",
		"~ sysctl net.ipv6.conf.gatelodge.disable_ipv6: not there yet → 0",
		"+ address 10.99.0.2/32 of gatelodge",
		"+ address fd99::2/128 of gatelodge",
		"+ route default dev gatelodge table 6700 metric 100",
		"+ route blackhole default table 6700 metric 4294967295",
		"+ route default (IPv6) dev gatelodge table 6700 metric 100",
		"+ route blackhole default (IPv6) table 6700 metric 4294967295",
		"+ rule 100: fwmark 0x20000000/0xf0000000 lookup main",
		"+ rule 101: to 10.0.0.0/8 fwmark 0x10000000/0xf0000000 lookup main suppress_prefixlength 7",
		"+ rule 101: to 172.16.0.0/12 fwmark 0x10000000/0xf0000000 lookup main suppress_prefixlength 7",
		"+ rule 101: to 192.168.0.0/16 fwmark 0x10000000/0xf0000000 lookup main suppress_prefixlength 7",
		"+ rule 101: to 100.64.0.0/10 fwmark 0x10000000/0xf0000000 lookup main suppress_prefixlength 7",
		"+ rule 101: to 169.254.0.0/16 fwmark 0x10000000/0xf0000000 lookup main suppress_prefixlength 7",
		"+ rule 102: fwmark 0x10000000/0xf0000000 lookup 6700",
		"+ rule 103: from 10.99.0.2 lookup 6700",
		"+ rule 32868: fwmark 0x0/0xf0000000 lookup 6700",
		"+ rule 100: (IPv6) fwmark 0x20000000/0xf0000000 lookup main",
		"+ rule 101: (IPv6) to fc00::/7 fwmark 0x10000000/0xf0000000 lookup main suppress_prefixlength 6",
		"+ rule 101: (IPv6) to fe80::/10 fwmark 0x10000000/0xf0000000 lookup main suppress_prefixlength 6",
		"+ rule 102: (IPv6) fwmark 0x10000000/0xf0000000 lookup 6700",
		"+ rule 103: (IPv6) from fd99::2 lookup 6700",
		"~ sysctl net.ipv4.ip_forward: not there yet → 1",
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("plan differs (-wanted +got):\n%s", diff)
	}
}

func TestSourceIsPreservedWhereAnswersComeBack(t *testing.T) {
	for to, want := range map[string]forward.Source{
		"":             forward.Preserve,   // this host
		"172.17.0.2":   forward.Preserve,   // a container: this host is its router
		"192.168.1.20": forward.Masquerade, // a LAN device: its router is another
		"10.8.0.7":     forward.Masquerade, // somewhere behind a router
		"192.168.1.10": forward.Preserve,   // an address of this host
	} {
		f := forward.Forward{}
		if to != "" {
			f.To = netip.MustParseAddr(to)
		}
		if got := plan.ResolveSource(f, homeFacts); got != want {
			t.Errorf("to %q: source is %s, wanted %s", to, got, want)
		}
		f.Source = forward.Preserve
		if got := plan.ResolveSource(f, homeFacts); got != forward.Preserve {
			t.Errorf("to %q: the owner's choice is not respected", to)
		}
	}
}

func TestTunnelMTULeavesRoomForTheUnderlay(t *testing.T) {
	for underlay, want := range map[int]int{0: 1420, 1500: 1420, 1492: 1412, 1400: 1320, 1300: 1280, 576: 1280, 9000: 1420, 65536: 1420} {
		facts := homeFacts
		facts.UnderlayMTU = underlay
		got := plan.ForHome(parseHome(t, homeText), homeInput(t), facts)
		if got.Routing.MTU != want || got.WireGuard.MTU != want || got.Firewall.Home.MSS4 != want-40 || got.Firewall.Home.MSS6 != want-60 {
			t.Errorf("underlay %d: MTU %d, wanted %d (MSS %d and %d)", underlay, got.Routing.MTU, want, got.Firewall.Home.MSS4, got.Firewall.Home.MSS6)
		}
	}
}

func TestHomeWithoutIPv6PlansNone(t *testing.T) {
	facts := homeFacts
	facts.IPv6 = false
	want := plan.ForHome(parseHome(t, homeText), homeInput(t), facts)
	for _, c := range plan.Diff(plan.Observed{}, want) {
		if strings.Contains(c.String(), "IPv6") || strings.Contains(c.String(), "ipv6") || strings.Contains(c.String(), "fd99") {
			t.Errorf("on a machine without IPv6: %s", c)
		}
	}
}

func TestGateKeepsRouterAdvertisements(t *testing.T) {
	c := parseGate(t, "version = 1\n[tunnel]\nprefix6 = \"fd99::/64\"\n")
	facts := plan.Facts{IPv6: true, AcceptingRA: []string{"eth0"}, SSHPorts: []uint16{2222}}
	want := plan.ForGate(c, plan.GateInput{PrivateKey: newKey(t)}, facts)
	names := []string{}
	for _, s := range want.Routing.Sysctls {
		names = append(names, s.Name+"="+s.Value)
	}
	expected := []string{
		"net.ipv4.conf.gatelodge.forwarding=1",
		"net.ipv4.ip_forward=1",
		"net.ipv6.conf.gatelodge.disable_ipv6=0",
		"net.ipv6.conf.eth0.accept_ra=2",
		"net.ipv6.conf.all.forwarding=1",
	}
	if diff := cmp.Diff(expected, names); diff != "" {
		t.Errorf("sysctls differ (-wanted +got):\n%s", diff)
	}
}

func TestReservedPortsAreNeverFewerThanThoseInUse(t *testing.T) {
	c := parseGate(t, "version = 1\n[firewall]\nssh_ports = [22]\naccept = [\"8443/tcp\"]\n")
	reserved := plan.ForGate(c, plan.GateInput{Input: plan.WantedInput(c)}, plan.Facts{SSHPorts: []uint16{2222}}).Firewall.Gate.Reserved()
	want := "22/tcp, 2222/tcp, 8443/tcp, 55108/tcp, 68/udp, 546/udp, 55107-55108/udp"
	if got := reserved.String(); got != want {
		t.Errorf("reserved: %s, wanted %s", got, want)
	}
}

func TestOverlapNamesTheNetwork(t *testing.T) {
	n, found := plan.Overlap(netip.MustParsePrefix("192.168.0.0/16"), homeFacts)
	if !found || n.Interface != "eth0" {
		t.Errorf("overlap with eth0 not found: %v %v", n, found)
	}
	if n, found := plan.Overlap(netip.MustParsePrefix("10.99.0.0/24"), homeFacts); found {
		t.Errorf("an overlap that is none: %v", n)
	}
}

// A gate with several public addresses answers by the one that was called.
func TestAnswersComeOutOfTheTunnelWithAnAddressOfTheGate(t *testing.T) {
	one := []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:a::1")}
	for _, c := range []struct {
		public []netip.Addr
		want   string
	}{
		{one, "not set"},
		{append(one, netip.MustParseAddr("198.18.5.1")), "1"},
	} {
		s := plan.ForGate(parseGate(t, "version = 1\n"), plan.GateInput{}, plan.Facts{Public: c.public, IPv6: true})
		if got := sysctlOf(s, "net.ipv4.conf.gatelodge.accept_local"); got != c.want {
			t.Errorf("with %v accept_local is %s, want %s", c.public, got, c.want)
		}
	}
}
