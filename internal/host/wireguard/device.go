// Package wireguard runs the tunnel's WireGuard device behind one seam: the
// kernel's where there is one, and wireguard-go inside this program otherwise.
package wireguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Device is a WireGuard interface. Its methods may be called from several
// goroutines.
type Device interface {
	Kind() plan.Kind
	// Apply makes the interface if it is missing and brings its configuration
	// to the wanted one. Peers that do not change keep their sessions, and an
	// endpoint that the device has learned stays unless the wanted one is
	// another than at the last Apply.
	Apply(ctx context.Context, want plan.WireGuard) error
	// Observe returns what the device says of itself. One that does not stand,
	// or that another process serves, is not Present; that is no error.
	Observe(ctx context.Context) (plan.ObservedWireGuard, error)
	// Rebind starts again with every peer whose endpoint was wanted at the last
	// Apply: from another port unless the wanted listen port is a fixed one,
	// to that endpoint whatever has been learned since, with a handshake at
	// once. It gets past a router that has lost or confused its mapping.
	Rebind(ctx context.Context) error
	// Renew takes the given peers from the device and adds them again, as they
	// are wanted: their sessions end, and with them what the device remembers
	// of their clocks. An endpoint that it has learned stays, as in Apply.
	// Those that are not wanted, or that the device does not have, are left
	// to Apply.
	Renew(ctx context.Context, want plan.WireGuard, peers []key.Public) error
	// Drop takes the given peers from the device, whatever is wanted: their
	// sessions end, and their keys no longer open anything. It does so at once,
	// without a look at what the device has.
	Drop(ctx context.Context, peers []key.Public) error
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
	ErrNoTUN     = errors.New("the TUN device (/dev/net/tun), which the embedded WireGuard needs, cannot be used: load the module tun, or ask the provider of an OpenVZ or LXC machine to enable TUN")
	ErrPrivilege = fmt.Errorf("%w: managing network interfaces needs the capability CAP_NET_ADMIN", os.ErrPermission)
	ErrTaken     = errors.New("the interface belongs to somebody else: choose another name for ours (interface, under [tunnel])")
	ErrPortInUse = errors.New("another program uses this UDP port: stop it, or choose another one (listen_port, under [tunnel])")
)

// Options say which device to open.
type Options struct {
	Interface string
	Choice    Choice
	// TUN is the TUN interface of a process before us, as the service manager
	// has kept it; nil if there is none. As long as anybody has it open, the
	// interface keeps its carrier, and packets wait in it.
	TUN *os.File
	// KeepTUN, unless nil, is called with the file of each TUN interface that
	// the embedded device begins to serve, for the service manager to keep a
	// duplicate of. It must not close the file, nor call its Fd method.
	KeepTUN func(*os.File) error
	// LookOnly has Open choose by what shows without making an interface or
	// loading a module: for who will not call Apply.
	LookOnly bool
	Log      *slog.Logger
}

// Open returns the device of the given name, of the kind that was chosen, and
// why that is not the kernel's. It changes nothing yet: an interface that
// stands is taken over, or gives way if it is of the other kind, at the first
// Apply. If there is no error, the inherited TUN interface is the device's to
// use and to close.
func Open(ctx context.Context, o Options) (d Device, why string, err error) {
	decide := decide
	if o.LookOnly {
		decide = guess
	}
	kind, why, err := decide(ctx, o.Choice)
	if err != nil {
		return nil, "", err
	}
	if _, err := findOurs(o.Interface); err != nil {
		return nil, "", err
	}
	o.Log.Info("WireGuard device", "kind", kind, "why", why)
	if kind == plan.Kernel {
		d, err = openKernel(o.Interface, o.TUN)
		return d, why, err
	}
	return &embedded{name: o.Interface, log: o.Log, inherited: o.TUN, keep: o.KeepTUN}, why, nil
}

// decide returns which kind to use, and why it is not the kernel's.
func decide(ctx context.Context, choice Choice) (plan.Kind, string, error) {
	switch choice {
	case Auto:
		return Probe(ctx)
	case Kernel:
		return plan.Kernel, "", probeKernel()
	case Embedded:
		return plan.Embedded, "chosen in the configuration", probeTUN()
	default:
		return "", "", fmt.Errorf("no such kind of device: %q", choice)
	}
}

// guess is decide without trying.
func guess(ctx context.Context, choice Choice) (plan.Kind, string, error) {
	kernel, tun := Look(ctx)
	switch {
	case choice == Embedded && tun:
		return plan.Embedded, "chosen in the configuration", nil
	case choice == Embedded:
		return "", "", ErrNoTUN
	case kernel:
		return plan.Kernel, "", nil
	case choice == Kernel:
		return "", "", ErrNoModule
	case tun:
		return plan.Embedded, "this kernel has no WireGuard", nil
	default:
		return "", "", fmt.Errorf("this kernel has no WireGuard, and %w", ErrNoTUN)
	}
}
