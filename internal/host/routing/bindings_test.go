package routing

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
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
