package plan

import (
	"net/netip"
	"slices"
	"testing"
)

func TestPublicAddressesAsVisitorsKnowThem(t *testing.T) {
	tests := []struct {
		name                   string
		found, endpoints, want []string
	}{
		{"the machine's own", []string{"198.51.100.1", "2001:db8:a::1"}, []string{"192.0.2.9:55107"}, []string{"198.51.100.1", "2001:db8:a::1"}},
		{"translated one to one", []string{"10.0.0.5", "2001:db8:a::1"}, []string{"198.51.100.2:55107", "[2001:db8:a::1]:55107"}, []string{"198.51.100.2", "2001:db8:a::1"}},
		{"one of two is", []string{"10.0.0.5", "198.51.100.1"}, []string{"198.51.100.2:55107"}, []string{"10.0.0.5", "198.51.100.1"}},
		{"several ports", []string{"10.0.0.5"}, []string{"198.51.100.2:55107", "198.51.100.2:443"}, []string{"198.51.100.2"}},
		{"only a name is known", []string{"10.0.0.5"}, []string{"gate.example.org:55107"}, []string{"10.0.0.5"}},
		{"dialled in a private network", []string{"10.0.0.5"}, []string{"10.0.0.5:55107"}, []string{"10.0.0.5"}},
		{"dialled by the other family", []string{"10.0.0.5"}, []string{"[2001:db8:a::1]:55107"}, []string{"10.0.0.5"}},
		{"a carrier's", []string{"100.64.0.9"}, []string{"198.51.100.2:55107"}, []string{"198.51.100.2"}},
		{"unique local", []string{"fd00::5"}, []string{"[2001:db8:a::1]:55107"}, []string{"2001:db8:a::1"}},
		{"none", nil, []string{"198.51.100.2:55107"}, nil},
	}
	for _, tt := range tests {
		var found []netip.Addr
		for _, a := range tt.found {
			found = append(found, netip.MustParseAddr(a))
		}
		var got []string
		for _, a := range AsVisitorsKnow(found, tt.endpoints) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: visitors arrive at %v, wanted %v", tt.name, got, tt.want)
		}
	}
}
