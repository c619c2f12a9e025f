package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
)

// Host is one machine of the lab. Its daemon is started and ended by one
// goroutine at a time; all else may be used by many.
type Host struct {
	Name string
	// IPv4 and IPv6 are the addresses others know it by; IPv6 is the zero
	// Addr behind the carrier-grade NAT.
	IPv4, IPv6 netip.Addr

	lab    *Lab
	ns     *netns.Namespace
	dir    string
	daemon *process
}

// ExitError is a program that ran and failed.
type ExitError struct {
	Host   string
	Args   []string
	Status int
	Stderr string
}

// Error says which program failed where, and what it said.
func (e *ExitError) Error() string {
	return fmt.Sprintf("on %s: %s: exit status %d: %s", e.Host, strings.Join(e.Args, " "), e.Status, strings.TrimSpace(e.Stderr))
}

// prepare makes the host's folder: its root, and a bin/gatelodge that needs
// no --root, for a person who works on the host by hand.
func (h *Host) prepare() error {
	if err := os.MkdirAll(h.Root(), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(h.Bin(), 0o755); err != nil {
		return err
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s --root %s \"$@\"\n", quote(h.lab.options.Binary), quote(h.Root()))
	return os.WriteFile(filepath.Join(h.Bin(), "gatelodge"), []byte(script), 0o755)
}

// quote makes s one word for sh(1).
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Namespace returns the name of the host's network namespace, as ip-netns(8)
// knows it.
func (h *Host) Namespace() string { return h.ns.Name }

// Root is what gatelodge on this host is given as --root.
func (h *Host) Root() string { return filepath.Join(h.dir, "root") }

// Bin is the folder with the host's own gatelodge, seen from inside the lab.
func (h *Host) Bin() string { return filepath.Join(h.dir, "bin") }

// Run runs a program on the host and returns its standard output. A program
// that fails is an *ExitError.
func (h *Host) Run(ctx context.Context, args ...string) (string, error) {
	return h.run(ctx, nil, args...)
}

// Gatelodge runs gatelodge on the host, as Run does.
func (h *Host) Gatelodge(ctx context.Context, args ...string) (string, error) {
	return h.run(ctx, nil, append([]string{h.lab.options.Binary, "--root", h.Root()}, args...)...)
}

func (h *Host) run(ctx context.Context, in io.Reader, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := h.command(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &stdout, &stderr
	if err := h.ns.Do(cmd.Start); err != nil {
		return "", fmt.Errorf("on %s: %w", h.Name, err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err != nil && ctx.Err() != nil:
		return "", fmt.Errorf("on %s: %s: %w", h.Name, strings.Join(args, " "), context.Cause(ctx))
	case errors.As(err, &exit):
		return stdout.String(), &ExitError{Host: h.Name, Args: args, Status: exit.ExitCode(), Stderr: stderr.String()}
	}
	return stdout.String(), err
}

// Launch starts a program on the host that goes on by itself.
func (h *Host) Launch(cmd *exec.Cmd) error { return h.ns.Do(cmd.Start) }

// Begin starts a gatelodge command, whose output goes to out, and returns at once:
// for what happens to it meanwhile.
func (h *Host) Begin(out io.Writer, args ...string) (*exec.Cmd, error) {
	cmd := h.command(context.Background(), append([]string{"gatelodge"}, args...)...)
	cmd.Path = filepath.Join(h.Bin(), "gatelodge")
	cmd.Err = nil // it is not in the lab's own PATH
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, h.Launch(cmd)
}

// command prepares a program to be started within h.ns.Do. It gets a process
// group of its own, so that Ctrl-C reaches the lab alone, which then ends
// programs in its order.
func (h *Host) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(h.lab.environment(), "PATH="+h.Bin()+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// environment is that of the lab itself, but for what an ssh session has put
// there: that session is none of the lab's. An empty word keeps programs from
// looking for it.
func (l *Lab) environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "SSH_") })
	return append(append(env, "SSH_CONNECTION="), l.options.Env...)
}

// Dial connects from the host to a numeric address.
func (h *Host) Dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = h.ns.Do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Listen listens on the host.
func (h *Host) Listen(network, addr string) (l net.Listener, err error) {
	err = h.ns.Do(func() error {
		l, err = net.Listen(network, addr)
		return err
	})
	return l, err
}

// ListenPacket receives packets on the host.
func (h *Host) ListenPacket(network, addr string) (c net.PacketConn, err error) {
	err = h.ns.Do(func() error {
		c, err = net.ListenPacket(network, addr)
		return err
	})
	return c, err
}

// Addresses returns the addresses of one of the host's interfaces.
func (h *Host) Addresses(link string) (addrs []netip.Addr, err error) {
	err = h.ns.Do(func() error {
		i, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		list, err := i.Addrs()
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				addrs = append(addrs, p.Addr())
			}
		}
		return err
	})
	return addrs, err
}
