package reconcile

import (
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// tally remembers what the machine forgets: a device that adds a peer again, as it
// is renewed, knows nothing of the time before, and a counter does not say when it
// last grew. It knows what happened since the daemon's start, and what the device
// still knew then.
type tally struct {
	peers   map[key.Public]*tallied
	visits  map[uint32]visit
	counted bool // once: what is new since has begun at 0
}

// tallied is what is known of one peer.
type tallied struct {
	before, last plan.ObservedPeer // its sums of before it was added again, and what it was seen as last
	seen         bool
	peer         status.Peer
}

// visit is when a forward last had a new connection.
type visit struct {
	connections uint64
	last        time.Time // zero: not since the daemon's start
}

func newTally() *tally { return &tally{peers: map[key.Public]*tallied{}, visits: map[uint32]visit{}} }

// slack is how many peers are remembered that are no longer wanted.
const slack = 64

// hear takes what the device says of its peers, and returns what is known of each.
func (t *tally) hear(now time.Time, observed []plan.ObservedPeer, wanted []plan.Peer) map[key.Public]status.Peer {
	for _, o := range observed {
		if t.peers[o.PublicKey] == nil {
			t.peers[o.PublicKey] = &tallied{}
		}
		t.peers[o.PublicKey].hear(now, o)
	}
	t.prune(wanted)
	all := make(map[key.Public]status.Peer, len(t.peers))
	for k, p := range t.peers {
		all[k] = p.peer
	}
	return all
}

// prune forgets peers that are no longer wanted, once they are many.
func (t *tally) prune(wanted []plan.Peer) {
	if len(t.peers) <= len(wanted)+slack {
		return
	}
	keep := make(map[key.Public]bool, len(wanted))
	for _, w := range wanted {
		keep[w.PublicKey] = true
	}
	for k := range t.peers {
		if !keep[k] {
			delete(t.peers, k)
		}
	}
}

// hear takes what the device says of the peer now.
func (p *tallied) hear(now time.Time, o plan.ObservedPeer) {
	forgotten := o.ReceivedBytes < p.last.ReceivedBytes || o.SentBytes < p.last.SentBytes ||
		o.LatestHandshake.IsZero() && !p.last.LatestHandshake.IsZero()
	if forgotten {
		p.before.ReceivedBytes += p.last.ReceivedBytes
		p.before.SentBytes += p.last.SentBytes
		p.last = plan.ObservedPeer{}
	}
	is := &p.peer
	if p.seen && o.ReceivedBytes > p.last.ReceivedBytes {
		is.Heard = now
	}
	if !o.LatestHandshake.IsZero() {
		is.LatestHandshake = o.LatestHandshake
	}
	if is.Heard.Before(is.LatestHandshake) {
		is.Heard = is.LatestHandshake
	}
	if o.Endpoint.IsValid() {
		is.Endpoint = o.Endpoint
	}
	is.PublicKey = o.PublicKey
	is.ReceivedBytes, is.SentBytes = p.before.ReceivedBytes+o.ReceivedBytes, p.before.SentBytes+o.SentBytes
	p.last, p.seen = o, true
}

// count takes what was counted of forwards, and returns when each was last
// visited.
func (t *tally) count(now time.Time, counted host.Counters) map[uint32]time.Time {
	last := map[uint32]time.Time{}
	for id, c := range counted.Forwards {
		v, known := t.visits[id]
		if (known || t.counted) && c.NewConnections > v.connections {
			v.last = now
		}
		v.connections = c.NewConnections
		t.visits[id] = v
		if !v.last.IsZero() {
			last[id] = v.last
		}
	}
	t.counted = true
	for id := range t.visits {
		if _, there := counted.Forwards[id]; !there {
			delete(t.visits, id)
		}
	}
	return last
}

// Peer returns what is known of one peer.
func (s Seen) Peer(k key.Public) status.Peer {
	if p, known := s.peers[k]; known {
		return p
	}
	peers := s.Observed.WireGuard.Peers
	if i := slices.IndexFunc(peers, func(p plan.ObservedPeer) bool { return p.PublicKey == k }); i >= 0 {
		var p tallied
		p.hear(s.At, peers[i])
		return p.peer
	}
	return status.Peer{PublicKey: k}
}
