package wireguard

import (
	"errors"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// bind is wireguard-go's own way to the network, for paths whose MTU is below
// what the tunnel's makes of it, and for machines that move.
//
// wireguard-go keeps sending from the address and interface on which it last
// heard a peer, and forgets them when routes change; but it listens to routes
// only for its own type of bind, not for one inside another. So what has
// ceased to work is noticed here, by the error. Where the old way still takes
// packets but they get nowhere, the next handshake without an answer clears
// it, after 15 seconds at most.
type bind struct{ conn.Bind }

func newBind() conn.Bind { return &bind{conn.NewDefaultBind()} }

// Open also lets routers fragment what we send, as the kernel's WireGuard
// does. With the don't-fragment bit a smaller MTU on the way swallows every
// full packet unless an ICMP message comes back, and many paths filter those.
func (b *bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	receive, actual, err := b.Bind.Open(port)
	if err != nil {
		return nil, 0, err
	}
	if err := allowFragments(actual); err != nil {
		return nil, 0, errors.Join(err, b.Bind.Close())
	}
	return receive, actual, nil
}

// Send implements conn.Bind.
func (b *bind) Send(packets [][]byte, to conn.Endpoint) error {
	err := b.sendWhole(packets, to)
	if !to.SrcIP().IsValid() || !noWayFrom(err) {
		return err
	}
	// A new endpoint has no source: the kernel chooses. The peer's answer then
	// brings another one.
	free, parseErr := b.ParseEndpoint(to.DstToString())
	if parseErr != nil {
		return err
	}
	return b.sendWhole(packets, free)
}

// noWayFrom reports whether the kernel finds that the source address or
// interface of a packet is not, or no longer, one to send from.
func noWayFrom(err error) bool {
	gone := []error{unix.EINVAL, unix.ENODEV, unix.EADDRNOTAVAIL, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN}
	return slices.ContainsFunc(gone, func(e error) bool { return errors.Is(err, e) })
}

// sendWhole sends the packets of a batch one by one where the kernel will not
// take it: with segmentation offload it refuses packets larger than the
// interface's MTU (EMSGSIZE) that it would fragment if they came alone.
// Packets of the batch that did go out are dropped as replays by the peer.
func (b *bind) sendWhole(packets [][]byte, to conn.Endpoint) error {
	err := b.Bind.Send(packets, to)
	if !errors.Is(err, unix.EMSGSIZE) || len(packets) < 2 {
		return err
	}
	var errs []error
	for i := range packets {
		errs = append(errs, b.Bind.Send(packets[i:i+1], to))
	}
	return errors.Join(errs...)
}

// allowFragments clears the don't-fragment bit on this process's UDP sockets
// with the given port. The bind does not show its sockets, so they are found
// by their port among the open files.
func allowFragments(port uint16) error {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, f := range files {
		fd, err := strconv.Atoi(f.Name())
		if err != nil {
			continue
		}
		switch boundTo(fd, port) {
		case unix.AF_INET:
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		case unix.AF_INET6:
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
		}
		if err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// boundTo returns the address family of a UDP socket that is bound to the
// port, and 0 for any other file.
func boundTo(fd int, port uint16) int {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_DGRAM {
		return 0
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		if a.Port == int(port) {
			return unix.AF_INET
		}
	case *unix.SockaddrInet6:
		if a.Port == int(port) {
			return unix.AF_INET6
		}
	}
	return 0
}
