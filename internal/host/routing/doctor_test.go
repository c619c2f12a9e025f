package routing

import (
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

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

func TestPublicAddressesOfAllInterfaces(t *testing.T) {
	ns := netnstest.New(t, "addresses")
	for _, line := range []string{
		"link add dummy0 type veth peer name other0", "link set dummy0 up", "link add gatelodge type veth peer name other1",
		"addr add 198.51.100.77/32 dev lo", "addr add 192.168.1.1/24 dev dummy0", "addr add 198.51.100.2/24 dev dummy0", "addr add 198.51.100.9/32 dev gatelodge",
		"addr add 2001:db8::1/64 dev dummy0 nodad preferred_lft 0", "addr add 2001:db8::2/64 dev dummy0 nodad valid_lft 100 preferred_lft 100",
	} {
		within(t, ns, func() error { return exec.Command("ip", strings.Fields(line)...).Run() })
	}
	var got []AddressAt
	within(t, ns, func() (err error) {
		got, err = PublicAddresses("gatelodge", func(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsPrivate() })
		return err
	})
	want := []AddressAt{{addr("198.51.100.77"), "lo"}, {addr("198.51.100.2"), "dummy0"}, {addr("2001:db8::1"), "dummy0"}}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%v is not among %v", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v, not %v", got, want)
	}
}
