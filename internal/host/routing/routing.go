// Package routing observes and changes the links, addresses, routes, policy
// routing rules and sysctls of the network namespace it is used in, over
// netlink (rtnetlink(7)) and /proc/sys.
//
// Routes and rules that it makes carry plan.RouteProtocol; it never touches
// any other, nor those of another instance on the same machine: see instance.
package routing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/step"
)

// ErrNoIPv6 reports that IPv6 is switched off, on the machine or on the
// interface.
var ErrNoIPv6 = errors.New("IPv6 is switched off here (net.ipv6.conf.*.disable_ipv6, or ipv6.disable=1 on the kernel's command line)")

// Routing is the routing of a network namespace, as one instance of Gatelodge
// has a share in it.
type Routing struct {
	mu     sync.Mutex
	tables []int // that this instance has used
}

// Open returns the routing of this network namespace.
func Open() (*Routing, error) { return &Routing{}, nil }

// Remember says that this instance uses routing tables, or has: what is in them,
// and rules that lead there, belong to it.
func (r *Routing) Remember(tables ...int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tables = slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.tables, tables))))
}

func (r *Routing) remembered() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tables
}

// HasLink reports whether an interface of that name stands.
func (r *Routing) HasLink(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

// SetLink sets an interface's MTU, in bytes, and brings it up.
func (r *Routing) SetLink(_ context.Context, name string, mtu int) error {
	link, err := findLink(name)
	if err != nil {
		return err
	}
	if link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("cannot set the MTU of %s to %d: %w", name, mtu, err)
		}
		step.At("routing: MTU set", name)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot bring up %s: %w", name, err)
	}
	return nil
}

func findLink(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("no interface %s: %w", name, err)
	}
	return link, nil
}

// AddAddress gives an interface an address; one that it has is no error. An
// IPv6 address is usable at once: nobody else can be on a tunnel, so there is
// no duplicate to detect.
func (r *Routing) AddAddress(_ context.Context, name string, address netip.Prefix) error {
	link, err := findLink(name)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(address)}
	if address.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	err = netlink.AddrReplace(link, addr)
	if address.Addr().Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)) {
		return fmt.Errorf("%w: %w", ErrNoIPv6, err)
	}
	return err
}

// DeleteAddress takes an address from an interface; one that it has not is no
// error.
func (r *Routing) DeleteAddress(_ context.Context, name string, address netip.Prefix) error {
	link, err := findLink(name)
	if err != nil {
		return err
	}
	return ignore(netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(address)}), unix.EADDRNOTAVAIL)
}

// ReplaceRoute adds a route of ours, or replaces one with the same
// destination, table and metric.
func (r *Routing) ReplaceRoute(_ context.Context, route plan.Route) error {
	n, err := kernelRoute(route)
	if err != nil {
		return err
	}
	return netlink.RouteReplace(n)
}

// DeleteRoute deletes a route of ours; one that is gone is no error.
func (r *Routing) DeleteRoute(_ context.Context, route plan.Route) error {
	n, err := kernelRoute(route)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil // its interface took it along
	}
	if err != nil {
		return err
	}
	return ignore(netlink.RouteDel(n), unix.ESRCH)
}

func kernelRoute(r plan.Route) (*netlink.Route, error) {
	n := &netlink.Route{
		Family:   family(r.Destination.Addr().Is6()),
		Dst:      ipNet(r.Destination),
		Table:    r.Table,
		Protocol: plan.RouteProtocol,
		Priority: int(r.Metric),
		Scope:    netlink.SCOPE_UNIVERSE,
	}
	if r.Blackhole {
		n.Type = unix.RTN_BLACKHOLE
		return n, nil
	}
	link, err := findLink(r.Interface)
	if err != nil {
		return nil, err
	}
	n.LinkIndex = link.Attrs().Index
	if !r.Destination.Addr().Is6() {
		n.Scope = netlink.SCOPE_LINK
	}
	return n, nil
}

// AddRule adds a policy routing rule; one that stands is no error.
func (r *Routing) AddRule(_ context.Context, rule plan.Rule) error {
	return ignore(netlink.RuleAdd(kernelRule(rule)), unix.EEXIST)
}

// DeleteRule deletes a policy routing rule of ours; one that is gone is no
// error.
func (r *Routing) DeleteRule(_ context.Context, rule plan.Rule) error {
	return ignore(netlink.RuleDel(kernelRule(rule)), unix.ENOENT)
}

func kernelRule(r plan.Rule) *netlink.Rule {
	n := netlink.NewRule()
	n.Family = family(r.IPv6)
	n.Priority = r.Priority
	n.Table = r.Table
	n.Protocol = plan.RouteProtocol
	n.SuppressPrefixlen = r.SuppressPrefixLength
	if r.From.IsValid() {
		n.Src = ipNet(r.From)
	}
	if r.To.IsValid() {
		n.Dst = ipNet(r.To)
	}
	if r.Mask != 0 {
		n.Mark, n.Mask = r.Mark, &r.Mask
	}
	return n
}

func family(is6 bool) int {
	if is6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if ok && addr.Is4In6() && size == 32 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, bits), ok
}

// ignore drops errors that say that things are already as they should be.
func ignore(err error, fine ...unix.Errno) error {
	if slices.ContainsFunc(fine, func(e unix.Errno) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}
