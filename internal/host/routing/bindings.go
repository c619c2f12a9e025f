package routing

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Binding is what a socket that waits for others is bound to.
type Binding struct {
	Protocol  forward.Protocol
	At        netip.AddrPort
	Interface string // "" is any (SO_BINDTODEVICE)
	OnlyIPv6  bool   // of one at [::], that it leaves IPv4 to others (IPV6_V6ONLY)
}

// Bindings returns what the sockets of this network namespace wait at.
func Bindings() ([]Binding, error) {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("cannot list interfaces: %w", err)
	}
	names := map[uint32]string{}
	for _, l := range links {
		names[uint32(l.Attrs().Index)] = l.Attrs().Name
	}
	var all []Binding
	for _, ask := range []struct {
		protocol forward.Protocol
		number   byte
		states   uint32
	}{{forward.TCP, unix.IPPROTO_TCP, tcpListening}, {forward.UDP, unix.IPPROTO_UDP, udpUnconnected}} {
		for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
			answers, err := askSockets(family, ask.number, ask.states)
			if err != nil {
				return nil, fmt.Errorf("cannot ask the kernel for its %s sockets: %w", ask.protocol, err)
			}
			for _, a := range answers {
				b := Binding{Protocol: ask.protocol, At: boundTo(family, a), OnlyIPv6: family == unix.AF_INET6 && onlyIPv6(a)}
				b.Interface = names[binary.NativeEndian.Uint32(a[diagIfaceOffset:])]
				all = append(all, b)
			}
		}
	}
	return all, nil
}

// onlyIPv6 reports whether a socket of IPv6 takes no IPv4.
func onlyIPv6(answer []byte) bool {
	attributes, err := nl.ParseRouteAttr(answer[diagMessageSize:])
	if err != nil {
		return false
	}
	for _, a := range attributes {
		if a.Attr.Type&nl.NLA_TYPE_MASK == netlink.INET_DIAG_SKV6ONLY {
			return len(a.Value) > 0 && a.Value[0] != 0
		}
	}
	return false
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
