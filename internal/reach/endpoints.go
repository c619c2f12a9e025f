// Package reach finds out at which addresses a gate can be reached from here: its
// names, the families that have a route, and the network's NAT64.
package reach

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// NameServer looks names up, as net.Resolver does.
type NameServer interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Usable returns the addresses to which this machine has a route, and after
// them those of IPv4 to which it has none, as the network's NAT64 has them.
func Usable(ctx context.Context, names NameServer, found []netip.AddrPort, routed func(context.Context, netip.Addr) bool) []netip.AddrPort {
	var usable, lacking4 []netip.AddrPort
	for _, a := range found {
		switch {
		case routed(ctx, a.Addr()):
			usable = append(usable, a)
		case a.Addr().Is4():
			lacking4 = append(lacking4, a)
		}
	}
	if len(lacking4) == 0 {
		return usable
	}
	for _, prefix := range translations(ctx, names) {
		for _, a := range lacking4 {
			if six := translate(prefix, a.Addr()); routed(ctx, six) {
				usable = append(usable, netip.AddrPortFrom(six, a.Port()))
			}
		}
	}
	return usable
}

// NoRoute says which family is missing, where that is all.
func NoRoute(found []netip.AddrPort) error {
	is4 := func(a netip.AddrPort) bool { return a.Addr().Is4() }
	switch {
	case !slices.ContainsFunc(found, is4):
		return errors.New("no common address family: the gate has only IPv6 addresses, and this machine has no route to them")
	case !slices.ContainsFunc(found, func(a netip.AddrPort) bool { return !is4(a) }):
		return errors.New("this machine has no IPv4 route to the gate, and its network no NAT64 that leads there")
	default:
		return errors.New("this machine has no route to the gate")
	}
}

// lookupTime bounds one look-up of a name, and maxAddresses how many addresses
// of an answer are taken: a name server may send thousands.
const (
	lookupTime   = 5 * time.Second
	maxAddresses = 16
)

// Resolve returns the addresses of HOST:PORT.
func Resolve(ctx context.Context, endpoint string) ([]netip.AddrPort, error) {
	name, portText, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q is not a port", portText)
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(addr.Unmap(), uint16(port))}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, fmt.Errorf("cannot look up the gate's name: %w", err)
	}
	var list []netip.AddrPort
	for _, a := range addrs[:min(len(addrs), maxAddresses)] {
		list = append(list, netip.AddrPortFrom(a.Unmap(), uint16(port)))
	}
	return list, nil
}
