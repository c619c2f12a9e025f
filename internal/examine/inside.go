package examine

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Inside goes to the granted ports of the homes through the tunnel, by each
// family in which they are published, from an address as visitors have: to the
// gate's own in the tunnel, homes are closed. Without such an address nothing is
// tried.
func Inside(ctx context.Context, homes []registry.Home, public []netip.Addr, forwards []doctor.Forward) (by4, by6 []doctor.Result) {
	by4, by6 = make([]doctor.Result, len(forwards)), make([]doctor.Result, len(forwards))
	from4, from6 := VisitorAddress(public, netip.Addr.Is4), VisitorAddress(public, netip.Addr.Is6)
	var wait sync.WaitGroup
	for i, f := range forwards {
		h := slices.IndexFunc(homes, func(h registry.Home) bool { return h.Name == f.Home })
		if !f.Granted || h < 0 {
			continue
		}
		try := func(from, at netip.Addr, result *doctor.Result) {
			if from.IsValid() && at.IsValid() {
				wait.Go(func() { *result = KnockFrom(ctx, from, f.Protocol, netip.AddrPortFrom(at, f.Port)) })
			}
		}
		families := familiesOf(homes[h], f.Name)
		if families.IPv4 {
			try(from4, homes[h].Address4, &by4[i])
		}
		if families.IPv6 {
			try(from6, homes[h].Address6, &by6[i])
		}
	}
	wait.Wait()
	return by4, by6
}

// familiesOf returns those in which a forward is published.
func familiesOf(h registry.Home, name string) forward.Families {
	for _, f := range h.Forwards {
		if f.Wanted.Name == name {
			return f.Families
		}
	}
	return forward.Families{}
}
