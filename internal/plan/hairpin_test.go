package plan_test

import (
	"net/netip"
	"testing"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// A home leads its own connections to itself only where it knows by itself that
// the address is the gate's, the gate has granted the port, and its own line
// has IPv6.
func TestHairpin(t *testing.T) {
	c := parseHome(t, `version = 1
[forward.web]
ports = "443:8443/tcp"
[forward.game]
ports = "25565"
[forward.camera]
ports = "80/tcp"
to = "192.168.1.20"
`)
	in := homeInput(t)
	in.GatePublic = []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:a::1")}
	in.Granted = []string{"web", "camera"}
	facts := plan.Facts{IPv6: true, Own: []netip.Addr{netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("2001:db8:e::10")}}
	got := plan.ForHome(c, in, facts).Firewall.Home.Hairpin
	if len(got.Gate) != 1 || got.Gate[0] != in.GatePublic[1] || len(got.Forwards) != 1 || got.Forwards[0].Mapping.Public.Range.First != 443 {
		t.Errorf("led home: %+v", got)
	}
	for name, change := range map[string]func(in *plan.HomeInput, f *plan.Facts){
		"nothing granted yet": func(in *plan.HomeInput, _ *plan.Facts) { in.Granted = nil },
		"IPv4 alone granted":  func(in *plan.HomeInput, _ *plan.Facts) { in.Granted = []string{"camera"} },
		"a gate without IPv6": func(in *plan.HomeInput, _ *plan.Facts) { in.GatePublic = in.GatePublic[:1] },
		"no IPv6 on the line": func(_ *plan.HomeInput, f *plan.Facts) { f.Own = f.Own[:1] },
		"only local addresses": func(_ *plan.HomeInput, f *plan.Facts) {
			f.Own = []netip.Addr{netip.MustParseAddr("fd00:1::10"), netip.MustParseAddr("fe80::10"), netip.IPv6Loopback()}
		},
	} {
		in, facts := in, facts
		change(&in, &facts)
		if got := plan.ForHome(c, in, facts).Firewall.Home.Hairpin; got.Gate != nil || got.Forwards != nil {
			t.Errorf("%s: led home: %+v", name, got)
		}
	}
}
