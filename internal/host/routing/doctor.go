package routing

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
)

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

// Bound tells to which interfaces listeners are bound (SO_BINDTODEVICE).
type Bound struct {
	sockets map[boundKey][]uint32 // indexes of interfaces; 0: all
	names   map[uint32]string
}

type boundKey struct {
	protocol string
	port     uint16
}

// BoundListeners asks the kernel for its listeners; what /proc/net shows of them
// leaves the interface out.
func BoundListeners() (Bound, error) {
	b := Bound{map[boundKey][]uint32{}, map[uint32]string{}}
	for _, ask := range []struct {
		protocol forward.Protocol
		waiting  uint8
		list     func(uint8) ([]*netlink.Socket, error)
	}{
		{forward.TCP, netlink.TCP_LISTEN, netlink.SocketDiagTCP},
		{forward.UDP, netlink.TCP_CLOSE, netlink.SocketDiagUDP},
	} {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			sockets, err := dump(func() ([]*netlink.Socket, error) { return ask.list(family) })
			if err != nil {
				return b, fmt.Errorf("cannot ask the kernel for its sockets: %w", err)
			}
			for _, s := range sockets {
				if s.State == ask.waiting && !s.ID.Source.IsLoopback() {
					key := boundKey{ask.protocol.String(), s.ID.SourcePort}
					b.sockets[key] = append(b.sockets[key], s.ID.Interface)
				}
			}
		}
	}
	links, err := dump(netlink.LinkList)
	for _, l := range links {
		b.names[uint32(l.Attrs().Index)] = l.Attrs().Name
	}
	return b, err
}

// OnlyOn returns the interface to which all listeners of a port are bound, if
// none of them is open to what comes by the tunnel.
func (b Bound) OnlyOn(protocol string, port uint16, tunnel string) string {
	sockets := b.sockets[boundKey{protocol, port}]
	open := func(index uint32) bool { return index == 0 || b.names[index] == tunnel }
	if len(sockets) == 0 || slices.ContainsFunc(sockets, open) {
		return ""
	}
	return b.names[sockets[0]]
}
