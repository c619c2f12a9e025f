package sockets

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Binding is what a socket that waits for others is bound to.
type Binding struct {
	Protocol  forward.Protocol
	At        netip.AddrPort
	Interface string // "" is any (SO_BINDTODEVICE)
	OnlyIPv6  bool   // of one at [::], that it leaves IPv4 to others (IPV6_V6ONLY)
}

// Bindings returns what the sockets of this network namespace wait at. What is
// bound to an interface that has gone is left out: nothing reaches it. The error
// says that the kernel cannot be asked; /proc/net leaves the interface out.
func Bindings() ([]Binding, error) {
	names := map[uint32]string{0: ""}
	var all []Binding
	for _, protocol := range []forward.Protocol{forward.TCP, forward.UDP} {
		sockets, err := waitingOfDiag(protocol)
		if err != nil {
			return nil, err
		}
		for _, s := range sockets {
			name, err := interfaceOf(s.device, names)
			if errors.As(err, new(netlink.LinkNotFoundError)) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all = append(all, Binding{Protocol: protocol, At: s.at, Interface: name, OnlyIPv6: s.onlyIPv6})
		}
	}
	return all, nil
}

// interfaceOf returns the name of an interface, and remembers it.
func interfaceOf(index uint32, known map[uint32]string) (string, error) {
	if name, have := known[index]; have {
		return name, nil
	}
	link, err := netlink.LinkByIndex(int(index))
	if err != nil {
		return "", fmt.Errorf("cannot look at interface %d: %w", index, err)
	}
	known[index] = link.Attrs().Name
	return known[index], nil
}

// Takes reports whether packets to an address of this machine reach the socket
// if they come by that interface.
func (b Binding) Takes(to netip.Addr, by string) bool {
	if b.Interface != "" && b.Interface != by {
		return false
	}
	at := b.At.Addr()
	if at.IsUnspecified() {
		return at.Is4() == to.Is4() || to.Is4() && !b.OnlyIPv6
	}
	return at.WithZone("") == to
}

// Bound tells to which interfaces listeners are bound.
type Bound []Binding

// BoundListeners returns Bindings as Bound, with the same errors.
func BoundListeners() (Bound, error) { return Bindings() }

// OnlyOn returns the interface to which all listeners of a port are bound, if
// none of them is open to what comes by the tunnel. Those at a loopback address
// do not count.
func (b Bound) OnlyOn(protocol string, port uint16, tunnel string) string {
	only := ""
	for _, s := range b {
		if s.At.Port() != port || s.Protocol.String() != protocol || s.At.Addr().IsLoopback() {
			continue
		}
		if s.Interface == "" || s.Interface == tunnel {
			return ""
		}
		if only == "" {
			only = s.Interface
		}
	}
	return only
}
