package wireguard_test

import (
	"io"
	"net"
	"testing"
	"time"
)

// transferred is how much is sent, each way.
const transferred = 5 << 20

// A link right at home is smaller than what the tunnel makes of its MTU.
func TestSmallUnderlayMTU(t *testing.T) {
	for _, address := range []string{"198.51.100.2", "2001:db8:a::2"} {
		t.Run(address, func(t *testing.T) {
			w := newWorld(t)
			ip(t, w.home.ns, "link set eth0 mtu 1400")
			ip(t, w.router, "link set home0 mtu 1400")
			w.home.want.Peers[0].Endpoint = endpointAt(address)
			w.up(t)
			w.transfer(t)
		})
	}
}

// A link farther away is too small, and nobody says so.
func TestSmallPathMTUWithoutICMP(t *testing.T) {
	w := newWorld(t)
	ip(t, w.router, `
		route replace 198.51.100.0/24 dev gate0 mtu lock 1300
		route replace 192.0.2.0/24 dev home0 mtu lock 1300`)
	run(t, w.router, `
		table ip quiet {
			chain no_icmp {
				type filter hook output priority 0
				meta l4proto icmp drop
			}
		}`, "nft", "-f", "-")
	w.up(t)
	w.transfer(t)
}

// transfer sends to the gate and back, and expects that to take no time that
// a person would notice.
func (w *world) transfer(t *testing.T) {
	t.Helper()
	w.gate.serve(t)
	c := w.home.dial(t, "10.99.0.1")
	start := time.Now()
	_ = c.SetDeadline(start.Add(patience))
	sent := make(chan error, 1)
	go func() { sent <- send(c) }()
	n, err := io.Copy(io.Discard, c)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err != nil || n != transferred {
		t.Fatalf("%d bytes came back: %v", n, err)
	}
	took := time.Since(start)
	t.Logf("%d MiB there and back in %v", transferred>>20, took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func send(c net.Conn) error {
	if _, err := c.Write(make([]byte, transferred)); err != nil {
		return err
	}
	return c.(*net.TCPConn).CloseWrite()
}
