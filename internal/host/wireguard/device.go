// Package wireguard runs the tunnel's WireGuard device behind one seam: the
// kernel's where there is one, and wireguard-go inside this program otherwise.
package wireguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// Device is a WireGuard interface.
type Device interface {
	Kind() plan.Kind
	// Apply makes the interface if it is missing and brings its configuration
	// to the wanted one. Peers that do not change keep their sessions, and an
	// endpoint that the device has learned stays unless the wanted one is
	// another than at the last Apply.
	Apply(ctx context.Context, want plan.WireGuard) error
	Observe(ctx context.Context) (plan.ObservedWireGuard, error)
	// Rebind sends from another port from now on, unless the wanted listen
	// port is a fixed one, and begins a handshake with every peer at once.
	Rebind(ctx context.Context) error
	// Close ends our part. The interface stays, with its addresses and
	// routes, and the next start adopts it.
	Close() error
}

// Choice says which kind of device to use.
type Choice string

// The choices.
const (
	Auto     Choice = "auto"     // the kernel's if it has one
	Kernel   Choice = "kernel"   // the kernel's or none
	Embedded Choice = "embedded" // never the kernel's
)

// The reasons why a device cannot be had.
var (
	ErrNoModule  = errors.New("this kernel has no WireGuard (the module wireguard): install it, or set device = \"auto\" to use the embedded one")
	ErrNoTUN     = errors.New("this machine has no TUN device (/dev/net/tun), which the embedded WireGuard needs: load the module tun, or ask the provider of an OpenVZ or LXC machine to enable TUN")
	ErrPrivilege = fmt.Errorf("%w: managing network interfaces needs the capability CAP_NET_ADMIN", os.ErrPermission)
	ErrTaken     = errors.New("the interface belongs to somebody else: choose another name for ours (interface, under [tunnel])")
)

// Open returns the device of the given name, of the kind that was chosen, and
// why that is not the kernel's. It changes nothing yet.
func Open(ctx context.Context, name string, choice Choice, logger *slog.Logger) (d Device, why string, err error) {
	kind, why, err := decide(ctx, choice)
	if err != nil {
		return nil, "", err
	}
	if err := checkOwner(name); err != nil {
		return nil, "", err
	}
	logger.Info("WireGuard device", "kind", kind, "why", why)
	if kind == plan.Kernel {
		d, err = openKernel(name)
		return d, why, err
	}
	return &embedded{name: name, log: logger}, why, nil
}

// decide returns which kind to use, and why it is not the kernel's.
func decide(ctx context.Context, choice Choice) (plan.Kind, string, error) {
	switch choice {
	case Embedded:
		return plan.Embedded, "chosen in the configuration", checkTUN()
	case Auto, Kernel:
	default:
		return "", "", fmt.Errorf("no such kind of device: %q", choice)
	}
	kind, why, err := Probe(ctx)
	if err == nil && choice == Kernel && kind != plan.Kernel {
		return "", "", ErrNoModule
	}
	return kind, why, err
}

// Probe finds out which kind of device this machine can have, and why it is
// not the kernel's. It makes an interface for a moment, and removes it.
func Probe(context.Context) (kind plan.Kind, why string, err error) {
	const name = "gatelodgeprobe"
	link := &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: name}}
	err = netlink.LinkAdd(link)
	switch {
	case err == nil || errors.Is(err, unix.EEXIST):
		return plan.Kernel, "", Remove(name)
	case errors.Is(err, unix.EPERM):
		return "", "", ErrPrivilege
	case errors.Is(err, unix.EOPNOTSUPP):
		return plan.Embedded, "this kernel has no WireGuard", checkTUN()
	default:
		return "", "", fmt.Errorf("cannot find out whether this kernel has WireGuard: %w", err)
	}
}

func checkTUN() error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if errors.Is(err, os.ErrPermission) {
		return ErrPrivilege
	}
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrNoTUN, err)
	}
	return f.Close()
}

// checkOwner refuses an interface that is neither WireGuard's nor a TUN
// device.
func checkOwner(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at interface %s: %w", name, err)
	}
	if kind := link.Type(); kind != "wireguard" && kind != "tuntap" {
		return fmt.Errorf("%s is an interface of type %s: %w", name, kind, ErrTaken)
	}
	return nil
}

// Remove deletes the interface; one that is gone is no error.
func Remove(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot remove interface %s: %w", name, err)
	}
	return nil
}
