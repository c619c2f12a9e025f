package bind

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv6"
	"golang.zx2c4.com/wireguard/conn"
)

// receiver takes datagrams from a socket, and hands on the packets of which the
// kernel has made them (udp(7), UDP_GRO).
type receiver struct {
	socket   *udpSocket
	messages []ipv6.Message
	waiting  []ipv6.Message // have come, and are not handed on yet
	rest     []byte         // of the first of those
	segment  int            // size of its packets
	from     *endpoint      // of its packets
}

// What is asked for by one system call: so many datagrams of up to 64 KiB.
const (
	receiveAtOnce  = 8
	receiveBuffer  = 1 << 16
	receiveControl = 128
)

func newReceiver(s *udpSocket) *receiver {
	r := &receiver{socket: s, messages: make([]ipv6.Message, receiveAtOnce)}
	for i := range r.messages {
		r.messages[i].Buffers = [][]byte{make([]byte, receiveBuffer)}
		r.messages[i].OOB = make([]byte, receiveControl)
	}
	return r
}

// receive is a conn.ReceiveFunc.
func (r *receiver) receive(packets [][]byte, sizes []int, endpoints []conn.Endpoint) (n int, err error) {
	if len(r.waiting) == 0 {
		n, err := r.socket.batches.ReadBatch(r.messages, 0)
		if err != nil {
			return 0, err
		}
		r.waiting = r.messages[:n]
		r.begin()
	}
	for n < len(packets) && len(r.waiting) > 0 {
		size := min(r.segment, len(r.rest))
		sizes[n] = copy(packets[n], r.rest[:size])
		endpoints[n] = r.from
		n++
		if r.rest = r.rest[size:]; len(r.rest) == 0 {
			r.waiting = r.waiting[1:]
			r.begin()
		}
	}
	return n, nil
}

// begin looks at the next datagram.
func (r *receiver) begin() {
	if len(r.waiting) == 0 {
		return
	}
	m := &r.waiting[0]
	a := parseArrival(m.OOB[:m.NN])
	r.rest, r.segment = m.Buffers[0][:m.N], a.segment
	if r.segment <= 0 {
		r.segment = m.N
	}
	r.from = r.endpointOf(m.Addr.(*net.UDPAddr).AddrPort(), a.at)
}

// endpointOf returns the endpoint of the datagram before if it has come the same
// way, which is the common case.
func (r *receiver) endpointOf(from netip.AddrPort, at source) *endpoint {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if last := r.from; last != nil && last.to == from {
		if known := last.source.Load(); known != nil && *known == at {
			return last
		}
	}
	e := newEndpoint(from)
	if at.address.IsValid() {
		e.source.Store(&at)
	}
	return e
}
