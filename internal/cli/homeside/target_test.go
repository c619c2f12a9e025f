package homeside

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// A target that cannot work is refused before it is published; whatever the kernel has
// a way to may be meant.
func TestTargetsThatCannotWork(t *testing.T) {
	place := &membership.Membership{Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2"), netip.MustParseAddr("fd00:1::2")}}
	facts := plan.Facts{Networks: []plan.Network{
		{Prefix: netip.MustParsePrefix("192.168.1.0/24"), Interface: "eth0", Default: true},
		{Prefix: netip.MustParsePrefix("203.0.113.0/28"), Interface: "lan0"},
	}}
	for to, want := range map[string]string{
		"192.168.1.20": "", "192.168.50.7": "", "10.1.2.3": "", "100.64.3.4": "", "fd12::7": "", "203.0.113.7": "", "10.99.1.2": "",
		"8.8.8.8": "out in the internet", "203.0.113.17": "out in the internet", "2606:4700::1111": "out in the internet",
		"10.99.0.2": "leave --to out", "fd00:1::2": "leave --to out", "10.99.0.3": "an address of the tunnel", "fd00:1::3": "an address of the tunnel",
	} {
		err := judgeTarget(netip.MustParseAddr(to), place, facts)
		if got := err == nil; got != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("--to %s: %v, not %q", to, err, want)
		}
	}
	if err := judgeTarget(netip.MustParseAddr("10.99.0.3"), nil, facts); err != nil {
		t.Errorf("before it has joined: %v", err)
	}
}
