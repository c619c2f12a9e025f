package bind

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// endpoint is where a peer is, and from where it is answered.
type endpoint struct {
	to     netip.AddrPort
	udp    *net.UDPAddr // the same
	source atomic.Pointer[source]
}

// newEndpoint takes an address in its own family, not IPv4 inside IPv6.
func newEndpoint(to netip.AddrPort) *endpoint {
	return &endpoint{to: to, udp: net.UDPAddrFromAddrPort(to)}
}

// ClearSrc implements conn.Endpoint.
func (e *endpoint) ClearSrc() { e.source.Store(nil) }

// SrcIP implements conn.Endpoint.
func (e *endpoint) SrcIP() netip.Addr {
	if s := e.source.Load(); s != nil {
		return s.address
	}
	return netip.Addr{}
}

// SrcToString implements conn.Endpoint.
func (e *endpoint) SrcToString() string { return e.SrcIP().String() }

// DstIP implements conn.Endpoint.
func (e *endpoint) DstIP() netip.Addr { return e.to.Addr() }

// DstToString implements conn.Endpoint.
func (e *endpoint) DstToString() string { return e.to.String() }

// DstToBytes implements conn.Endpoint. Cookies are made from it.
func (e *endpoint) DstToBytes() []byte {
	b, _ := e.to.MarshalBinary() // never fails
	return b
}

// source is an address of this machine, and the interface at which a peer was
// heard there.
type source struct {
	address netip.Addr
	index   uint32 // of the interface; 0: any
}

// without returns what is left to try where there is no way from s.
func (s *source) without() *source {
	if s.index == 0 {
		return nil
	}
	return &source{address: s.address}
}

// control makes the kernel send from s: IP_PKTINFO or IPV6_PKTINFO.
func (s *source) control() []byte {
	if s == nil {
		return nil
	}
	if s.address.Is4() {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(s.index), Spec_dst: s.address.As4()})
	}
	return unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: s.index, Addr: s.address.As16()})
}

// arrival is what the kernel says of a datagram: the address that it was sent
// to, and the size of the packets of which it was made, 0 if it is one.
type arrival struct {
	at      source
	segment int
}

// parseArrival reads control messages.
func parseArrival(control []byte) (a arrival) {
	for len(control) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return a
		}
		control = rest
		switch {
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
			a.at = source{netip.AddrFrom4(info.Spec_dst), uint32(info.Ifindex)}
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			a.at = source{netip.AddrFrom16(info.Addr), info.Ifindex}
		case header.Level == unix.SOL_UDP && header.Type == unix.UDP_GRO && len(data) >= 4:
			a.segment = int(binary.NativeEndian.Uint32(data))
		}
	}
	return a
}

// appendSegment adds the control message that has the kernel cut a datagram into
// packets of that size (udp(7), UDP_SEGMENT).
func appendSegment(control []byte, size int) []byte {
	const dataSize = 2
	start := len(control)
	control = append(control, make([]byte, unix.CmsgSpace(dataSize))...)
	header := (*unix.Cmsghdr)(unsafe.Pointer(&control[start]))
	header.Level, header.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	header.SetLen(unix.CmsgLen(dataSize))
	binary.NativeEndian.PutUint16(control[start+unix.CmsgLen(0):], uint16(size))
	return control
}
