package reconcile

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Who was there is never "never": to renew a peer makes the device forget it,
// and so does an interface that somebody deletes. The daemon does not.
func TestARenewedPeerIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r := newPlayer(t)
		if _, err := r.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() { _ = r.NewGlances(p).Run(t.Context()) }()
		from := netip.MustParseAddrPort("203.0.113.7:1")
		next := func() { time.Sleep(glancePause); synctest.Wait() }
		p.machine.Hear(home, from, 100)
		heard := time.Now()
		next()
		for range 3 {
			if err := p.machine.Renew(t.Context(), p.want, []key.Public{home}); err != nil {
				t.Fatal(err)
			}
			next()
		}
		p.machine.Do(func(w *hosttest.World) { w.Device = plan.ObservedWireGuard{} })
		if _, err := r.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		next()
		if got := r.Seen().Peer(home); got.ReceivedBytes != 100 || !got.LatestHandshake.Equal(heard) || got.Heard.Sub(heard) > glancePause || got.Endpoint != from {
			t.Errorf("%v after it was heard: %+v", time.Since(heard), got)
		}
		p.machine.Hear(home, from, 30)
		next()
		if got := r.Seen().Peer(home); got.ReceivedBytes != 130 || time.Since(got.Heard) > glancePause || time.Since(got.LatestHandshake) > glancePause {
			t.Errorf("once it is back: %+v", got)
		}
	})
}

// Peers that come and go for ever are not remembered for ever.
func TestTheTallyIsBounded(t *testing.T) {
	tally, lasting := newTally(), key.Public{0, 0, 9}
	for i := range 10_000 {
		tally.hear(time.Time{}, []plan.ObservedPeer{{PublicKey: lasting}, {PublicKey: key.Public{byte(i), byte(i >> 8)}}}, []plan.Peer{{PublicKey: lasting}})
	}
	if n := len(tally.peers); n > slack+2 || tally.peers[lasting] == nil {
		t.Errorf("%d are remembered", n)
	}
}

// When a forward was visited last is known from its counter: not where it was there
// at the start already, and not of a number that another forward has now.
func TestTheLastVisit(t *testing.T) {
	tally, begin := newTally(), time.Now()
	at := func(minute int, counted map[uint32]uint64) map[uint32]time.Time {
		c := host.Counters{Forwards: map[uint32]firewall.ForwardCounters{}}
		for id, n := range counted {
			c.Forwards[id] = firewall.ForwardCounters{NewConnections: n}
		}
		return tally.count(begin.Add(time.Duration(minute)*time.Minute), c)
	}
	if got := at(0, map[uint32]uint64{1: 7}); len(got) > 0 {
		t.Errorf("at the start: %v", got)
	}
	at(1, map[uint32]uint64{1: 8, 2: 0})
	if got := at(2, map[uint32]uint64{1: 8, 2: 1}); !got[1].Equal(begin.Add(time.Minute)) || !got[2].Equal(begin.Add(2*time.Minute)) {
		t.Errorf("after a visit: %v", got)
	}
	at(3, nil)
	if got := at(4, map[uint32]uint64{1: 0, 3: 1}); len(got) != 1 || !got[3].Equal(begin.Add(4*time.Minute)) {
		t.Errorf("of new forwards, one of which was visited at once: %v", got)
	}
}
