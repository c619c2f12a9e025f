package daemon

import (
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func observe(bytes ...uint64) []plan.ObservedPeer {
	var list []plan.ObservedPeer
	for i, b := range bytes {
		list = append(list, plan.ObservedPeer{PublicKey: key.Public{byte(i + 1)}, ReceivedBytes: b})
	}
	return list
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
		s, now := newSilences(), time.Now()
		for i, r := range rounds {
			due := s.due(now, observe(r.received))
			if (len(due) == 1) != r.renewed {
				t.Errorf("%s: round %d renews %v", name, i, due)
			}
			now = now.Add(silenceRound)
		}
	}
}

func TestOnlyTheSilentOnesAreRenewed(t *testing.T) {
	s, now := newSilences(), time.Now()
	s.due(now, observe(1, 1, 1))
	now = now.Add(silentAfter - time.Second)
	s.due(now, observe(1, 2, 1))
	if n := s.heard(now); n != 3 {
		t.Errorf("%d are heard, wanted all", n)
	}
	now = now.Add(time.Second)
	if due := s.due(now, observe(1, 2, 1)); len(due) != 2 || due[0] != (key.Public{1}) || due[1] != (key.Public{3}) {
		t.Errorf("renews %v", due)
	}
	if n := s.heard(now); n != 1 {
		t.Errorf("%d are heard, wanted one", n)
	}
	if s.due(now, nil); len(s.peers) != 0 {
		t.Errorf("peers that are no more are remembered: %v", s.peers)
	}
}
