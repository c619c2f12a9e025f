package sockets

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Layout of struct inet_diag_req_v2 and struct inet_diag_msg
// (linux/inet_diag.h).
const (
	diagRequestSize  = 56
	diagStatesOffset = 4
	diagMessageSize  = 72
	diagPortOffset   = 4
	diagAddrOffset   = 8
	diagIfaceOffset  = 40
	diagUIDOffset    = 64
	diagInodeOffset  = 68
)

// waitingStates are the states that mean waiting, as bits (linux/tcp_states.h).
var waitingStates = map[forward.Protocol]uint32{forward.TCP: 1 << 10, forward.UDP: 1 << 7}

// waitingOfDiag has the kernel list what waits (sock_diag(7)). Unlike
// /proc/net/tcp, that does not cost a walk over all connections.
func waitingOfDiag(protocol forward.Protocol) ([]socket, error) {
	var list []socket
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		question := make([]byte, diagRequestSize)
		question[0], question[1] = family, byte(protocol)
		binary.NativeEndian.PutUint32(question[diagStatesOffset:], waitingStates[protocol])
		request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
		request.AddRawData(question)
		answers, err := request.Execute(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY)
		if err != nil {
			return nil, fmt.Errorf("cannot ask the kernel for its %s sockets: %w", protocol, err)
		}
		for _, a := range answers {
			if len(a) >= diagMessageSize {
				list = append(list, parseDiag(protocol, family, a))
			}
		}
	}
	return list, nil
}

// parseDiag reads a struct inet_diag_msg and the attributes after it.
func parseDiag(protocol forward.Protocol, family byte, answer []byte) socket {
	addr := netip.AddrFrom4([4]byte(answer[diagAddrOffset:]))
	if family == unix.AF_INET6 {
		addr = netip.AddrFrom16([16]byte(answer[diagAddrOffset:])).Unmap()
	}
	s := socket{
		protocol: protocol,
		at:       netip.AddrPortFrom(addr, binary.BigEndian.Uint16(answer[diagPortOffset:])),
		uid:      binary.NativeEndian.Uint32(answer[diagUIDOffset:]),
		inode:    uint64(binary.NativeEndian.Uint32(answer[diagInodeOffset:])),
		device:   binary.NativeEndian.Uint32(answer[diagIfaceOffset:]),
	}
	attributes, err := nl.ParseRouteAttr(answer[diagMessageSize:])
	if err != nil {
		return s
	}
	for _, a := range attributes {
		switch kind := a.Attr.Type & nl.NLA_TYPE_MASK; {
		case kind == netlink.INET_DIAG_SKV6ONLY && len(a.Value) > 0:
			s.onlyIPv6 = family == unix.AF_INET6 && a.Value[0] != 0
		case kind == netlink.INET_DIAG_CGROUP_ID && len(a.Value) >= 8:
			s.group = binary.NativeEndian.Uint64(a.Value)
		}
	}
	return s
}
