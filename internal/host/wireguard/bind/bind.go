// Package bind is WireGuard's way to the network from inside this process: UDP
// sockets of both families that remember where each peer was heard, and send and
// receive many packets by one system call. It knows nothing of WireGuard itself.
package bind

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// bind is the way of wireguard-go to the network, in the place of its own
// (conn.StdNetBind). That one loses the address at which a peer has dialled us
// when datagrams come coalesced, and so answers from another one; and it spoils
// IPv6 destinations after it has sent to an IPv4 one.
//
// It is for machines that move: an answer leaves from the address and by the
// interface at which the peer was heard last, and where that has ceased to work
// by any other way. Where the old way still takes packets but they get nowhere,
// the next handshake without an answer clears it (Endpoint.ClearSrc), after 15
// seconds at most.
type bind struct {
	mu      sync.Mutex
	sockets [2]*udpSocket // IPv4 and IPv6; nil: closed, or a kernel without that family
	open    bool

	batches sync.Pool // of *[]ipv6.Message
}

// New returns a closed bind. It is safe for concurrent use.
func New() conn.Bind {
	return &bind{batches: sync.Pool{New: func() any {
		messages := make([]ipv6.Message, conn.IdealBatchSize)
		return &messages
	}}}
}

// BatchSize implements conn.Bind.
func (b *bind) BatchSize() int { return conn.IdealBatchSize }

// ParseEndpoint implements conn.Bind.
func (b *bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	to, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return newEndpoint(netip.AddrPortFrom(to.Addr().Unmap(), to.Port())), nil
}

// Open implements conn.Bind: it takes the same port in both families.
func (b *bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	sockets, port, err := openSockets(port)
	if err != nil {
		return nil, 0, err
	}
	var receive []conn.ReceiveFunc
	for _, s := range sockets {
		if s != nil {
			receive = append(receive, newReceiver(s).receive)
		}
	}
	b.sockets, b.open = sockets, true
	return receive, port, nil
}

// Close implements conn.Bind.
func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := closeSockets(b.sockets)
	b.sockets, b.open = [2]*udpSocket{}, false
	return err
}

// SetMark implements conn.Bind.
func (b *bind) SetMark(mark uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, s := range b.sockets {
		if s != nil {
			errs = append(errs, s.setMark(mark))
		}
	}
	return errors.Join(errs...)
}

// Send implements conn.Bind.
func (b *bind) Send(packets [][]byte, to conn.Endpoint) error {
	e, ours := to.(*endpoint)
	if !ours {
		return conn.ErrWrongEndpointType
	}
	s, err := b.socketTo(e.to.Addr())
	if err != nil {
		return err
	}
	messages := b.batches.Get().(*[]ipv6.Message)
	defer b.batches.Put(messages)
	for {
		source := e.source.Load()
		sent, err := s.send(packets, e, source, *messages)
		if source == nil || !noWayFrom(err) {
			return err
		}
		// The next one knows less, and at last the kernel chooses. The peer's
		// answer then brings another.
		e.source.CompareAndSwap(source, source.without())
		packets = packets[sent:]
	}
}

func (b *bind) socketTo(a netip.Addr) (*udpSocket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sockets[familyOf(a)]
	switch {
	case !b.open:
		return nil, net.ErrClosed
	case s == nil:
		return nil, unix.EAFNOSUPPORT
	}
	return s, nil
}

// familyOf is the index of an address's family in bind.sockets.
func familyOf(a netip.Addr) int {
	if a.Is6() {
		return 1
	}
	return 0
}

// noWayFrom reports whether the kernel finds that the source address or
// interface of a packet is not, or no longer, one to send from.
func noWayFrom(err error) bool {
	gone := []error{unix.EINVAL, unix.ENODEV, unix.EADDRNOTAVAIL, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN}
	return err != nil && slices.ContainsFunc(gone, func(e error) bool { return errors.Is(err, e) })
}
