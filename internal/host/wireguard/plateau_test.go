package wireguard_test

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/gatelodge/gatelodge/internal/key"
)

// Whatever happens to a network for as long as it may, what the embedded device
// holds in memory comes to a plateau: sockets that are opened again, peers that
// are renewed, interfaces that somebody deletes.
func TestMemoryComesToAPlateau(t *testing.T) {
	w := newWorld(t)
	w.up(t)
	w.gate.serve(t)
	for name, change := range map[string]func(){
		"another port": func() {
			w.home.do(t, func() error { return w.home.device.Rebind(context.Background()) })
		},
		"a peer renewed": func() {
			gate := []key.Public{w.gate.key.Public()}
			w.home.do(t, func() error { return w.home.device.Renew(context.Background(), w.home.want, gate) })
		},
		"another endpoint and back": func() {
			for _, at := range []string{"2001:db8:a::2", "198.51.100.2"} {
				w.home.want.Peers[0].Endpoint = netip.AddrPortFrom(netip.MustParseAddr(at), gateEndpoint.Port())
				w.home.apply(t)
			}
		},
		"the interface deleted": func() {
			ip(t, w.home.ns, "link del "+tunnelName)
			eventually(t, "the device is gone", func() bool { return !w.home.observe(t).Present })
			w.home.apply(t)
			w.home.address(t)
		},
		"the link down and up": func() {
			ip(t, w.home.ns, "link set eth0 down\nlink set eth0 up\nroute add default via 192.0.2.1\naddr add 2001:db8:1::2/64 dev eth0 nodad\nroute add default via 2001:db8:1::1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			round := func() { // one handshake in each: they are five seconds apart
				for range 10 {
					change()
				}
				w.exchange(t)
			}
			round()
			before, goroutines := held()
			const rounds = 3
			for range rounds {
				round()
			}
			after, more := held()
			t.Logf("%d KB, %d KB after %d rounds", before>>10, after>>10, rounds)
			if after > before+2<<20 || more > goroutines+20 {
				t.Errorf("after %d rounds: %d KB, were %d KB; %d goroutines, were %d", rounds, after>>10, before>>10, more, goroutines)
			}
		})
	}
}

// exchange sends something through the tunnel and waits for the answer.
func (w *world) exchange(t *testing.T) {
	t.Helper()
	var c net.Conn
	w.home.do(t, func() (err error) {
		c, err = net.DialTimeout("tcp", "10.99.0.1:7000", patience)
		return err
	})
	defer c.Close()
	echo(t, c)
}

// held returns the bytes that are reachable, and how many goroutines there are.
// Pools are empty after the second collection.
func held() (uint64, int) {
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, runtime.NumGoroutine()
}
