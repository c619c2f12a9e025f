package wireguard

import (
	"fmt"
	"sync"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// ask returns what a wireguard-go device says of itself.
func ask(d *device.Device) (plan.ObservedWireGuard, error) {
	text, err := d.IpcGet()
	if err != nil {
		return plan.ObservedWireGuard{}, fmt.Errorf("cannot ask the embedded WireGuard: %w", err)
	}
	return parseUAPI(text)
}

// shakeHands begins a handshake, unless one has begun within five seconds.
func shakeHands(d *device.Device, k key.Public) error {
	peer := d.LookupPeer(device.NoisePublicKey(k))
	if peer == nil {
		return fmt.Errorf("the embedded WireGuard has no peer %s", k.Short())
	}
	return peer.SendHandshakeInitiation(false)
}

// startAgain ends the session with a peer, so that packets wait for a new one,
// and begins a handshake whenever the last was.
func startAgain(d *device.Device, k key.Public) error {
	if peer := d.LookupPeer(device.NoisePublicKey(k)); peer != nil {
		peer.ExpireCurrentKeypairs()
	}
	return shakeHands(d, k)
}

// steadyTUN hides from wireguard-go that its interface goes up and down. It
// would close its socket and forget all sessions, or open the socket before
// it has been told the port. Nor does wireguard-go see packets before it is
// let: it would drop those for peers that it has not been told of yet.
type steadyTUN struct {
	tun.Device
	events   chan tun.Event
	admitted chan struct{}
	admit    func() // lets wireguard-go read; may be called again
}

func steady(t tun.Device) *steadyTUN {
	s := &steadyTUN{Device: t, events: make(chan tun.Event), admitted: make(chan struct{})}
	s.admit = sync.OnceFunc(func() { close(s.admitted) })
	go func() {
		defer close(s.events)
		for e := range t.Events() { // until the interface is closed
			if e&tun.EventMTUUpdate != 0 {
				s.events <- tun.EventMTUUpdate
			}
		}
	}()
	return s
}

// Events implements tun.Device.
func (s *steadyTUN) Events() <-chan tun.Event { return s.events }

// Read implements tun.Device.
func (s *steadyTUN) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	<-s.admitted
	return s.Device.Read(packets, sizes, offset)
}

// Close implements tun.Device. A caller that waits in Read gets the error of a
// closed file.
func (s *steadyTUN) Close() error {
	err := s.Device.Close()
	s.admit()
	return err
}
