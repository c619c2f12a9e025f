package heard

import (
	"net/netip"
	"testing"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

func TestWhoIsHeard(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.2:1000"), netip.MustParseAddrPort("203.0.113.7:2000")
	home := registry.Home{Name: "home", PublicKey: key.Public{1}}
	for _, c := range []struct {
		name    string
		ways    []netip.AddrPort // of each look
		bytes   []uint64
		heard   bool
		flapped bool
		done    bool // after listenTime
	}{
		{"one that lives", []netip.AddrPort{a, a}, []uint64{10, 20}, true, false, true},
		{"one that is silent", []netip.AddrPort{a, a}, []uint64{10, 10}, false, false, true},
		{"one that has moved", []netip.AddrPort{a, b}, []uint64{10, 20}, true, false, false},
		{"two with one key", []netip.AddrPort{a, b, a}, []uint64{10, 20, 30}, true, true, true},
		{"one that begins again", []netip.AddrPort{a, a}, []uint64{90, 5}, true, false, true},
	} {
		look := func(i int) []plan.ObservedPeer {
			return []plan.ObservedPeer{{PublicKey: home.PublicKey, Endpoint: c.ways[i], ReceivedBytes: c.bytes[i]}}
		}
		e := newEar([]registry.Home{home}, look(0))
		for i := range c.ways[1:] {
			e.hear(look(i + 1))
		}
		got := e.peers(NewSilences())[0]
		if got.Heard != c.heard || len(got.Flapped) > 0 != c.flapped || e.done(listenTime) != c.done {
			t.Errorf("%s: %+v, done %v", c.name, got, e.done(listenTime))
		}
		if !e.done(listenTime + listenAgain) {
			t.Errorf("%s: listened to without end", c.name)
		}
	}
}
