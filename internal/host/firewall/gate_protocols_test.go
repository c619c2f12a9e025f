package firewall_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Tunnels of others that end on the gate: what is named is let in, by both
// families, for as long as it is, and nothing else.
func TestTunnelsEndOnTheGate(t *testing.T) {
	w := newWorld(t)
	nft(t, w.gate, arrivals)
	want := gateWant()
	want.Gate.Input.Protocols = []forward.Protocol{41, 47, 50}
	w.apply(t, want)
	gate := *want.Gate
	gate.Trial = &plan.Trial{Number: 1, Policy: plan.InputPolicy{Protect: true, Protocols: []forward.Protocol{47, 115}}, Left: time.Hour}
	for _, c := range []struct {
		why  string
		want plan.Firewall
		in   map[uint8]bool
	}{
		{"named", want, map[uint8]bool{41: true, 47: true, 50: true}},
		{"on trial", plan.Firewall{Table: tableName, Gate: &gate}, map[uint8]bool{47: true, 115: true}},
		{"none", gateWant(), nil},
	} {
		w.apply(t, c.want)
		w.forget(t, w.gate)
		for _, protocol := range []uint8{4, 41, 47, 50, 112, 115} {
			for _, to := range []netip.Addr{gatePublic4, gatePublic6} {
				before := w.arrived(t, protocol)
				sendProtocol(t, w.internet, protocol, to)
				w.settle(t)
				if in := w.arrived(t, protocol) > before; in != c.in[protocol] {
					t.Errorf("%s: protocol %d to %s is let in: %t", c.why, protocol, to, in)
				}
			}
		}
	}
}

// arrivals counts packets after all filters, by protocol.
const arrivals = `table inet arrivals {
	map protocols {
		type inet_proto : counter
		elements = { 4 : "p4", 41 : "p41", 47 : "p47", 50 : "p50", 112 : "p112", 115 : "p115" }
	}
	counter p4 { }
	counter p41 { }
	counter p47 { }
	counter p50 { }
	counter p112 { }
	counter p115 { }
	chain delivered {
		type filter hook input priority 300
		counter name meta l4proto map @protocols
	}
}
`

func (w *world) arrived(t *testing.T, protocol uint8) uint64 {
	t.Helper()
	var n uint64
	must(t, w.gate.Do(func() error {
		o, err := new(nftables.Conn).GetObject(&nftables.CounterObj{
			Table: &nftables.Table{Name: "arrivals", Family: nftables.TableFamilyINet}, Name: fmt.Sprintf("p%d", protocol),
		})
		if err == nil {
			n = o.(*nftables.CounterObj).Packets
		}
		return err
	}))
	return n
}

func sendProtocol(t *testing.T, ns *netns.Namespace, protocol uint8, to netip.Addr) {
	t.Helper()
	must(t, ns.Do(func() error {
		family, at := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: to.As16()})
		if to.Is4() {
			family, at = unix.AF_INET, &unix.SockaddrInet4{Addr: to.As4()}
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, make([]byte, 40), 0, at)
	}))
}
