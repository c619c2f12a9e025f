package wireguard

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// datagramTUN is a tun.Device that ends inside this process: packets of IPv4
// with UDP between two addresses, and nothing else.
type datagramTUN struct {
	own, peer netip.AddrPort
	out       chan []byte // packets for WireGuard
	in        chan []byte // messages that have come
	events    chan tun.Event
	closed    chan struct{}
	close     func()
}

// queued is how many packets wait, each way, before more are dropped.
const queued = 16

func newDatagramTUN(own, peer netip.AddrPort) (*datagramTUN, error) {
	for _, a := range []netip.AddrPort{own, peer} {
		if !a.Addr().Is4() || a.Port() == 0 {
			return nil, fmt.Errorf("%v is not an IPv4 address and a port in the tunnel", a)
		}
	}
	closed := make(chan struct{})
	return &datagramTUN{
		own: own, peer: peer,
		out: make(chan []byte, queued), in: make(chan []byte, queued),
		events: make(chan tun.Event), // none ever
		closed: closed,
		close:  sync.OnceFunc(func() { close(closed) }),
	}, nil
}

// send hands a message to WireGuard.
func (d *datagramTUN) send(message []byte) error {
	if len(message) > tunnelMTU-headers {
		return unix.EMSGSIZE
	}
	select {
	case <-d.closed:
		return net.ErrClosed
	default:
	}
	select {
	case d.out <- packet(d.own, d.peer, message):
	default: // lost, as a datagram may be
	}
	return nil
}

// receive waits for the next message.
func (d *datagramTUN) receive(ctx context.Context) ([]byte, error) {
	select {
	case message := <-d.in:
		return message, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Read implements tun.Device: it takes the next packet to be sent.
func (d *datagramTUN) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	select {
	case p := <-d.out:
		sizes[0] = copy(packets[0][offset:], p)
		return 1, nil
	case <-d.closed:
		return 0, os.ErrClosed
	}
}

// Write implements tun.Device: it takes packets that have come.
func (d *datagramTUN) Write(packets [][]byte, offset int) (int, error) {
	for _, p := range packets {
		message, ok := messageIn(p[offset:], d.peer, d.own)
		if !ok {
			continue
		}
		select {
		case d.in <- append([]byte(nil), message...): // the packet is WireGuard's
		default:
		}
	}
	return len(packets), nil
}

// Close implements tun.Device. wireguard-go calls it once.
func (d *datagramTUN) Close() error {
	d.close()
	close(d.events)
	return nil
}

// File implements tun.Device: there is none.
func (d *datagramTUN) File() *os.File { return nil }

// Name implements tun.Device.
func (d *datagramTUN) Name() (string, error) { return "datagrams", nil }

// MTU implements tun.Device.
func (d *datagramTUN) MTU() (int, error) { return tunnelMTU, nil }

// Events implements tun.Device.
func (d *datagramTUN) Events() <-chan tun.Event { return d.events }

// BatchSize implements tun.Device.
func (d *datagramTUN) BatchSize() int { return 1 }

// The sizes of headers, in bytes (RFC 791, RFC 768).
const (
	headerIPv4 = 20
	headerUDP  = 8
	headers    = headerIPv4 + headerUDP
)

// packet puts a message into a packet. UDP's checksum is left out, as IPv4
// allows: WireGuard tells every packet that has changed on its way.
func packet(from, to netip.AddrPort, message []byte) []byte {
	const versionAndLength, dontFragment, timeToLive = 4<<4 | headerIPv4/4, 1 << 14, 64
	b := make([]byte, headers, headers+len(message))
	b[0], b[8], b[9] = versionAndLength, timeToLive, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(headers+len(message)))
	binary.BigEndian.PutUint16(b[6:], dontFragment)
	copy(b[12:], from.Addr().AsSlice())
	copy(b[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[10:], checksum(b[:headerIPv4]))
	binary.BigEndian.PutUint16(b[20:], from.Port())
	binary.BigEndian.PutUint16(b[22:], to.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(headerUDP+len(message)))
	return append(b, message...)
}

// checksum is that of an IPv4 header (RFC 1071).
func checksum(header []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum + sum>>16)
}

// messageIn returns the message in a packet, and false for what is not a whole
// datagram from one to the other.
func messageIn(b []byte, from, to netip.AddrPort) ([]byte, bool) {
	const fragment = 0x3fff // more of them, or where this one begins
	if len(b) < headers || b[0]>>4 != 4 || b[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(b[6:])&fragment != 0 {
		return nil, false
	}
	start, end := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if start < headerIPv4 || end > len(b) || end < start+headerUDP {
		return nil, false
	}
	udp := b[start:end]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < headerUDP || length > len(udp) {
		return nil, false
	}
	source := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:])), binary.BigEndian.Uint16(udp))
	target := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:])), binary.BigEndian.Uint16(udp[2:]))
	return udp[headerUDP:length], source == from && target == to
}
