package sockets

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

// What a socket is bound to decides whom it serves, and the kernel is asked
// whether that is so.
func TestBindings(t *testing.T) {
	ns := netnstest.New(t, "host")
	ip(t, ns, "link add lan type veth peer name other\nlink set lan up\nlink set other up\nlink set lo up\naddress add 192.168.1.10/24 dev lan\naddress add 2001:db8::10/64 dev lan nodad\n")
	option := func(level, name int) func(fd int) error {
		return func(fd int) error { return unix.SetsockoptInt(fd, level, name, 1) }
	}
	toLAN := func(fd int) error { return unix.BindToDevice(fd, "lan") }
	for _, c := range []struct {
		network, at string
		with        func(fd int) error
		want        Binding
		four, six   bool // for packets to the addresses of lan that come by another interface
	}{
		{"tcp4", "0.0.0.0:80", nil, Binding{Protocol: forward.TCP}, true, false},
		{"tcp", "[::]:80", nil, Binding{Protocol: forward.TCP}, true, true},
		{"tcp6", "[::]:80", option(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY), Binding{Protocol: forward.TCP, OnlyIPv6: true}, false, true},
		{"tcp", "127.0.0.1:80", nil, Binding{Protocol: forward.TCP}, false, false},
		{"tcp", "192.168.1.10:80", nil, Binding{Protocol: forward.TCP}, true, false},
		{"tcp", "[2001:db8::10]:80", nil, Binding{Protocol: forward.TCP, OnlyIPv6: true}, false, true},
		{"tcp4", "0.0.0.0:80", toLAN, Binding{Protocol: forward.TCP, Interface: "lan"}, false, false},
		{"udp4", "0.0.0.0:80", nil, Binding{Protocol: forward.UDP}, true, false},
		{"udp", "[::]:80", nil, Binding{Protocol: forward.UDP}, true, true},
	} {
		t.Run(c.network+" "+c.at, func(t *testing.T) {
			config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
				if c.with == nil {
					return nil
				}
				if failed := raw.Control(func(fd uintptr) { err = c.with(int(fd)) }); failed != nil {
					return failed
				}
				return err
			}}
			var got []Binding
			within(t, ns, func() error {
				end, err := listenBy(t.Context(), config, c.network, c.at)
				if err != nil {
					return err
				}
				got, err = Bindings()
				// What comes from this machine itself counts as come by lan.
				if err == nil && c.want.Protocol == forward.TCP && c.want.Interface == "" {
					dials(t, "192.168.1.10", c.four)
					dials(t, "2001:db8::10", c.six)
				}
				return errors.Join(err, end())
			})
			c.want.At = netip.MustParseAddrPort(c.at)
			if !slices.Equal(got, []Binding{c.want}) {
				t.Fatalf("%+v, not %+v", got, c.want)
			}
			for at, want := range map[string]bool{"192.168.1.10": c.four, "2001:db8::10": c.six} {
				if got[0].Takes(addr(at), "tunnel") != want {
					t.Errorf("packets to %s reach it: %t is wrong", at, !want)
				}
			}
			if c.want.Interface != "" && !got[0].Takes(addr("192.168.1.10"), "lan") {
				t.Error("packets by its own interface do not reach it")
			}
		})
	}
}

// Nothing reaches what is bound to an interface that has gone.
func TestBindingsLeaveOutWhatIsBoundToNothing(t *testing.T) {
	ns := netnstest.New(t, "host")
	ip(t, ns, "link add lan type veth peer name other\n")
	config := net.ListenConfig{Control: onDevice("lan")}
	var l net.Listener
	within(t, ns, func() (err error) { l, err = config.Listen(t.Context(), "tcp4", "0.0.0.0:80"); return err })
	defer l.Close()
	ip(t, ns, "link del lan\n")
	var got []Binding
	within(t, ns, func() (err error) { got, err = Bindings(); return err })
	if len(got) > 0 {
		t.Errorf("%+v, not none", got)
	}
}

// listenBy returns how what listens ends.
func listenBy(ctx context.Context, c net.ListenConfig, network, at string) (end func() error, err error) {
	if network[:3] == "udp" {
		p, err := c.ListenPacket(ctx, network, at)
		if err != nil {
			return nil, err
		}
		return p.Close, nil
	}
	l, err := c.Listen(ctx, network, at)
	if err != nil {
		return nil, err
	}
	return l.Close, nil
}

// dials tries whether the kernel lets a connection to an address of this machine
// come to what listens.
func dials(t *testing.T, to string, want bool) {
	t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort(to, "80"))
	if err == nil {
		err = c.Close()
	}
	if (err == nil) != want {
		t.Errorf("a connection to %s: %v", to, err)
	}
}

func TestListenersAreBoundToInterfaces(t *testing.T) {
	ns := netnstest.New(t, "bound")
	within(t, ns, func() error { return exec.Command("ip", "link", "set", "lo", "up").Run() })
	open := func(network, at, device string) {
		var c interface {
			Close() error
		}
		within(t, ns, func() error {
			config := net.ListenConfig{Control: onDevice(device)}
			if strings.HasPrefix(network, "udp") {
				p, err := config.ListenPacket(t.Context(), network, at)
				c = p
				return err
			}
			l, err := config.Listen(t.Context(), network, at)
			c = l
			return err
		})
		t.Cleanup(func() { c.Close() })
	}
	open("tcp", ":7001", "lo")
	open("udp4", ":7001", "")
	open("udp6", ":7002", "lo")
	open("tcp4", ":7003", "lo")
	open("tcp6", ":7003", "")
	var bound Bound
	within(t, ns, func() (err error) { bound, err = BoundListeners(); return err })
	for _, c := range []struct {
		protocol string
		port     uint16
		tunnel   string
		want     string
	}{
		{"tcp", 7001, "gatelodge", "lo"},
		{"tcp", 7001, "lo", ""}, // it is the tunnel's own
		{"udp", 7001, "gatelodge", ""},
		{"udp", 7002, "gatelodge", "lo"},
		{"tcp", 7003, "gatelodge", ""}, // another is open to all
		{"tcp", 7004, "gatelodge", ""},
	} {
		if got := bound.OnlyOn(c.protocol, c.port, c.tunnel); got != c.want {
			t.Errorf("%s %d beside %s: %q, not %q", c.protocol, c.port, c.tunnel, got, c.want)
		}
	}
}

// onDevice binds a socket to an interface, if one is named.
func onDevice(device string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		if device == "" {
			return nil
		}
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), device) })
		if err != nil {
			return err
		}
		return failed
	}
}
