package systemd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Ready says that the service does its work: that what is ordered after it may
// start, and that the watchdog begins.
func (s *Service) Ready() error { return s.say("READY=1") }

// Reloading says that the configuration is being read again; Ready ends it.
func (s *Service) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return os.NewSyscallError("clock_gettime", err)
	}
	return s.say("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/int64(time.Microsecond)))
}

// Stopping says that the service is about to end.
func (s *Service) Stopping() error { return s.say("STOPPING=1") }

// Status gives the line that `systemctl status` shows.
func (s *Service) Status(text string) error {
	line, _, _ := strings.Cut(text, "\n")
	return s.say("STATUS=" + line)
}

// Alive is the sign of life that the watchdog waits for.
func (s *Service) Alive() error { return s.say("WATCHDOG=1") }

// ExtendStart asks for so much more time, from now, until Ready.
func (s *Service) ExtendStart(by time.Duration) error {
	return s.say(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", by.Microseconds()))
}

// KeepFile makes systemd hold a duplicate of a descriptor until the service is
// stopped, in the place of what it holds under that name. The next process
// gets it from TakeFile.
func (s *Service) KeepFile(name string, f *os.File) error {
	if !s.Present() {
		return nil
	}
	if err := s.ForgetFile(name); err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		sendErr = s.notify.send([]byte("FDSTORE=1\nFDNAME="+name), unix.UnixRights(int(fd)))
	})
	return errors.Join(err, sendErr)
}

// ForgetFile makes systemd close what it holds under a name.
func (s *Service) ForgetFile(name string) error { return s.say("FDSTOREREMOVE=1", "FDNAME="+name) }

func (s *Service) say(lines ...string) error {
	if !s.Present() {
		return nil
	}
	return s.notify.send([]byte(strings.Join(lines, "\n")), nil)
}

// socket is an unconnected datagram socket and where it sends to: a listener
// that is made again, as by `systemctl daemon-reexec`, is found again.
//
// It is not a net.UnixConn because that refuses to send descriptors from a
// connected datagram socket, and has no time limit of the kernel's.
type socket struct {
	file *os.File
	to   unix.SockaddrUnix
}

// sendTime is how long a listener may let us wait. It bounds what a hanging
// journal, or systemd, can do to us.
const sendTime = 2 * time.Second

// openSocket opens a socket to a path, or to an abstract name that begins with
// "@". Without a name it returns nil.
func openSocket(name string) (*socket, error) {
	if name == "" {
		return nil, nil
	}
	if name[0] != '/' && name[0] != '@' {
		return nil, fmt.Errorf("cannot notify the service manager: its socket %q is neither a path nor an abstract name", name)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), name)
	limit := unix.NsecToTimeval(sendTime.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return nil, errors.Join(os.NewSyscallError("setsockopt SO_SNDTIMEO", err), file.Close())
	}
	return &socket{file: file, to: unix.SockaddrUnix{Name: name}}, nil
}

// send sends one datagram, with descriptors in oob.
func (s *socket) send(data, oob []byte) error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		for {
			sendErr = unix.Sendmsg(int(fd), data, oob, &s.to, unix.MSG_NOSIGNAL)
			if sendErr != unix.EINTR {
				return
			}
		}
	})
	if sendErr != nil {
		sendErr = fmt.Errorf("cannot send to %s: %w", s.to.Name, sendErr)
	}
	return errors.Join(err, sendErr)
}
