package routing

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// The states that mean waiting, as bits (linux/tcp_states.h).
const tcpListening, udpUnconnected = 1 << 10, 1 << 7

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

// askSockets has the kernel list sockets (sock_diag(7)), each a struct
// inet_diag_msg with what follows it. Unlike /proc/net/tcp, it does not cost a
// walk over all connections to list those that listen.
func askSockets(family, protocol byte, states uint32) ([][]byte, error) {
	question := make([]byte, diagRequestSize)
	question[0], question[1] = family, protocol
	binary.NativeEndian.PutUint32(question[diagStatesOffset:], states)
	request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	request.AddRawData(question)
	answers, err := request.Execute(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY)
	answers = slices.DeleteFunc(answers, func(a []byte) bool { return len(a) < diagMessageSize })
	return answers, err
}

// RootPorts returns the TCP ports on which root listens for others. It is cheap
// enough to be asked for all the time. That of a user who is not root is none of
// them, so nobody else can keep us busy with it.
func RootPorts() ([]uint16, error) {
	var ports []uint16
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		answers, err := askSockets(family, unix.IPPROTO_TCP, tcpListening)
		if err != nil {
			return rootPortsOfProc()
		}
		for _, a := range answers {
			at := boundTo(family, a)
			if !at.Addr().IsLoopback() && binary.NativeEndian.Uint32(a[diagUIDOffset:]) == 0 {
				ports = append(ports, at.Port())
			}
		}
	}
	return sorted(ports), nil
}

// boundTo returns the local end of a socket that the kernel has listed.
func boundTo(family byte, answer []byte) netip.AddrPort {
	addr := netip.AddrFrom4([4]byte(answer[diagAddrOffset:]))
	if family == unix.AF_INET6 {
		addr = netip.AddrFrom16([16]byte(answer[diagAddrOffset:])).Unmap()
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(answer[diagPortOffset:]))
}

// rootPortsOfProc does it where the kernel has no sock_diag for TCP.
func rootPortsOfProc() ([]uint16, error) {
	sockets, err := listSockets()
	if err != nil {
		return nil, fmt.Errorf("cannot list what listens: %w", err)
	}
	var ports []uint16
	for _, s := range sockets {
		if s.Protocol == forward.TCP && s.UID == 0 && !s.Addr.IsLoopback() {
			ports = append(ports, s.Port)
		}
	}
	return sorted(ports), nil
}
