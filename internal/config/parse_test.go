package config

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/forward"
)

func ports(p forward.Protocol, first, last uint16) forward.Ports {
	return forward.Ports{Protocol: p, Range: forward.Range{First: first, Last: last}}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseGate(t *testing.T) {
	got, err := ParseGate("gate.toml", readFile(t, "testdata/gate.toml"))
	if err != nil {
		t.Fatal(err)
	}
	policy := Policy{
		Ports:       forward.PortSet{ports(forward.TCP, 1024, 65535), ports(forward.UDP, 1024, 65535)},
		Deny:        forward.PortSet{ports(forward.TCP, 6881, 6889), ports(forward.UDP, 6881, 6889)},
		MaxForwards: 16,
	}
	attic := policy
	attic.MaxForwards = 2
	want := Gate{
		Tunnel: GateTunnel{
			Interface: "gl-0", ListenPort: 51820, ControlPort: 51821,
			Prefix4: netip.MustParsePrefix("10.7.0.0/16"), Prefix6: netip.MustParsePrefix("fd12:3456:789a:1::/64"),
			Device: Embedded, MTU: 1380,
		},
		Public: Public{
			Endpoints: []string{"vps.example.org:51820", "198.51.100.1:51820", "[2001:db8::1]:51820", "[2001:db8::2]:443"},
			Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("2001:db8::1")},
		},
		Firewall: GateFirewall{
			SSHPorts: []uint16{2222},
			Accept:   forward.PortSet{ports(forward.TCP, 53, 53), ports(forward.TCP, 80, 80), ports(forward.UDP, 53, 53)},

			AcceptProtocols: []forward.Protocol{41, 47, 132},
		},
		Policy: policy,
		Homes: []HomePolicy{
			{"mail", Policy{Ports: forward.PortSet{ports(forward.TCP, 25, 25), ports(forward.TCP, 465, 465)}, MaxForwards: 16}},
			{"attic", attic},
		},
		Marks: Marks{Mask: 0xff000000, Answer: 0x01000000, Outer: 0x02000000, Forward: 0x03000000, Accepted: 1},
	}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for home, most := range map[string]int{"attic": 2, "mail": 16, "anyone": 16} {
		if p := got.PolicyOf(home); p.MaxForwards != most {
			t.Errorf("%s may have %d forwards, want %d", home, p.MaxForwards, most)
		}
	}
	if allowed := got.PolicyOf("anyone").Allowed(); allowed.Contains(ports(forward.TCP, 6885, 6885)) || !allowed.Contains(ports(forward.UDP, 6890, 65535)) {
		t.Errorf("anyone is allowed %s", allowed)
	}
}

func TestParseHome(t *testing.T) {
	got, err := ParseHome("home.toml", readFile(t, "testdata/home.toml"))
	if err != nil {
		t.Fatal(err)
	}
	same := func(p forward.Protocol, first, last uint16) forward.Mapping {
		return forward.Mapping{Public: ports(p, first, last), Local: forward.Range{First: first, Last: last}}
	}
	want := Home{
		Tunnel: HomeTunnel{Interface: "gl_home", Device: Kernel, MTU: 1280, Table: 7000, RulePriority: 50},
		Gate:   HomeGate{Endpoints: []string{"other.example.org:55107", "203.0.113.1:51820"}},
		Forwards: []forward.Forward{
			{Name: "web", Mappings: []forward.Mapping{same(forward.TCP, 80, 80), same(forward.TCP, 443, 443), same(forward.UDP, 443, 443)}},
			{
				Name: "minecraft",
				Mappings: []forward.Mapping{
					same(forward.UDP, 25565, 25570),
					{Public: ports(forward.TCP, 2222, 2222), Local: forward.Range{First: 22, Last: 22}},
				},
				To:     netip.MustParseAddr("192.168.1.20"),
				Source: forward.Masquerade,
				Allow:  []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("198.51.101.7/32")},
				Limit:  forward.Limit{NewConnections: forward.Rate{Count: 20, Per: time.Second}, Connections: 200},
			},
			{Name: "alone", Mappings: []forward.Mapping{same(forward.UDP, 53, 53)}, To: netip.MustParseAddr("fd00::20"), Source: forward.Preserve},
		},
		Marks: DefaultMarks(),
	}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Everything but the version may be left out.
func TestDefaults(t *testing.T) {
	gate, err := ParseGate("gate.toml", []byte("version = 1"))
	if err != nil {
		t.Fatal(err)
	}
	wantGate := Gate{
		Tunnel:   GateTunnel{Interface: "gatelodge", ListenPort: 55107, ControlPort: 55108, Prefix4: netip.MustParsePrefix("10.99.0.0/24"), Device: Auto},
		Firewall: GateFirewall{Protect: true, SSHPorts: []uint16{22}},
		Policy:   Policy{Ports: AllPorts(), MaxForwards: 256},
		Marks:    Marks{0xf0000000, 0x10000000, 0x20000000, 0x60000000, 0x08000000},
	}
	if diff := cmp.Diff(wantGate, gate, byValue); diff != "" {
		t.Errorf("gate (-want +got):\n%s", diff)
	}
	home, err := ParseHome("home.toml", []byte("version = 1"))
	if err != nil {
		t.Fatal(err)
	}
	wantHome := Home{
		Tunnel:   HomeTunnel{Interface: "gatelodge", Device: Auto, Table: 6700, RulePriority: 100},
		Firewall: HomeFirewall{DropPrivate: true},
		Marks:    wantGate.Marks,
	}
	if diff := cmp.Diff(wantHome, home, byValue); diff != "" {
		t.Errorf("home (-want +got):\n%s", diff)
	}
}

// The defaults are held to what a file is held to.
func TestDefaultsAreValid(t *testing.T) {
	for _, text := range []string{"version = 1\n[marks]\n", "version = 1\n[marks]\nmask = \"0xf0000000\"\n"} {
		if err := parse("home.toml", []byte(text)); err != nil {
			t.Error(err)
		}
	}
}

// A policy may be an empty list: nobody publishes anything, but for the homes
// that are named.
func TestEmptyPolicy(t *testing.T) {
	g, err := ParseGate("gate.toml", []byte("version = 1\n[policy]\nports = []\n[home.attic]\nports = [\"80\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p := g.PolicyOf("other").Allowed(); len(p) != 0 {
		t.Errorf("other homes may publish %s", p)
	}
	if p := g.PolicyOf("attic").Allowed(); p.String() != "80/tcp, 80/udp" {
		t.Errorf("the attic may publish %s", p)
	}
}

// Everything else a file may have wrong is in testdata/errors; here are the
// values of which many must be right.
func TestInterfaceNames(t *testing.T) {
	for _, name := range []string{"gatelodge", "wg0", "a", "GL_home-1", "abcdefghijklmno"} {
		if _, err := parseInterface(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "0wg", "-a", "wg.0", "wg/0", "wg 0", "abcdefghijklmnop", "wé", "wg0\n", "lo", "all", "default", "table", "ip6", "destroy"} {
		if _, err := parseInterface(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}

func TestTargets(t *testing.T) {
	for text, want := range map[string]string{"192.168.1.20": "192.168.1.20", "::ffff:10.0.0.1": "10.0.0.1", "FD00::0020": "fd00::20", "169.254.1.1": "169.254.1.1"} {
		if got, err := parseTarget(text); err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "localhost", "127.0.0.1", "127.5.5.5", "::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "fe80::1%eth0", "10.0.0.0/8", "010.0.0.1", "::ffff:127.0.0.1", "10.0.0.1\x00"} {
		if got, err := parseTarget(text); err == nil {
			t.Errorf("%q was accepted as %s", text, got)
		}
	}
}

func TestAllow(t *testing.T) {
	for text, want := range map[string]string{"0.0.0.0/0": "0.0.0.0/0", "::/0": "::/0", "198.51.100.7": "198.51.100.7/32", "2001:db8::1": "2001:db8::1/128", "::ffff:198.51.100.7": "198.51.100.7/32"} {
		if got, err := parseAllow(text); err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "/", "198.51.100.0/33", "198.51.100.1/24", "::ffff:198.51.100.0/120", "198.51.100.0/24/24", "198.51.100.0/024"} {
		if got, err := parseAllow(text); err == nil {
			t.Errorf("%q was accepted as %s", text, got)
		}
	}
}

// A file for a newer version is not judged by what this one knows.
func TestNewerVersionIsTheOnlyError(t *testing.T) {
	err := parse("gate.toml", []byte("version = 7\nunknown = 1\n[policy]\nports = 7\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), "newer gatelodge") {
		t.Errorf("got %v", err)
	}
}
