package routing

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// dump repeats a netlink dump that was interrupted by a change.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const tries = 10
	for range tries {
		all, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return nil, fmt.Errorf("the kernel's tables change faster than they can be read: %w", netlink.ErrDumpInterrupted)
}

// Observe returns what there is of the wanted link, addresses and sysctls, and
// all routes and rules of this instance. The error wraps ErrClash if another
// instance uses what is wanted.
func (r *Routing) Observe(_ context.Context, want plan.Routing) (plan.ObservedRouting, error) {
	var o plan.ObservedRouting
	if err := observeLink(want.Interface, &o); err != nil {
		return o, err
	}
	routes, err := ourRoutes()
	if err != nil {
		return o, err
	}
	rules, err := ourRules()
	if err != nil {
		return o, err
	}
	own := newInstance(want.Interface, slices.Concat(r.remembered(), TablesOf(want)), routes)
	if err := own.clash(want, r.remembered(), routes, rules); err != nil {
		return o, err
	}
	o.Routes, o.Rules = own.routes(routes), own.rules(rules)
	o.Sysctls, err = r.observeSysctls(want.Sysctls)
	return o, err
}

func observeLink(name string, o *plan.ObservedRouting) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at interface %s: %w", name, err)
	}
	o.LinkPresent = true
	o.MTU = link.Attrs().MTU
	o.LinkUp = link.Attrs().RawFlags&unix.IFF_UP != 0
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("cannot list the addresses of %s: %w", name, err)
	}
	for _, a := range addrs {
		p, ok := prefixOf(a.IPNet)
		if ok && !p.Addr().IsLinkLocalUnicast() { // the kernel makes that one by itself
			o.Addresses = append(o.Addresses, p)
		}
	}
	return nil
}

// ourRoutes returns the routes of any table that carry our protocol number.
func ourRoutes() ([]plan.Route, error) {
	return dump(func() ([]plan.Route, error) {
		var found []listedRoute
		for _, fam := range families {
			err := eachRoute(kernelRouteFilter{family: fam, protocol: plan.RouteProtocol}, func(r listedRoute) { found = append(found, r) })
			if err != nil {
				return nil, err
			}
		}
		var ours []plan.Route
		for _, n := range found {
			if r, ok := plannedRoute(n); ok {
				ours = append(ours, r)
			}
		}
		return ours, nil
	})
}

// plannedRoute puts a route of the kernel's into our terms. There is none
// if its interface has gone since the kernel listed it.
func plannedRoute(n listedRoute) (plan.Route, bool) {
	r := plan.Route{Destination: n.dst, Table: n.table, Metric: n.metric, Blackhole: n.kind == unix.RTN_BLACKHOLE}
	if r.Blackhole {
		return r, true // the kernel shows IPv6 ones on lo
	}
	link, err := netlink.LinkByIndex(n.link)
	if err != nil {
		return r, false
	}
	r.Interface = link.Attrs().Name
	return r, true
}

// ourRules returns the policy routing rules that carry our protocol number.
func ourRules() ([]plan.Rule, error) {
	var ours []plan.Rule
	for _, fam := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := dump(func() ([]netlink.Rule, error) { return netlink.RuleList(fam) })
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // a kernel without that family
		}
		if err != nil {
			return nil, fmt.Errorf("cannot list rules: %w", err)
		}
		for _, n := range all {
			if n.Protocol == plan.RouteProtocol {
				ours = append(ours, plannedRule(n, fam))
			}
		}
	}
	return ours, nil
}

func plannedRule(n netlink.Rule, fam int) plan.Rule {
	r := plan.Rule{
		IPv6:                 fam == netlink.FAMILY_V6,
		Priority:             n.Priority,
		Table:                n.Table,
		Mark:                 n.Mark,
		SuppressPrefixLength: n.SuppressPrefixlen,
	}
	if n.Mask != nil {
		r.Mask = *n.Mask
	}
	if from, ok := prefixOf(n.Src); ok {
		r.From = from
	}
	if to, ok := prefixOf(n.Dst); ok {
		r.To = to
	}
	return r
}

// MTUTo returns the MTU, in bytes, of the way to addr for packets with the
// given mark, path MTU that the kernel has learned included. An error means
// that there is no way.
func (r *Routing) MTUTo(_ context.Context, addr netip.Addr, mark uint32) (int, error) {
	routes, err := netlink.RouteGetWithOptions(addr.AsSlice(), &netlink.RouteGetOptions{Mark: mark})
	if err != nil {
		return 0, fmt.Errorf("no route to %s: %w", addr, err)
	}
	if len(routes) == 0 {
		return 0, fmt.Errorf("no route to %s", addr)
	}
	if routes[0].MTU > 0 {
		return routes[0].MTU, nil
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return 0, fmt.Errorf("cannot look at the interface that leads to %s: %w", addr, err)
	}
	return link.Attrs().MTU, nil
}
