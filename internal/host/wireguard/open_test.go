package wireguard_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/wireguard"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// open opens a device in a namespace and closes it again.
func open(ns *netns.Namespace, choice wireguard.Choice, first func() error) (kind plan.Kind, why string, err error) {
	err = ns.Do(func() error {
		if err := first(); err != nil {
			return err
		}
		d, w, err := wireguard.Open(context.Background(), wireguard.Options{
			Interface: tunnelName, Choice: choice, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return err
		}
		kind, why = d.Kind(), w
		return d.Close()
	})
	return kind, why, err
}

func nothing() error { return nil }

// Whether this kernel has WireGuard is not ours to say: both answers must be
// consistent.
func TestChoice(t *testing.T) {
	ns := netnstest.New(t, "gate")
	_, _, noKernel := open(ns, wireguard.Kernel, nothing)
	if noKernel != nil && !errors.Is(noKernel, wireguard.ErrNoModule) {
		t.Fatal(noKernel)
	}
	kind, why, err := open(ns, wireguard.Auto, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if hasModule := noKernel == nil; hasModule != (kind == plan.Kernel) || hasModule != (why == "") {
		t.Errorf("auto chooses %s (%q), kernel: %v", kind, why, noKernel)
	}
	if kind, _, err := open(ns, wireguard.Embedded, nothing); err != nil || kind != plan.Embedded {
		t.Errorf("embedded chooses %s: %v", kind, err)
	}
	if _, _, err := open(ns, "both", nothing); err == nil {
		t.Error("a choice that is none was accepted")
	}
	if links := run(t, ns, "", "ip", "-o", "link"); strings.Count(links, "\n") != 1 {
		t.Errorf("the probe has left interfaces:\n%s", links)
	}
}

func TestForeignInterfaces(t *testing.T) {
	for kind, command := range map[string]string{
		"veth": "link add gl0 type veth peer name gl1",
		"TAP":  "tuntap add gl0 mode tap",
	} {
		t.Run(kind, func(t *testing.T) {
			ns := netnstest.New(t, "gate")
			run(t, ns, "", "ip", strings.Fields(command)...)
			if _, _, err := open(ns, wireguard.Embedded, nothing); !errors.Is(err, wireguard.ErrTaken) {
				t.Errorf("opening it gives: %v", err)
			}
			if err := ns.Do(func() error { return wireguard.Remove(tunnelName) }); !errors.Is(err, wireguard.ErrTaken) {
				t.Errorf("removing it gives: %v", err)
			}
			run(t, ns, "", "ip", "link", "show", tunnelName) // it still stands
		})
	}
}

func TestRemove(t *testing.T) {
	ns := netnstest.New(t, "gate")
	run(t, ns, "", "ip", "tuntap", "add", tunnelName, "mode", "tun")
	for range 2 { // the second time it is gone
		if err := ns.Do(func() error { return wireguard.Remove(tunnelName) }); err != nil {
			t.Fatal(err)
		}
	}
	if links := run(t, ns, "", "ip", "-o", "link"); strings.Contains(links, tunnelName) {
		t.Errorf("it still stands:\n%s", links)
	}
}

// The missing device is one hidden under an empty mount.
func TestWithoutTUN(t *testing.T) {
	ns := netnstest.New(t, "gate")
	if err := unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount("/dev/net", 0); err != nil {
			t.Error(err)
		}
	}()
	_, _, err := open(ns, wireguard.Embedded, nothing)
	if !errors.Is(err, wireguard.ErrNoTUN) || !strings.Contains(err.Error(), "/dev/net/tun") {
		t.Errorf("opening gives: %v", err)
	}
}

// The thread without the capability ends with the function.
func TestWithoutPrivilege(t *testing.T) {
	ns := netnstest.New(t, "gate")
	for _, choice := range []wireguard.Choice{wireguard.Auto, wireguard.Kernel, wireguard.Embedded} {
		_, _, err := open(ns, choice, dropNetAdmin)
		if !errors.Is(err, wireguard.ErrPrivilege) || !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("opening %s gives: %v", choice, err)
		}
	}
}

func dropNetAdmin() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	return unix.Capset(&header, &data[0])
}

func TestPortInUse(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	w.gate.serve(t)
	w.home.want.ListenPort = 4500
	var taken net.PacketConn
	w.home.do(t, func() (err error) {
		taken, err = net.ListenPacket("udp4", ":4500")
		return err
	})
	if err := w.home.ns.Do(func() error { return w.home.device.Apply(context.Background(), w.home.want) }); !errors.Is(err, wireguard.ErrPortInUse) {
		t.Errorf("a port of another program gives: %v", err)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	w.home.apply(t)
	if got := w.home.observe(t).ListenPort; got != 4500 {
		t.Errorf("once it is free, the port is %d", got)
	}
	echo(t, w.home.dial(t, "10.99.0.1"))
}

// Another process holds the interface of the same name.
func TestTwoProcesses(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	first := w.home.device
	w.home.open(t)
	err := w.home.ns.Do(func() error { return w.home.device.Apply(context.Background(), w.home.want) })
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second device gives: %v", err)
	}
	w.home.device = first
}
