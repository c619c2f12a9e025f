package onboard

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// foundWith is a machine with these public addresses and networks of its own.
func foundWith(public string, networks ...string) host.Found {
	var f host.Found
	for p := range strings.FieldsSeq(public) {
		f.Facts.Public = append(f.Facts.Public, netip.MustParseAddr(p))
	}
	for _, n := range networks {
		f.Facts.Networks = append(f.Facts.Networks, plan.Network{Prefix: netip.MustParsePrefix(n), Interface: "eth1"})
	}
	return f
}

func TestGateFile(t *testing.T) {
	const public = "198.51.100.1"
	usual := GateWish{ListenPort: 55107, Input: "protect"}
	named, prefixed, odd, wrong := usual, usual, usual, usual
	named.Endpoints, prefixed.Prefix4, odd.Prefix4, wrong.Input = []string{"vps.example"}, "192.168.1.0/24", "fd00::/64", "open"
	for name, c := range map[string]struct {
		found     host.Found
		wish      GateWish
		endpoints string
		prefix    string
		err       string
	}{
		"usual":                {foundWith(public), usual, "198.51.100.1:55107", "10.99.0.0/24", ""},
		"behind NAT":           {foundWith("10.0.0.5"), usual, "", "", "no public address found on this machine (only 10.0.0.5)"},
		"no address":           {foundWith(""), usual, "", "", "none with a way to the internet"},
		"behind NAT, named":    {foundWith("10.0.0.5"), named, "vps.example", "10.99.0.0/24", ""},
		"a network in the way": {foundWith(public, "10.99.0.0/16"), usual, "198.51.100.1:55107", "10.119.0.0/24", ""},
		"all in the way":       {foundWith(public, "10.99.0.0/24", "10.119.0.0/24", "172.29.99.0/24", "192.168.209.0/24"), usual, "", "", "overlap networks of this machine"},
		"its own prefix":       {foundWith(public, "192.168.1.0/24"), prefixed, "", "", "overlaps 192.168.1.0/24 of this machine's eth1"},
		"no IPv4 prefix":       {foundWith(public), odd, "", "", "is not an IPv4 prefix"},
		"no such input":        {foundWith(public), wrong, "", "", "these settings make no valid gate.toml"},
	} {
		file, err := GateFile(c.found, c.wish)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || strings.Join(file.Endpoints, " ") != c.endpoints || file.Prefix4.String() != c.prefix {
			t.Errorf("%s: %+v, %v", name, file, err)
		}
	}
}
