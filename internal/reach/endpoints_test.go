package reach

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNoRouteNamesTheMissingFamily(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("198.51.100.1:55107"), netip.MustParseAddrPort("[2001:db8::1]:55107")
	for _, c := range []struct {
		found []netip.AddrPort
		says  string
	}{
		{[]netip.AddrPort{v6}, "no common address family"},
		{[]netip.AddrPort{v4}, "no IPv4 route"},
		{[]netip.AddrPort{v4, v6}, "no route to the gate"},
	} {
		if got := NoRoute(c.found).Error(); !strings.Contains(got, c.says) {
			t.Errorf("%v: %q does not say %q", c.found, got, c.says)
		}
	}
}

func TestResolveTakesAddressesWithoutALookup(t *testing.T) {
	for endpoint, want := range map[string]string{
		"198.51.100.1:55107":          "198.51.100.1:55107",
		"[2001:db8::1]:1":             "[2001:db8::1]:1",
		"[::ffff:198.51.100.1]:55107": "198.51.100.1:55107",
	} {
		got, err := Resolve(t.Context(), endpoint)
		if err != nil || len(got) != 1 || got[0].String() != want {
			t.Errorf("Resolve(%q) = %v, %v", endpoint, got, err)
		}
	}
	if _, err := Resolve(t.Context(), "198.51.100.1"); err == nil {
		t.Error("an endpoint without a port is taken")
	}
}
