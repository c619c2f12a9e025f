package firewall_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// packet is a TCP SYN or a UDP datagram with any source address, true or not.
type packet struct {
	protocol forward.Protocol
	src, dst netip.AddrPort
	flags    *byte // of TCP; nil: SYN
}

func (p packet) String() string {
	return fmt.Sprintf("%s %s > %s", p.protocol, p.src, p.dst)
}

// send puts the packet on an interface of a namespace; into the tunnel, past
// the sender's own table: root there needs none.
func (p packet) send(t testing.TB, ns *netns.Namespace, device string) {
	t.Helper()
	if device == tunnelName {
		must(t, ns.Do(func() error { return p.sendPast(device) }))
		return
	}
	must(t, p.try(ns, device))
}

// try is send where the sender's own table may refuse.
func (p packet) try(ns *netns.Namespace, device string) error {
	return ns.Do(func() error {
		if p.dst.Addr().Is4() {
			return sendRaw(unix.AF_INET, device, p.header4(), &unix.SockaddrInet4{Addr: p.dst.Addr().As4()})
		}
		return sendRaw(unix.AF_INET6, device, p.header6(), &unix.SockaddrInet6{Addr: p.dst.Addr().As16()})
	})
}

func (p packet) sendPast(device string) error {
	if p.dst.Addr().Is6() {
		return sendFrame(device, unix.ETH_P_IPV6, p.header6())
	}
	return p.carry(device, byte(p.protocol), p.transport())
}

// carry sends a message of any protocol by IPv4, between the packet's addresses.
func (p packet) carry(device string, protocol byte, message []byte) error {
	data := append(p.header4()[:20], message...)
	data[9] = protocol
	binary.BigEndian.PutUint16(data[2:], uint16(len(data)))
	binary.BigEndian.PutUint16(data[10:], ^fold(0, data[:20]))
	return sendFrame(device, unix.ETH_P_IP, data)
}

// sendFrame puts data on an interface whose both ends have one hardware address.
func sendFrame(device string, protocol uint16, data []byte) error {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: protocol<<8 | protocol>>8, Halen: 6}
	copy(to.Addr[:], link.HardwareAddr)
	return unix.Sendto(fd, data, 0, to)
}

func sendRaw(family int, device string, data []byte, to unix.Sockaddr) error {
	fd, err := rawSocket(family, device)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, data, 0, to)
}

// rawSocket sends packets as they are, by one interface.
func rawSocket(family int, device string) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return -1, err
	}
	if err := unix.BindToDevice(fd, device); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// header4 lets the kernel fill in length and checksum (raw(7)).
func (p packet) header4() []byte {
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45, 64, byte(p.protocol)
	copy(h[12:], p.src.Addr().AsSlice())
	copy(h[16:], p.dst.Addr().AsSlice())
	return append(h, p.transport()...)
}

func (p packet) header6() []byte {
	body := p.transport()
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, byte(p.protocol), 64
	binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
	copy(h[8:], p.src.Addr().AsSlice())
	copy(h[24:], p.dst.Addr().AsSlice())
	return append(h, body...)
}

// transport is the header of TCP or UDP, checksum included, without data.
func (p packet) transport() []byte {
	size, checksum := 20, 16
	if p.protocol == forward.UDP {
		size, checksum = 8, 6
	}
	h := make([]byte, size)
	binary.BigEndian.PutUint16(h[0:], p.src.Port())
	binary.BigEndian.PutUint16(h[2:], p.dst.Port())
	if p.protocol == forward.UDP {
		binary.BigEndian.PutUint16(h[4:], uint16(size))
	} else {
		h[12] = 5 << 4 // words of header
		h[13] = 0x02   // SYN
		if p.flags != nil {
			h[13] = *p.flags
		}
		binary.BigEndian.PutUint16(h[14:], 64240)
	}
	binary.BigEndian.PutUint16(h[checksum:], p.checksum(h))
	return h
}

// checksum is that of RFC 1071 over the pseudo header and h.
func (p packet) checksum(h []byte) uint16 {
	return ^fold(uint32(p.protocol)+uint32(len(h)), p.src.Addr().AsSlice(), p.dst.Addr().AsSlice(), h)
}

// fold adds words in one's complement.
func fold(sum uint32, parts ...[]byte) uint16 {
	for _, part := range parts {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
