package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// controlServer answers homes and pings, inside the tunnel only.
type controlServer struct {
	gate *Gate
	task *supervise.Loop
}

// newControlServer returns the task. A listener that fails, because its address is
// gone for instance, is made again.
func newControlServer(g *Gate) *supervise.Loop {
	s := &controlServer{gate: g}
	s.task = supervise.NewLoop("control channel", time.Second, g.events, s.serve)
	return s.task
}

func (s *controlServer) serve(ctx context.Context) error {
	addr := s.address()
	lc := net.ListenConfig{Control: freebind}
	// Multipath TCP is off: it would be a way around what binds a connection
	// to its address.
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot listen for homes: %w", err)
	}
	datagrams, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot listen for pings and invites: %w", err), l.Close())
	}
	s.task.Reached()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := control.NewServer(channel{s.gate}, s.gate.log)
	done := make(chan error, 1)
	go func() {
		defer cancel() // one without the other is no control channel
		done <- server.ServeDatagrams(ctx, datagrams, s.gate.runs)
	}()
	go func() {
		defer cancel()
		s.untilMoved(ctx, addr)
	}()
	err = server.Serve(ctx, l)
	cancel()
	return errors.Join(err, <-done)
}

// untilMoved returns once the configuration has another address for the control
// channel.
func (s *controlServer) untilMoved(ctx context.Context, addr string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for s.address() == addr {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// freebind lets a socket listen on the tunnel's address whether it is there
// yet or not (IP_FREEBIND in ip(7)).
func freebind(_, _ string, c syscall.RawConn) error {
	var err error
	if ctlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	}); ctlErr != nil {
		return ctlErr
	}
	return os.NewSyscallError("setsockopt IP_FREEBIND", err)
}

func (s *controlServer) address() string { return s.gate.memory.now().Control() }
