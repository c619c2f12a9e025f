package wireguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/gatelodge/gatelodge/internal/host/wireguard/bind"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/step"
)

// embedded is wireguard-go in this process, over a TUN interface that
// outlives it.
type embedded struct {
	name string
	log  *slog.Logger
	keep func(*os.File) error // see Options.KeepTUN; may be nil

	mu        sync.Mutex
	inherited *os.File       // see Options.TUN; nil once it was looked at
	device    *device.Device // nil until the first Apply
	tun       *steadyTUN     // the device's
	applied   plan.WireGuard // last; zero for a new device
}

// Kind implements Device.
func (e *embedded) Kind() plan.Kind { return plan.Embedded }

// Apply implements Device.
func (e *embedded) Apply(ctx context.Context, want plan.WireGuard) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.running() {
		if err := e.start(want.MTU); err != nil {
			return err
		}
	}
	observed, err := e.observe()
	if err != nil {
		return err
	}
	c := configure(observed, e.applied, want)
	if err := e.set(c, want.ListenPort); err != nil {
		return err
	}
	e.applied = want
	e.applied.Peers = slices.Clone(want.Peers) // the caller may go on changing theirs
	if c.PrivateKey != nil {
		// A new device has none before. The sessions of the old one have ended
		// with the process that held the keys, and the peers do not know it.
		e.greet(want.Peers, shakeHands)
	}
	return nil
}

// running reports whether the device serves its interface. It ceases to by
// itself when somebody deletes the interface.
func (e *embedded) running() bool {
	if e.device == nil {
		return false
	}
	select {
	case <-e.device.Wait():
		return false
	default:
		return true
	}
}

func (e *embedded) start(mtu int) error {
	file, err := e.openTUN()
	if err != nil {
		return err
	}
	t, err := tun.CreateTUNFromFile(file, mtu)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot serve TUN interface %s: %w", e.name, err), file.Close())
	}
	e.tun = steady(t)
	e.device = device.NewDevice(e.tun, bind.New(), e.logger())
	e.applied = plan.WireGuard{}
	if e.keep == nil {
		return nil
	}
	if err := e.keep(file); err != nil {
		// The tunnel works without; only a restart is less smooth.
		e.log.Warn("the service manager does not keep the TUN interface over a restart", "error", err)
	}
	return nil
}

// openTUN returns the TUN interface that the service manager has kept for us,
// or else opens it.
func (e *embedded) openTUN() (*os.File, error) {
	if inherited := e.inherited; inherited != nil {
		e.inherited = nil
		file, err := adoptTUN(inherited, e.name)
		if err == nil {
			return file, nil
		}
		e.log.Warn("the TUN interface that the service manager has kept is of no use", "error", err)
	}
	return openTUN(e.name)
}

// set changes the device's configuration, and starts a new one. From then on
// there are peers for the packets that wait in the interface.
func (e *embedded) set(c configuration, port uint16) error {
	err := e.device.IpcSet(uapi(c))
	step.At("wireguard: device configured")
	if err == nil {
		err = e.device.Up()
	}
	step.At("wireguard: device up")
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("port %d: %w", port, ErrPortInUse)
	case err != nil:
		return fmt.Errorf("the embedded WireGuard refuses its configuration: %w", err)
	}
	e.tun.admit()
	return nil
}

// logger passes on what wireguard-go has to say. Its errors include a packet
// that could not be sent because the network is down: nothing to wake anybody
// for.
func (e *embedded) logger() *device.Logger {
	say := func(format string, args ...any) {
		e.log.Debug("wireguard-go", "says", strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
	return &device.Logger{Verbosef: device.DiscardLogf, Errorf: say}
}

// greet begins a handshake with every peer whose whereabouts are known, by
// one of the functions of this package for one peer. It is no error that the
// network is away now: wireguard-go tries again.
func (e *embedded) greet(peers []plan.Peer, one func(*device.Device, key.Public) error) {
	for _, p := range peers {
		if !p.Endpoint.IsValid() {
			continue
		}
		if err := one(e.device, p.PublicKey); err != nil {
			e.log.Debug("no handshake yet", "peer", p.PublicKey.Short(), "error", err)
		}
	}
}

// Observe implements Device.
func (e *embedded) Observe(ctx context.Context) (plan.ObservedWireGuard, error) {
	if err := ctx.Err(); err != nil {
		return plan.ObservedWireGuard{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.running() {
		return plan.ObservedWireGuard{Kind: plan.Embedded}, nil
	}
	return e.observe()
}

func (e *embedded) observe() (plan.ObservedWireGuard, error) {
	observed, err := ask(e.device)
	observed.Present, observed.Kind = true, plan.Embedded
	return observed, err
}

// Rebind implements Device.
func (e *embedded) Rebind(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.running() {
		return nil
	}
	if err := e.set(restart(e.applied), e.applied.ListenPort); err != nil {
		return fmt.Errorf("cannot start again from another port: %w", err)
	}
	e.greet(e.applied.Peers, startAgain)
	return nil
}

// Renew implements Device.
func (e *embedded) Renew(ctx context.Context, want plan.WireGuard, peers []key.Public) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.running() {
		return nil
	}
	observed, err := e.observe()
	if err != nil {
		return err
	}
	var c configuration
	for _, p := range renewed(observed, e.applied, want, peers) {
		c.Peers = append(c.Peers, again(p)...)
	}
	if err := e.set(c, e.applied.ListenPort); err != nil {
		return fmt.Errorf("cannot renew peers: %w", err)
	}
	e.applied.Peers = remember(e.applied.Peers, want.Peers, peers)
	return nil
}

// Drop implements Device.
func (e *embedded) Drop(ctx context.Context, peers []key.Public) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.running() {
		return nil
	}
	if err := e.set(dropped(peers), e.applied.ListenPort); err != nil {
		return fmt.Errorf("cannot take peers from the device: %w", err)
	}
	return nil
}

// Close implements Device.
func (e *embedded) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.device != nil {
		e.device.Close()
		e.device = nil
	}
	if inherited := e.inherited; inherited != nil {
		e.inherited = nil
		return inherited.Close()
	}
	return nil
}
