package firewall

import (
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// DeleteVisits forgets the connections by which visitors came to a home's own
// addresses in the tunnel, and keeps those of mappings that are published now
// as they were before; before is nil where nobody knows. The rules let visitors
// of the others no further; this ends what services still say to them, and it
// ends the way that conntrack remembers to a former target.
func DeleteVisits(own []netip.Addr, before, now []plan.HomeForward) error {
	conn, err := netfilter.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return deleteFlows(conn, 0, 0, func(f netfilter.Flow) bool {
		if !slices.Contains(own, f.Dst) {
			return false
		}
		m, published := mappingOf(now, f)
		old, known := mappingOf(before, f)
		return !published || before != nil && (!known || !sameWay(m, old))
	})
}

// mappingOf returns the mapping that a connection used.
func mappingOf(forwards []plan.HomeForward, f netfilter.Flow) (plan.HomeForward, bool) {
	i := slices.IndexFunc(forwards, func(m plan.HomeForward) bool {
		served := f.Dst.Is4() && m.Families.IPv4 || f.Dst.Is6() && m.Families.IPv6
		public := m.Mapping.Public
		return served && public.Protocol == f.Port.Protocol && public.Range.Contains(f.Port.Range.First)
	})
	if i < 0 {
		return plan.HomeForward{}, false
	}
	return forwards[i], true
}

// sameWay reports whether two mappings lead a connection to the same target in
// the same way. What else differs, such as where their ranges end, does not
// matter to it.
func sameWay(a, b plan.HomeForward) bool {
	shift := func(m plan.HomeForward) uint16 { return m.Mapping.Local.First - m.Mapping.Public.Range.First }
	return a.To == b.To && shift(a) == shift(b) && a.Masquerade == b.Masquerade && a.Hidden == b.Hidden
}
