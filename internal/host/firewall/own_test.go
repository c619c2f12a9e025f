package firewall_test

import (
	"net/netip"
	"slices"
	"testing"
)

// A service that is bound to one address of this machine is reached there, by
// the same port and by another, and sees the visitor.
func TestServicesOfOneAddress(t *testing.T) {
	w := newWorld(t)
	own4, own6 := addr("192.168.1.10"), addr("2001:db8:1::10")
	w.apply(t, gateWant(toHome(1, "5353", "7010")), homeWant(slices.Concat(
		mappings(own4, "5353", "7010:5353"), mappings(own6, "5353", "7010:5353"))...))
	w.watchLine(t)
	serveAt(t, w.home, "192.168.1.10:5353")
	serveAt(t, w.home, "[2001:db8:1::10]:5353")
	serveAt(t, w.home, "127.0.0.1:5353") // as systemd-resolved has it
	everyWay(func(network string, visitor, public netip.Addr) {
		w.sees(t, network, visitor, public, 5353, visitor)
		w.sees(t, network, visitor, public, 7010, visitor)
	})
	w.noLeak(t, "a service of one address")
}
