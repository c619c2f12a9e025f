package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// envSSH makes a program that makes labs the ssh server of a lab's gate.
const envSSH = "GATELODGE_LAB_SSHD"

// StandIn makes this process the ssh server of a lab's gate, and does not
// return, if a lab has started it for that; otherwise it does nothing. Every
// program that makes a lab calls it first.
func StandIn() {
	if os.Getenv(envSSH) == "" {
		return
	}
	if err := serveSSH(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startSSH starts the host's ssh server: this very program under the name sshd,
// which is how the gate finds out which ports it must never take.
func (h *Host) startSSH(ctx context.Context) error {
	name := filepath.Join(h.Bin(), "sshd")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Symlink(self, name); err != nil {
		return err
	}
	cmd := h.command(context.Background(), name)
	cmd.Env = append(cmd.Env, envSSH+"=1")
	log := filepath.Join(h.dir, "sshd.log")
	p, err := h.start(cmd, log)
	if err != nil {
		return err
	}
	h.lab.onClose(func() error { return p.end(context.Background(), os.Kill) })
	return Until(ctx, 10*time.Millisecond, func() error {
		select {
		case <-p.ended:
			text, err := os.ReadFile(log)
			return final(errors.Join(fmt.Errorf("the ssh server of %s ended (%w): %s", h.Name, p.err, text), err))
		default:
		}
		_, err := ProbeSSH(ctx, h, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), PortGateSSH))
		return err
	})
}

// serveSSH is the stand-in for an ssh server: it listens on port 2222 and
// sends each visitor the identification string of RFC 4253, section 4.2, with
// the lab's greeting as its comment.
func serveSSH(ctx context.Context) error {
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", PortGateSSH))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(c, "%sgate %s\r\n", sshBanner, addrPort(c.RemoteAddr()))
		c.Close()
	}
}

const sshBanner = "SSH-2.0-lab "

// ProbeSSH reads the identification string of the lab's ssh server.
func ProbeSSH(ctx context.Context, from *Host, to netip.AddrPort) (Answer, error) {
	return from.converse(ctx, "tcp", to, func(c net.Conn) (Answer, error) {
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return Answer{}, err
		}
		greeting, ok := strings.CutPrefix(line, sshBanner)
		if !ok {
			return Answer{}, fmt.Errorf("not the lab's ssh server: %q", line)
		}
		return parseGreeting(greeting)
	})
}
