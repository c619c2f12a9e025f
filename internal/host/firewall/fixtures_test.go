package firewall_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// TestMain takes /etc/protocols and /etc/services away: a small VPS lacks
// them, and then nft knows only the names that it has built in.
func TestMain(m *testing.M) {
	if netns.Inside() && os.Getpid() != 1 {
		for _, names := range []string{"/etc/protocols", "/etc/services"} {
			err := unix.Mount("/dev/null", names, "", unix.MS_BIND, "")
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintln(os.Stderr, "cannot hide", names+":", err)
				os.Exit(1)
			}
		}
	}
	netnstest.Main(m)
}

// tableName and tunnelName are used in all tests.
const (
	tableName  = "gatelodge0"
	tunnelName = "gatelodge0"
)

// The addresses of the small internet of these tests; see world_test.go.
var (
	gatePublic4 = addr("198.51.100.2")
	gatePublic6 = addr("2001:db8:a::2")
	gateTunnel4 = addr("10.99.0.1")
	gateTunnel6 = addr("fd99::1")
	homeTunnel4 = addr("10.99.0.2")
	homeTunnel6 = addr("fd99::2")
	nextTunnel4 = addr("10.99.0.3") // another home's
	nextTunnel6 = addr("fd99::3")
	lan4        = addr("192.168.1.20")
	lan6        = addr("2001:db8:1::20")
	container4  = addr("172.17.0.2")
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// ports reads a list such as "80/tcp", "5000-5009/udp".
func ports(list ...string) []forward.Ports {
	var all []forward.Ports
	for _, s := range list {
		p, err := forward.ParsePorts(s)
		if err != nil {
			panic(err)
		}
		all = append(all, p...)
	}
	return all
}

// mappings reads the mappings of a forward at home, to that address or to home
// itself.
func mappings(to netip.Addr, list ...string) []plan.HomeForward {
	families := forward.Forward{To: to}.Families()
	var all []plan.HomeForward
	for _, s := range list {
		ms, err := forward.ParseMapping(s)
		if err != nil {
			panic(err)
		}
		for _, m := range ms {
			all = append(all, plan.HomeForward{Mapping: m, To: to, Families: families})
		}
	}
	return all
}

func masqueraded(list []plan.HomeForward) []plan.HomeForward {
	for i := range list {
		list[i].Masquerade = true
	}
	return list
}

// hiding has the gate hide visitors.
func hiding(list []plan.HomeForward) []plan.HomeForward {
	for i := range list {
		list[i].Hidden = true
	}
	return list
}

// gateWant is a gate that protects itself, with these forwards.
func gateWant(forwards ...forward.Grant) plan.Firewall {
	return plan.Firewall{Table: tableName, Gate: &plan.GateFirewall{
		Interface:   tunnelName,
		Public:      []netip.Addr{gatePublic4, gatePublic6},
		Input:       plan.InputPolicy{Protect: true},
		SSHPorts:    []uint16{22},
		ListenPort:  51820,
		ControlPort: 7117,
		Addresses:   []netip.Addr{gateTunnel4, gateTunnel6},
		Tenants:     []netip.Addr{homeTunnel4, homeTunnel6, nextTunnel4, nextTunnel6},
		Forwards:    forwards,
		Marks:       defaultMarks,
	}}
}

// toHome is a forward of these ports to the home of the tests.
func toHome(id uint32, list ...string) forward.Grant {
	return forward.Grant{ID: id, Target4: homeTunnel4, Target6: homeTunnel6, Published: forward.Published{Ports: ports(list...)}}
}

// toNext is a forward of these ports to another home.
func toNext(id uint32, list ...string) forward.Grant {
	return forward.Grant{ID: id, Target4: nextTunnel4, Target6: nextTunnel6, Published: forward.Published{Ports: ports(list...)}}
}

// homeWant is a home with these forwards.
func homeWant(forwards ...plan.HomeForward) plan.Firewall {
	return plan.Firewall{Table: tableName, Home: &plan.HomeFirewall{
		Interface: tunnelName,
		Addresses: []netip.Addr{homeTunnel4, homeTunnel6},
		Gate:      []netip.Addr{gateTunnel4, gateTunnel6},
		Forwards:  forwards,
		Local:     []netip.Prefix{prefix("192.168.1.0/24"), prefix("2001:db8:1::/64")},
		MSS4:      1380,
		MSS6:      1360,
		Marks:     defaultMarks,
		// The tests run as root.
		User:        0,
		ControlPort: 7117,
	}}
}

// hairpin has a home visit itself, by what the gate has granted.
func hairpin(want plan.Firewall, granted ...plan.HomeForward) plan.Firewall {
	want.Home.Hairpin = plan.Hairpin{Gate: []netip.Addr{gatePublic6}, Forwards: granted}
	return want
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// defaultMarks are those of a configuration that names none.
var defaultMarks = plan.Marks{
	Mask:        0xf0000000,
	Answer:      0x10000000,
	Outer:       0x20000000,
	Forward:     0x60000000,
	AcceptedBit: 0x08000000,
}
