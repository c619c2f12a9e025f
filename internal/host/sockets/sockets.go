// Package sockets tells who listens on this machine and who is connected to it,
// whose process that is, and where its ssh server listens or would listen. It
// looks at the network namespace it is used in, by sock_diag(7) and /proc, and
// changes nothing.
package sockets

import (
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// socket is one that waits for others: a listening TCP socket, or a UDP socket
// that is bound and not connected.
type socket struct {
	protocol forward.Protocol
	at       netip.AddrPort
	uid      uint32 // of the user who opened it
	inode    uint64
	// The rest is told by sock_diag alone.
	device   uint32 // index of the interface that it is bound to; 0: any
	onlyIPv6 bool   // of one of IPv6, that it leaves IPv4 to others
	group    uint64 // ID of the control group in which it was opened; 0: it cannot be told
}

// waiting returns the sockets of a protocol that wait for others, from wherever
// the kernel tells.
func waiting(protocol forward.Protocol) ([]socket, error) {
	if list, err := waitingOfDiag(protocol); err == nil {
		return list, nil
	}
	return waitingOfProc(protocol) // a kernel without sock_diag for it
}
