package bind

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// udpSocket is the socket of one family.
type udpSocket struct {
	conn      *net.UDPConn
	batches   batcher
	mostBytes int         // of one datagram
	segments  atomic.Bool // whether the kernel cuts what we send into packets
}

// batcher sends and receives many datagrams by one system call. The messages of
// both families are of one type.
type batcher interface {
	ReadBatch(messages []ipv6.Message, flags int) (int, error)
	WriteBatch(messages []ipv6.Message, flags int) (int, error)
}

// openSockets opens the same port in both families, as far as the kernel has
// them; 0 is any that both have free.
func openSockets(port uint16) ([2]*udpSocket, uint16, error) {
	const tries = 100
	for i := 0; ; i++ {
		sockets, actual, err := openPair(port)
		if port == 0 && i < tries && errors.Is(err, unix.EADDRINUSE) {
			continue // the other family's is taken
		}
		return sockets, actual, err
	}
}

func openPair(port uint16) (pair [2]*udpSocket, actual uint16, err error) {
	for i, network := range []string{"udp4", "udp6"} {
		pair[i], err = openSocket(network, port)
		if errors.Is(err, unix.EAFNOSUPPORT) {
			continue
		}
		if err != nil {
			return [2]*udpSocket{}, 0, errors.Join(err, closeSockets(pair))
		}
		port = pair[i].conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	}
	if pair == [2]*udpSocket{} {
		return pair, 0, unix.EAFNOSUPPORT
	}
	return pair, port, nil
}

func closeSockets(pair [2]*udpSocket) error {
	var errs []error
	for _, s := range pair {
		if s != nil {
			errs = append(errs, s.conn.Close())
		}
	}
	return errors.Join(errs...)
}

// openSocket opens a UDP socket for one family.
func openSocket(network string, port uint16) (*udpSocket, error) {
	s := &udpSocket{}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		controlErr := raw.Control(func(fd uintptr) { err = s.prepare(int(fd), network == "udp6") })
		return errors.Join(controlErr, err)
	}}
	packets, err := config.ListenPacket(context.Background(), network, ":"+strconv.Itoa(int(port)))
	if err != nil {
		return nil, err
	}
	const most, header4, header6, headerUDP = 1<<16 - 1, 20, 0, 8 // the length in IPv6's header is without that
	s.conn = packets.(*net.UDPConn)
	if network == "udp6" {
		s.batches, s.mostBytes = ipv6.NewPacketConn(s.conn), most-header6-headerUDP
	} else {
		s.batches, s.mostBytes = ipv4.NewPacketConn(s.conn), most-header4-headerUDP
	}
	return s, nil
}

// socketBuffer is wanted for each direction, in bytes: bursts of many peers.
const socketBuffer = 7 << 20

// prepare sets a socket's options. Those that only make it faster may fail.
//
// Routers, and this machine, may fragment what we send, as with the kernel's
// WireGuard. With the don't-fragment bit a smaller MTU on the way swallows every
// full packet unless an ICMP message comes back, and many paths filter those.
func (s *udpSocket) prepare(fd int, is6 bool) error {
	needed := [][3]int{{unix.IPPROTO_IP, unix.IP_PKTINFO, 1}, {unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT}}
	if is6 {
		needed = [][3]int{
			{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT},
		}
	}
	for _, o := range needed {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	for _, o := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF, unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o, socketBuffer)
	}
	_, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	s.segments.Store(err == nil)
	// Kernels before 5.12 do not tell this option, and have faults in it.
	if _, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO); err == nil {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}
	return nil
}

func (s *udpSocket) setMark(mark uint32) error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt SO_MARK", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark)))
	})
	return errors.Join(controlErr, err)
}

// send sends packets to an endpoint from a source, and returns how many of them
// have gone out, or need not be tried again. messages are for its use.
func (s *udpSocket) send(packets [][]byte, to *endpoint, from *source, messages []ipv6.Message) (sent int, err error) {
	if s.segments.Load() && len(packets) > 1 {
		sent, err = s.write(group(packets, s.mostBytes, to, from, messages))
		if !s.notAtOnce(err) {
			return sent, err
		}
	}
	one, err := s.sendOneByOne(packets[sent:], to, from, messages)
	return sent + one, err
}

// notAtOnce reports whether the kernel takes packets only one by one. It refuses
// those that are larger than the interface's MTU (EMSGSIZE, formerly EINVAL) and
// that it would fragment if they came alone. A device that cannot do checksums
// refuses all (EIO).
func (s *udpSocket) notAtOnce(err error) bool {
	if errors.Is(err, unix.EIO) {
		s.segments.Store(false)
		return true
	}
	return errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.EINVAL)
}

// sendOneByOne leaves out what is too large to be sent at all.
func (s *udpSocket) sendOneByOne(packets [][]byte, to *endpoint, from *source, messages []ipv6.Message) (sent int, err error) {
	var errs []error
	for sent < len(packets) {
		n, err := s.write(each(packets[sent:], to, from, messages))
		sent += n
		if err == nil {
			continue
		}
		errs = append(errs, err)
		if !errors.Is(err, unix.EMSGSIZE) {
			break
		}
		sent++
	}
	return sent, errors.Join(errs...)
}

// write sends messages and returns how many packets were in those that have
// gone out.
func (s *udpSocket) write(messages []ipv6.Message) (packets int, err error) {
	for len(messages) > 0 && err == nil {
		var n int
		n, err = s.batches.WriteBatch(messages, 0)
		for _, m := range messages[:max(n, 0)] {
			packets += len(m.Buffers)
		}
		messages = messages[max(n, 0):]
	}
	return packets, err
}

// each makes a message of each packet.
func each(packets [][]byte, to *endpoint, from *source, messages []ipv6.Message) []ipv6.Message {
	control := from.control()
	for i := range packets {
		messages[i] = ipv6.Message{Buffers: packets[i : i+1], OOB: control, Addr: to.udp}
	}
	return messages[:len(packets)]
}

// mostSegments is how many packets the kernel cuts from a datagram
// (UDP_MAX_SEGMENTS).
const mostSegments = 64

// group makes a message of as many packets as the kernel will cut it into again:
// all of one size, but that the last may be smaller.
func group(packets [][]byte, mostBytes int, to *endpoint, from *source, messages []ipv6.Message) []ipv6.Message {
	control := from.control()
	n := 0
	for len(packets) > 0 {
		size := len(packets[0])
		count, bytes := 1, size
		for count < min(len(packets), mostSegments) {
			next := len(packets[count])
			if next > size || bytes+next > mostBytes || len(packets[count-1]) < size {
				break
			}
			count, bytes = count+1, bytes+next
		}
		messages[n] = ipv6.Message{Buffers: packets[:count], OOB: control, Addr: to.udp}
		if count > 1 {
			messages[n].OOB = appendSegment(control[:len(control):len(control)], size)
		}
		n, packets = n+1, packets[count:]
	}
	return messages[:n]
}
