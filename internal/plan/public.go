package plan

import (
	"net/netip"
	"slices"
)

// AsVisitorsKnow returns the addresses at which visitors arrive, as they know
// them. Those of a gate behind a translation one to one, or behind forwarded
// ports, mean nothing to them: such a gate is where homes dial it.
func AsVisitorsKnow(found []netip.Addr, endpoints []string) []netip.Addr {
	var list []netip.Addr
	for _, is4 := range []bool{true, false} {
		own := ofFamily(found, is4)
		dialled := ofFamily(RoutableEndpoints(endpoints), is4)
		if len(own) > 0 && len(dialled) > 0 && !slices.ContainsFunc(own, Routable) {
			own = dialled
		}
		list = append(list, own...)
	}
	return list
}

func ofFamily(addrs []netip.Addr, is4 bool) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return a.Is4() != is4 })
}

// RoutableEndpoints returns the addresses among endpoints, each HOST:PORT, that the
// internet routes; names are left out.
func RoutableEndpoints(endpoints []string) []netip.Addr {
	var addrs []netip.Addr
	for _, e := range endpoints {
		if a, err := netip.ParseAddrPort(e); err == nil && Routable(a.Addr().Unmap()) && !slices.Contains(addrs, a.Addr().Unmap()) {
			addrs = append(addrs, a.Addr().Unmap())
		}
	}
	return addrs
}

// Routable reports whether the internet routes an address at all.
func Routable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !Private(netip.PrefixFrom(a, a.BitLen()))
}
