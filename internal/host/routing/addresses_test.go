package routing

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

func TestPublicAddressesOfAllInterfaces(t *testing.T) {
	ns := netnstest.New(t, "addresses")
	for _, line := range []string{
		"link add dummy0 type veth peer name other0", "link set dummy0 up", "link add gatelodge type veth peer name other1",
		"addr add 198.51.100.77/32 dev lo", "addr add 192.168.1.1/24 dev dummy0", "addr add 198.51.100.2/24 dev dummy0", "addr add 198.51.100.9/32 dev gatelodge",
		"addr add 2001:db8::1/64 dev dummy0 nodad preferred_lft 0", "addr add 2001:db8::2/64 dev dummy0 nodad valid_lft 100 preferred_lft 100",
	} {
		within(t, ns, func() error { return exec.Command("ip", strings.Fields(line)...).Run() })
	}
	var got []AddressAt
	within(t, ns, func() (err error) {
		got, err = PublicAddresses("gatelodge", func(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsPrivate() })
		return err
	})
	want := []AddressAt{{addr("198.51.100.77"), "lo"}, {addr("198.51.100.2"), "dummy0"}, {addr("2001:db8::1"), "dummy0"}}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%v is not among %v", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v, not %v", got, want)
	}
}
