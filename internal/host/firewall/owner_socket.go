package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// ownerSocket is a netlink socket that owns tables: the kernel lets only its
// port ID change them, and deletes them when the last descriptor of the socket
// is closed. It may outlive this process, in the service manager's hands.
//
// nfnetlink answers while it is being asked, so that nothing here ever waits.
type ownerSocket struct {
	file     *os.File
	raw      syscall.RawConn
	port     uint32 // its port ID
	sequence uint32
}

func openOwnerSocket() (*ownerSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "nf_tables")
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), file.Close())
	}
	return newOwnerSocket(file)
}

// adoptOwnerSocket takes over the socket of a process before us; the file is
// closed if it is none.
func adoptOwnerSocket(file *os.File) (*ownerSocket, error) {
	s, err := newOwnerSocket(file)
	if err != nil {
		return nil, err
	}
	var domain, protocol int
	err = s.control(func(fd int) (err error) {
		if domain, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil {
			protocol, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		}
		return os.NewSyscallError("getsockopt", err)
	})
	if err == nil && (domain != unix.AF_NETLINK || protocol != unix.NETLINK_NETFILTER) {
		err = errors.New("it is not a netlink socket to netfilter")
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

func newOwnerSocket(file *os.File) (*ownerSocket, error) {
	s := &ownerSocket{file: file}
	var err error
	if s.raw, err = file.SyscallConn(); err == nil {
		err = s.readPort()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

func (s *ownerSocket) readPort() error {
	return s.control(func(fd int) error {
		name, err := unix.Getsockname(fd)
		if err != nil {
			return os.NewSyscallError("getsockname", err)
		}
		own, ok := name.(*unix.SockaddrNetlink)
		if !ok {
			return errors.New("it is not a netlink socket")
		}
		s.port = own.Pid
		return nil
	})
}

func (s *ownerSocket) control(do func(fd int) error) error {
	var err error
	controlErr := s.raw.Control(func(fd uintptr) { err = do(int(fd)) })
	return errors.Join(controlErr, err)
}

// close lets the tables go, unless somebody else has the socket open as well.
func (s *ownerSocket) close() error { return s.file.Close() }

// transact carries out all messages or none of them.
func (s *ownerSocket) transact(messages []netlink.Message) error {
	var subsystem [4]byte // nfnetlink's header, with the subsystem as resource
	binary.BigEndian.PutUint16(subsystem[2:], unix.NFNL_SUBSYS_NFTABLES)
	begin := netlink.Message{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: subsystem[:]}
	end := begin
	end.Header.Type = unix.NFNL_MSG_BATCH_END
	batch := append([]netlink.Message{begin}, messages...)
	answers, err := s.ask(append(batch, end)...)
	if err == nil && len(answers) != len(messages) {
		err = fmt.Errorf("the kernel answers %d of %d messages", len(answers), len(messages))
	}
	return err
}

// ask sends messages at once and returns the answers to them, acknowledgements
// among them.
func (s *ownerSocket) ask(messages ...netlink.Message) ([]netlink.Message, error) {
	first := s.sequence + 1
	var request []byte
	for _, m := range messages {
		s.sequence++
		m.Header.Sequence, m.Header.PID = s.sequence, s.port
		m.Header.Length = uint32((unix.NLMSG_HDRLEN + len(m.Data) + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1))
		text, err := m.MarshalBinary()
		if err != nil {
			return nil, err
		}
		request = append(request, text...)
	}
	var answers []netlink.Message
	err := s.control(func(fd int) (err error) {
		if _, err = receiveAll(fd); err != nil { // what an earlier process has not read
			return err
		}
		if err = unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		answers, err = receiveAll(fd)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answers, refusal(answers, first)
}

// receiveAll takes what waits in the socket.
func receiveAll(fd int) ([]netlink.Message, error) {
	var all []netlink.Message
	buffer := make([]byte, netfilter.MessageBuffer)
	for {
		n, _, err := unix.Recvfrom(fd, buffer, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return all, nil
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		for rest := buffer[:n]; len(rest) >= unix.NLMSG_HDRLEN; {
			length := int(binary.NativeEndian.Uint32(rest))
			if length < unix.NLMSG_HDRLEN || length > len(rest) {
				return nil, fmt.Errorf("netlink message of %d bytes in %d", length, len(rest))
			}
			var m netlink.Message
			if err := m.UnmarshalBinary(append([]byte(nil), rest[:length]...)); err != nil {
				return nil, err
			}
			all = append(all, m)
			rest = rest[min(len(rest), (length+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
		}
	}
}

// refusal returns the first error among answers to messages, as a unix.Errno.
func refusal(answers []netlink.Message, first uint32) error {
	for _, a := range answers {
		if a.Header.Type != netlink.Error || len(a.Data) < 4 {
			continue
		}
		if code := int32(binary.NativeEndian.Uint32(a.Data)); code != 0 {
			return fmt.Errorf("nf_tables, message %d: %w", a.Header.Sequence-first, unix.Errno(-code))
		}
	}
	return nil
}
