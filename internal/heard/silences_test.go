package heard

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// observe is what the device says of peers whose handshakes are whole.
func observe(bytes ...uint64) []plan.ObservedPeer {
	var list []plan.ObservedPeer
	for i, b := range bytes {
		p := plan.ObservedPeer{PublicKey: key.Public{byte(i + 1)}, ReceivedBytes: b}
		if b > 0 {
			p.LatestHandshake = time.Unix(1, 0)
		}
		list = append(list, p)
	}
	return list
}

// A recorded first message, said again after every renewal, does not make the
// gate wait longer and longer before the home gets its next chance.
func TestARepeatedMessageDoesNotSpaceRenewals(t *testing.T) {
	s, now := NewSilences(), time.Now()
	s.Due(now, observe(100))
	renewals, received := 0, uint64(100)
	const watched = 5 * time.Minute
	for end := now.Add(watched); now.Before(end); now = now.Add(Round) {
		p := plan.ObservedPeer{PublicKey: key.Public{1}, ReceivedBytes: received}
		if received == 100 {
			p.LatestHandshake = time.Unix(1, 0)
		}
		if len(s.Due(now, []plan.ObservedPeer{p})) > 0 {
			renewals++
			received = 148 // a first message, and never an answer to the gate's
		}
	}
	if least := int(watched/(renewPause+Round)) - 1; renewals < least {
		t.Errorf("the home has %d chances in %v, wanted %d", renewals, watched, least)
	}
}

// The whole life of a peer as the gate hears it: rounds of two seconds.
func TestSilentPeersAreRenewed(t *testing.T) {
	type round struct {
		received uint64
		renewed  bool
	}
	for name, rounds := range map[string][]round{
		"it pings":                        {{100, false}, {200, false}, {300, false}, {400, false}, {500, false}, {600, false}},
		"it was never heard":              {{0, false}, {0, false}, {0, false}, {0, false}, {0, false}, {0, false}},
		"it falls silent":                 {{100, false}, {200, false}, {200, false}, {200, false}, {200, true}},
		"silent since before the gate":    {{900, false}, {900, false}, {900, false}, {900, true}},
		"renewed, it has nothing to lose": {{9, false}, {9, false}, {9, false}, {9, true}, {0, false}, {0, false}, {0, false}, {0, false}, {0, false}, {0, false}},
		"it comes back with fewer bytes":  {{900, false}, {900, false}, {900, false}, {900, true}, {148, false}, {300, false}, {400, false}, {500, false}, {600, false}, {700, false}},
		"it comes back and goes again":    {{9, false}, {9, false}, {9, false}, {9, true}, {0, false}, {148, false}, {148, false}, {148, false}, {148, true}},
		"the device was not told":         {{9, false}, {9, false}, {9, false}, {9, true}, {9, false}, {9, false}, {9, false}, {9, true}},
		"a kernel without its daemon":     {{900, false}, {900, false}, {900, false}, {900, true}, {148, false}, {148, false}, {148, false}, {148, true}, {148, false}, {148, false}, {148, false}, {148, false}, {148, false}, {148, false}, {148, false}, {148, true}},
		"a gap of a few seconds":          {{100, false}, {100, false}, {100, false}, {200, false}, {200, false}, {200, false}, {300, false}},
	} {
		s, now := NewSilences(), time.Now()
		for i, r := range rounds {
			due := s.Due(now, observe(r.received))
			if (len(due) == 1) != r.renewed {
				t.Errorf("%s: round %d renews %v", name, i, due)
			}
			now = now.Add(Round)
		}
	}
}

func TestOnlyTheSilentOnesAreRenewed(t *testing.T) {
	s, now := NewSilences(), time.Now()
	s.Due(now, observe(1, 1, 1))
	now = now.Add(SilentAfter - time.Second)
	s.Due(now, observe(1, 2, 1))
	homes := []registry.Home{{PublicKey: key.Public{1}}, {PublicKey: key.Public{2}}, {PublicKey: key.Public{3}}, {PublicKey: key.Public{9}}}
	if n := s.Connected(homes, now); n != 3 {
		t.Errorf("%d are heard, wanted all", n)
	}
	now = now.Add(time.Second)
	if due := s.Due(now, observe(1, 2, 1)); len(due) != 2 || due[0] != (key.Public{1}) || due[1] != (key.Public{3}) {
		t.Errorf("renews %v", due)
	}
	if n := s.Connected(homes, now); n != 1 {
		t.Errorf("%d are heard, wanted one", n)
	}
	if s.Due(now, nil); len(s.peers) != 0 {
		t.Errorf("peers that are no more are remembered: %v", s.peers)
	}
}

// Who goes to and fro is two machines; who only moves, or comes back much later,
// is one.
func TestTwoPlacesOfOneKey(t *testing.T) {
	a, b, c := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"), netip.MustParseAddrPort("192.0.2.3:3")
	home := key.Public{1}
	for _, walk := range []struct {
		name   string
		places []netip.AddrPort
		pause  time.Duration
		want   []netip.AddrPort
	}{
		{"stays", []netip.AddrPort{a, a, a}, 2 * time.Second, nil},
		{"moves on", []netip.AddrPort{a, b, c}, 2 * time.Second, nil},
		{"to and fro", []netip.AddrPort{a, a, b, a}, 2 * time.Second, []netip.AddrPort{a, b}},
		{"there and back, later", []netip.AddrPort{a, b, a}, time.Minute, nil},
		{"was elsewhere before", []netip.AddrPort{c, a, b, b, a}, 2 * time.Second, []netip.AddrPort{a, b}},
	} {
		s, now := NewSilences(), time.Now()
		for _, at := range walk.places {
			now = now.Add(walk.pause)
			s.Due(now, []plan.ObservedPeer{{PublicKey: home, Endpoint: at, ReceivedBytes: 100}})
		}
		if got := s.Flapped(home, now); !slices.Equal(got, walk.want) {
			t.Errorf("%s: %v", walk.name, got)
		}
		if got := s.Flapped(home, now.Add(time.Minute)); got != nil {
			t.Errorf("%s: a minute later: %v", walk.name, got)
		}
	}
	if got := NewSilences().Flapped(home, time.Now()); got != nil {
		t.Errorf("of nobody: %v", got)
	}
}
