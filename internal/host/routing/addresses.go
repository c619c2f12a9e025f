package routing

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses returns the addresses of all interfaces of this machine.
func Addresses() ([]netip.Addr, error) {
	list, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("cannot list the addresses of this machine: %w", err)
	}
	var addrs []netip.Addr
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, nil
}

// AddressAt is an address of this machine and the interface that has it.
type AddressAt struct {
	Addr      netip.Addr
	Interface string
}

// PublicAddresses returns the addresses of this machine that the internet may
// know, on whatever interface but the one left out. Those that come and go are
// not among them.
func PublicAddresses(except string, public func(netip.Addr) bool) ([]AddressAt, error) {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("cannot list interfaces: %w", err)
	}
	var all []AddressAt
	for _, link := range links {
		if link.Attrs().Name == except {
			continue
		}
		addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
		if err != nil {
			return nil, fmt.Errorf("cannot list the addresses of %s: %w", link.Attrs().Name, err)
		}
		for _, a := range addrs {
			p, ok := prefixOf(a.IPNet)
			if ok && a.Flags&unix.IFA_F_PERMANENT != 0 && public(p.Addr()) {
				all = append(all, AddressAt{p.Addr(), link.Attrs().Name})
			}
		}
	}
	return all, nil
}
