package served

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Who publishes a port is told which visitors find nobody there.
func TestServicesThatSomeVisitorsMiss(t *testing.T) {
	tunnel := status.Tunnel{Interface: "gatelodge", Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2"), netip.MustParseAddr("fd00::2")}}
	both := []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:a::1")}
	tcp := func(at string) host.Binding {
		return host.Binding{Protocol: forward.TCP, At: netip.MustParseAddrPort(at)}
	}
	udp := func(at string) host.Binding {
		return host.Binding{Protocol: forward.UDP, At: netip.MustParseAddrPort(at)}
	}
	onlyIPv6, onLAN := tcp("[::]:7024"), tcp("0.0.0.0:7024")
	onlyIPv6.OnlyIPv6, onLAN.Interface = true, "eth0"
	const ipv4, ipv6 = "198.51.100.1", "2001:db8:a::1"
	for name, c := range map[string]struct {
		ports     string
		listening []host.Binding
		at        string   // where it is published
		notes     []string // words of each
	}{
		"both families":           {"7024/tcp", []host.Binding{tcp("[::]:7024")}, ipv4 + " " + ipv6, nil},
		"two sockets":             {"7024/tcp", []host.Binding{tcp("0.0.0.0:7024"), onlyIPv6}, ipv4 + " " + ipv6, nil},
		"IPv4 alone":              {"7024/tcp", []host.Binding{tcp("0.0.0.0:7024")}, ipv4, []string{"7024/tcp: the service answers by IPv4 only, and visitors who come to 2001:db8:a::1 are refused: have it listen on [::]"}},
		"IPv6 alone":              {"7024/tcp", []host.Binding{onlyIPv6}, ipv6, []string{"by IPv6 only, and visitors who come to 198.51.100.1 are refused"}},
		"UDP, IPv4 alone":         {"7024/udp", []host.Binding{udp("0.0.0.0:7024")}, ipv4, []string{"7024/udp: the service answers by IPv4 only"}},
		"another protocol":        {"7024/udp", []host.Binding{tcp("[::]:7024")}, ipv4 + " " + ipv6, []string{"7024/udp: nothing seems to listen there"}},
		"TCP of both":             {"7024", []host.Binding{tcp("[::]:7024")}, ipv4 + " " + ipv6, nil},
		"TCP of both, IPv4 alone": {"7024", []host.Binding{tcp("0.0.0.0:7024")}, ipv4, []string{"7024/tcp: the service answers by IPv4 only"}},
		"each another family":     {"7024", []host.Binding{tcp("0.0.0.0:7024"), udp("[::]:7024")}, ipv4 + " " + ipv6, []string{"7024/tcp: the service answers by IPv4 only"}},
		"in the tunnel":           {"7024/tcp", []host.Binding{tcp("10.99.0.2:7024"), tcp("[fd00::2]:7024")}, ipv4 + " " + ipv6, nil},
		"one address of the LAN":  {"7024/tcp", []host.Binding{tcp("192.168.1.10:7024")}, ipv4 + " " + ipv6, []string{"listens on 192.168.1.10 only, and visitors come to this machine's address in the tunnel: gatelodge unexpose web, then gatelodge expose 7024/tcp --to 192.168.1.10 --name web"}},
		"one, and remapped":       {"80:7024/tcp", []host.Binding{tcp("192.168.1.10:7024")}, ipv4 + " " + ipv6, []string{"gatelodge expose 80:7024/tcp --to 192.168.1.10"}},
		"one, and all of IPv4":    {"7024/tcp", []host.Binding{tcp("0.0.0.0:7024"), tcp("[2001:db8::10]:7024")}, ipv4, []string{"by IPv4 only"}},
		"loopback":                {"7024/tcp", []host.Binding{tcp("127.0.0.1:7024")}, ipv4 + " " + ipv6, []string{"listens on 127.0.0.1 only, where no visitor arrives"}},
		"an interface":            {"7024/tcp", []host.Binding{onLAN}, ipv4 + " " + ipv6, []string{"bound to the interface eth0"}},
		"nothing":                 {"7024", nil, ipv4 + " " + ipv6, []string{"7024/tcp: nothing seems to listen"}},
		"remapped":                {"80:7024/tcp", []host.Binding{tcp("0.0.0.0:7024")}, ipv4, []string{"80/tcp: the service answers by IPv4 only"}},
		"the public port":         {"7024:80/tcp", []host.Binding{tcp("[::]:7024")}, ipv4 + " " + ipv6, []string{"7024/tcp: nothing seems to listen"}},
		"one of a range":          {"7000-7100/tcp", []host.Binding{tcp("[::]:7024")}, ipv4 + " " + ipv6, nil},
	} {
		mappings, err := forward.ParseMapping(c.ports)
		if err != nil {
			t.Fatal(err)
		}
		var answers []Port
		for _, m := range mappings {
			answers = append(answers, portOf(m, c.listening, tunnel))
		}
		if at := strings.ReplaceAll(joinAddrs(At(both, answers)), ", ", " "); at != c.at {
			t.Errorf("%s: published at %s, not %s", name, at, c.at)
		}
		notes := Notes("web", both, answers)
		if len(notes) != len(c.notes) {
			t.Errorf("%s: %q, not %q", name, notes, c.notes)
			continue
		}
		for i, words := range c.notes {
			if !strings.Contains(notes[i], words) {
				t.Errorf("%s: %q does not say %q", name, notes[i], words)
			}
		}
	}
	// A gate without IPv6 announces none, and who answers by IPv4 alone is as well off.
	m, err := forward.ParseMapping("7024/tcp")
	if err != nil {
		t.Fatal(err)
	}
	if notes := Notes("web", both[:1], []Port{portOf(m[0], []host.Binding{tcp("0.0.0.0:7024")}, tunnel)}); len(notes) > 0 {
		t.Errorf("of a gate with IPv4 alone: %q", notes)
	}
}
