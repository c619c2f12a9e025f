package heard

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// How long the gate listens for its homes. Each pings every ping.Interval, so
// that listenTime hears all that live; the second time is for an endpoint that
// has changed, to see whether it changes back.
const (
	listenTime  = ping.Interval + 600*time.Millisecond
	listenAgain = 2 * ping.Interval
	listenTick  = 50 * time.Millisecond
)

// Listen waits for packets of the homes, and watches where they come from.
func Listen(ctx context.Context, peers func(context.Context) ([]plan.ObservedPeer, error), homes []registry.Home, before *Silences) ([]doctor.Peer, error) {
	first, err := peers(ctx)
	if err != nil {
		return nil, err
	}
	w := newEar(homes, first)
	tick := time.NewTicker(listenTick)
	defer tick.Stop()
	for begin := time.Now(); !w.done(time.Since(begin)); {
		select {
		case <-ctx.Done():
			return w.peers(before), ctx.Err()
		case <-tick.C:
		}
		now, err := peers(ctx)
		if err != nil {
			return w.peers(before), err
		}
		w.hear(now)
	}
	return w.peers(before), nil
}

// ear is what has been heard of some homes.
type ear struct {
	homes []registry.Home
	first map[key.Public]plan.ObservedPeer
	last  map[key.Public]plan.ObservedPeer
	ways  map[key.Public][]netip.AddrPort // endpoints, one after the other
}

func newEar(homes []registry.Home, peers []plan.ObservedPeer) *ear {
	e := &ear{homes: homes, first: map[key.Public]plan.ObservedPeer{}, last: map[key.Public]plan.ObservedPeer{}, ways: map[key.Public][]netip.AddrPort{}}
	for _, p := range peers {
		e.first[p.PublicKey] = p
	}
	e.hear(peers)
	return e
}

func (e *ear) hear(peers []plan.ObservedPeer) {
	for _, p := range peers {
		e.last[p.PublicKey] = p
		ways := e.ways[p.PublicKey]
		if p.Endpoint.IsValid() && (len(ways) == 0 || ways[len(ways)-1] != p.Endpoint) {
			e.ways[p.PublicKey] = append(ways, p.Endpoint)
		}
	}
}

// done reports whether enough time has passed: all have been heard and none
// has moved, or there is no more to wait for.
func (e *ear) done(passed time.Duration) bool {
	moved := slices.ContainsFunc(e.homes, func(h registry.Home) bool {
		return len(e.ways[h.PublicKey]) == 2
	})
	if moved {
		return passed >= listenTime+listenAgain
	}
	return passed >= listenTime
}

// peers says what was heard of each, and where it went to and fro before.
func (e *ear) peers(before *Silences) []doctor.Peer {
	peers := []doctor.Peer{}
	for _, h := range e.homes {
		last := e.last[h.PublicKey]
		p := doctor.Peer{Name: h.Name, Endpoint: last.Endpoint, Heard: last.ReceivedBytes != e.first[h.PublicKey].ReceivedBytes}
		if !last.LatestHandshake.IsZero() {
			p.Handshake = time.Since(last.LatestHandshake)
		}
		// There and back again: who only moves does not come back.
		if ways := e.ways[h.PublicKey]; len(ways) > 2 && ways[2] == ways[0] {
			p.Flapped = ways[:2]
		} else {
			p.Flapped = before.Flapped(h.PublicKey, time.Now())
		}
		peers = append(peers, p)
	}
	return peers
}
