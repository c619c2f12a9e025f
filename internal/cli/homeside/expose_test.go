package homeside

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/status"
)

func TestPortsMayBeJoinedByCommas(t *testing.T) {
	if got, err := readPorts([]string{"80,443", "22/TCP,"}); err != nil || strings.Join(got, " ") != "80 443 22/tcp" {
		t.Errorf("%q, %v", got, err)
	}
}

// What expose says is where a visitor really gets in.
func TestOnlyUsableAddressesAreShown(t *testing.T) {
	addrs := func(text string) (list []netip.Addr) {
		for a := range strings.FieldsSeq(text) {
			list = append(list, netip.MustParseAddr(a))
		}
		return list
	}
	for _, c := range []struct{ public, tunnel, families, want string }{
		{"198.51.100.1 2001:db8::1", "10.99.0.2 fd00::2", "IPv4 and IPv6", "198.51.100.1 and 2001:db8::1"},
		{"198.51.100.1 2001:db8::1", "10.99.0.2", "IPv4 and IPv6", "198.51.100.1"},
		{"198.51.100.1 2001:db8::1", "10.99.0.2 fd00::2", "IPv4", "198.51.100.1"},
		{"198.51.100.1", "10.99.0.2 fd00::2", "IPv6", "no address of the gate, as it takes visitors by IPv6 only"},
	} {
		got := publicText(publicAddrs(status.Tunnel{Public: addrs(c.public), Addresses: addrs(c.tunnel)}, status.Forward{Families: c.families}), c.families)
		if got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
