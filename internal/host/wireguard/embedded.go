package wireguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// embedded is wireguard-go in this process, over a TUN interface that
// outlives it.
type embedded struct {
	name string
	log  *slog.Logger

	mu      sync.Mutex
	device  *device.Device // nil until the first Apply
	applied plan.WireGuard
}

// Kind implements Device.
func (e *embedded) Kind() plan.Kind { return plan.Embedded }

// Apply implements Device.
func (e *embedded) Apply(_ context.Context, want plan.WireGuard) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.device != nil && isDone(e.device.Wait()) {
		e.device = nil // somebody deleted the interface
	}
	fresh := e.device == nil
	if fresh {
		if err := e.open(want.MTU); err != nil {
			return err
		}
	}
	observed, err := e.observe()
	if err != nil {
		return err
	}
	if err := e.device.IpcSet(uapi(configure(observed, e.applied, want))); err != nil {
		return fmt.Errorf("the embedded WireGuard refuses its configuration: %w", err)
	}
	if err := e.device.Up(); err != nil {
		return fmt.Errorf("cannot start the embedded WireGuard on UDP port %d: %w", want.ListenPort, err)
	}
	e.applied = want
	if fresh {
		e.greet(want.Peers)
	}
	return nil
}

// open makes the TUN interface, or takes over the one that an earlier process
// has left.
func (e *embedded) open(mtu int) error {
	t, err := tun.CreateTUN(e.name, mtu)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("another process holds interface %s: %w", e.name, err)
	}
	if errors.Is(err, unix.EPERM) {
		return ErrPrivilege
	}
	if err != nil {
		return fmt.Errorf("cannot make TUN interface %s: %w", e.name, err)
	}
	if err := unix.IoctlSetInt(int(t.File().Fd()), unix.TUNSETPERSIST, 1); err != nil {
		return errors.Join(os.NewSyscallError("TUNSETPERSIST", err), t.Close())
	}
	e.device = device.NewDevice(t, newBind(), e.logger())
	e.applied = plan.WireGuard{}
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

// greet begins a handshake with every peer whose whereabouts are known. Their
// old sessions ended with the process that held the keys, and they do not
// know it yet.
func (e *embedded) greet(peers []plan.Peer) {
	for _, p := range peers {
		if !p.Endpoint.IsValid() {
			continue
		}
		if peer := e.device.LookupPeer(device.NoisePublicKey(p.PublicKey)); peer != nil {
			if err := peer.SendHandshakeInitiation(false); err != nil {
				e.log.Debug("no handshake yet", "peer", p.PublicKey.Short(), "error", err)
			}
		}
	}
}

// Observe implements Device.
func (e *embedded) Observe(context.Context) (plan.ObservedWireGuard, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.observe()
}

func (e *embedded) observe() (plan.ObservedWireGuard, error) {
	if e.device == nil || isDone(e.device.Wait()) {
		return plan.ObservedWireGuard{Kind: plan.Embedded}, nil
	}
	text, err := e.device.IpcGet()
	if err != nil {
		return plan.ObservedWireGuard{}, fmt.Errorf("cannot ask the embedded WireGuard: %w", err)
	}
	observed, err := parseUAPI(text)
	observed.Present, observed.Kind = true, plan.Embedded
	return observed, err
}

// Rebind implements Device.
func (e *embedded) Rebind(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.device == nil {
		return nil
	}
	if e.applied.ListenPort == 0 {
		if err := e.device.IpcSet("listen_port=0\n"); err != nil {
			return fmt.Errorf("cannot send from another port: %w", err)
		}
	}
	e.greet(e.applied.Peers)
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
	return nil
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
