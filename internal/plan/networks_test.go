package plan_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func TestOverlapIsWhatWouldBeCutOff(t *testing.T) {
	network := func(p string, onLink bool) plan.Facts {
		return plan.Facts{Networks: []plan.Network{{Prefix: netip.MustParsePrefix(p), Interface: "x", OnLink: onLink}}}
	}
	tests := []struct {
		name, tunnel string
		facts        plan.Facts
		want         bool
	}{
		{"a VPN for all of 10.0.0.0/8", "10.99.0.0/24", network("10.0.0.0/8", false), false},
		{"the same, one address of a home", "10.99.0.2/32", network("10.0.0.0/8", false), false},
		{"a mesh's range", "100.100.0.0/24", network("100.64.0.0/10", false), false},
		{"a company's network within", "10.99.0.0/24", network("10.99.0.128/25", false), true},
		{"the same network elsewhere", "10.99.0.0/24", network("10.99.0.0/24", false), true},
		{"one host elsewhere", "10.99.0.2/32", network("10.99.0.2/32", false), true},
		{"a LAN", "10.99.0.0/24", network("10.0.0.0/8", true), true},
		{"an address of a home in a LAN", "10.99.0.2/32", network("10.99.0.0/24", true), true},
		{"a container engine's bridge", "10.0.0.0/24", network("10.0.0.0/24", true), true},
		{"an address on lo", "10.99.0.0/24", network("10.99.0.9/32", true), true},
		{"a LAN beside", "10.99.0.0/24", network("10.98.0.0/24", true), false},
		{"IPv6, a LAN", "fd99::/64", network("fd99::/48", true), true},
		{"IPv6, a VPN", "fd99::/64", network("fc00::/7", false), false},
	}
	for _, tt := range tests {
		if _, got := plan.Overlap(netip.MustParsePrefix(tt.tunnel), tt.facts); got != tt.want {
			t.Errorf("%s: overlap is %t", tt.name, got)
		}
	}
}

func TestTheNearestNetworkDecidesHowADeviceAnswers(t *testing.T) {
	facts := plan.Facts{Networks: []plan.Network{
		{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Interface: "vpn0"},
		{Prefix: netip.MustParsePrefix("10.1.2.0/24"), Interface: "eth0", Default: true, OnLink: true},
		{Prefix: netip.MustParsePrefix("10.1.2.64/26"), Interface: "docker0", OnLink: true},
	}}
	for to, want := range map[string]forward.Source{
		"10.1.2.5":  forward.Masquerade, // a LAN device within a VPN's range
		"10.1.2.70": forward.Preserve,   // a container within the LAN's
		"10.7.0.1":  forward.Preserve,
	} {
		if got := plan.ResolveSource(forward.Forward{To: netip.MustParseAddr(to)}, facts); got != want {
			t.Errorf("to %s: source is %s, wanted %s", to, got, want)
		}
	}
}

// Answers to a visitor follow the tunnel, whatever routes lead to where they are;
// what is for this machine's own networks follows the main table.
func TestAnswersToOwnNetworksFollowTheMainTable(t *testing.T) {
	facts := homeFacts
	facts.Networks = append(slices.Clone(facts.Networks), plan.Network{Prefix: netip.MustParsePrefix("203.0.113.16/28"), Interface: "br0", OnLink: true})
	var to4 []string
	for _, r := range plan.ForHome(parseHome(t, homeText), homeInput(t), facts).Routing.Rules {
		if r.Table != plan.MainTable || r.Priority != 101 {
			continue
		}
		if !r.To.IsValid() || r.SuppressPrefixLength < 1 {
			t.Errorf("rule %s sends answers by any route of the main table", r)
		}
		if !r.IPv6 {
			to4 = append(to4, r.To.String())
		}
	}
	want := []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "203.0.113.16/28"}
	if !slices.Equal(to4, want) {
		t.Errorf("main table for %v, wanted %v", to4, want)
	}
}
