package wireguard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/step"
)

// kernel is a WireGuard interface of the kernel's.
type kernel struct {
	name   string
	client client
	// makeLink is makeKernelLink, but where there is no kernel to test with.
	makeLink func(name string, mtu int) error

	mu      sync.Mutex
	applied plan.WireGuard // last
}

// client is what we use of wgctrl.
type client interface {
	Device(name string) (*wgtypes.Device, error)
	ConfigureDevice(name string, cfg wgtypes.Config) error
	Close() error
}

// openKernel lets go of the TUN interface that an embedded device before it
// has left, if there is one.
func openKernel(name string, left *os.File) (*kernel, error) {
	c, err := wgctrl.New()
	if err != nil {
		return nil, fmt.Errorf("cannot talk to the kernel's WireGuard: %w", err)
	}
	if left != nil {
		if err := left.Close(); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot let go of the TUN interface: %w", err), c.Close())
		}
	}
	return &kernel{name: name, client: c, makeLink: makeKernelLink}, nil
}

// Kind implements Device.
func (k *kernel) Kind() plan.Kind { return plan.Kernel }

// Apply implements Device.
func (k *kernel) Apply(ctx context.Context, want plan.WireGuard) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.makeLink(k.name, want.MTU); err != nil {
		return err
	}
	observed, err := k.observe()
	if err != nil {
		return err
	}
	c := kernelConfig(configure(observed, k.applied, want))
	if err := k.set(c, want.ListenPort); err != nil {
		return err
	}
	k.applied = want
	k.applied.Peers = slices.Clone(want.Peers) // the caller may go on changing theirs
	return nil
}

// set changes the device's configuration. An empty change is no message.
func (k *kernel) set(c wgtypes.Config, port uint16) error {
	if c.PrivateKey == nil && c.ListenPort == nil && c.FirewallMark == nil && len(c.Peers) == 0 {
		return nil
	}
	err := k.client.ConfigureDevice(k.name, c)
	step.At("wireguard: interface configured")
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("port %d: %w", port, ErrPortInUse)
	case errors.Is(err, unix.EPERM):
		return ErrPrivilege
	case err != nil:
		return fmt.Errorf("the kernel's WireGuard refuses its configuration: %w", err)
	}
	return nil
}

// Observe implements Device.
func (k *kernel) Observe(ctx context.Context) (plan.ObservedWireGuard, error) {
	if err := ctx.Err(); err != nil {
		return plan.ObservedWireGuard{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.observe()
}

func (k *kernel) observe() (plan.ObservedWireGuard, error) {
	d, err := k.client.Device(k.name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return plan.ObservedWireGuard{Kind: plan.Kernel}, nil
	case errors.Is(err, unix.EPERM):
		return plan.ObservedWireGuard{}, ErrPrivilege
	case err != nil:
		return plan.ObservedWireGuard{}, fmt.Errorf("cannot ask the kernel's WireGuard: %w", err)
	}
	return observedKernel(d), nil
}

// Rebind implements Device. The kernel begins a handshake by itself only after
// 15 seconds of silence. A peer that is removed and added again has no
// session: the keepalive that it is given sends a packet at once, and with it
// a handshake. Its counters begin at zero again.
func (k *kernel) Rebind(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c := configuration{ListenPort: restart(k.applied).ListenPort}
	for _, p := range k.applied.Peers {
		if p.Endpoint.IsValid() {
			c.Peers = append(c.Peers, again(p)...)
		}
	}
	if err := k.set(kernelConfig(c), k.applied.ListenPort); err != nil {
		return fmt.Errorf("cannot start again from another port: %w", err)
	}
	return nil
}

// Renew implements Device. wgctrl splits a message with more than 32 peers,
// and then drops the endpoint of one that occurs twice: so there are several
// messages of fewer, each of which is one change for the kernel.
func (k *kernel) Renew(ctx context.Context, want plan.WireGuard, peers []key.Public) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	observed, err := k.observe()
	if err != nil {
		return err
	}
	const atOnce = 8
	for some := range slices.Chunk(renewed(observed, k.applied, want, peers), atOnce) {
		var c configuration
		for _, p := range some {
			c.Peers = append(c.Peers, again(p)...)
		}
		if err := k.set(kernelConfig(c), 0); err != nil {
			return fmt.Errorf("cannot renew peers: %w", err)
		}
	}
	k.applied.Peers = remember(k.applied.Peers, want.Peers, peers)
	return nil
}

// Drop implements Device.
func (k *kernel) Drop(ctx context.Context, peers []key.Public) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.set(kernelConfig(dropped(peers)), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot take peers from the device: %w", err)
	}
	return nil
}

// Close implements Device. The kernel's interface needs nobody to serve it.
func (k *kernel) Close() error { return k.client.Close() }
