// Package heard knows when and where a gate has heard each of its homes: by
// authenticated bytes alone, and by a clock that nobody sets.
package heard

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// A home whose clock was set back, by a boot without a battery for instance,
// cannot make a handshake: WireGuard refuses one that bears an older time than
// the last, so that nobody can replay it. And the home may need the tunnel to
// set its clock. So the gate takes a peer that has fallen silent out of the
// device and adds it again, which makes it forget that time.
//
// That gives up some of the guard against replay, and no more than this: who has
// recorded a first message of a home's can have it accepted once after each
// renewal. It makes no session, as only home has the key, and a message with a
// later time is accepted after it. So a home whose clock is right is never kept
// out. One whose clock went back can be, for as long as somebody on its way keeps
// repeating what they have recorded; they could as well drop its packets.

const (
	// Round is how often the gate listens for its homes.
	Round = 2 * time.Second
	// SilentAfter is after how long a home counts as silent. One that is well
	// pings every two seconds (see the keeper).
	SilentAfter = 6 * time.Second
	// renewPause is how long the gate waits until it renews the same peer
	// again: longer than WireGuard waits for the answer to a handshake
	// (REKEY_TIMEOUT, 5 seconds, in the WireGuard paper).
	renewPause = 8 * time.Second
	// longestRenewPause bounds how the pause grows for one that is heard now and
	// then, and yet not well: its machine makes handshakes without a daemon.
	longestRenewPause = 2 * time.Minute
)

// Silences knows when each peer was last heard. Only authenticated bytes count,
// and times are monotonic.
type Silences struct {
	mu    sync.Mutex
	peers map[key.Public]lastHeard
}

// lastHeard is what is known of one peer.
type lastHeard struct {
	received uint64    // bytes, when the gate last listened
	at       time.Time // when they last became more
	steady   bool      // it was heard in the last round, too
	ever     bool      // it was heard in this run; what it sent before may be old
	renewed  time.Time
	pause    time.Duration // from that renewal to the next
	places   []place       // the last three
}

// place is where a peer was seen.
type place struct {
	at    netip.AddrPort
	since time.Time
}

// flapTime is how quickly a peer must be there and back again to be two machines
// with one key, and for how long that is remembered.
const flapTime = 20 * time.Second

// NewSilences returns what is known at the start: nothing.
func NewSilences() *Silences { return &Silences{peers: map[key.Public]lastHeard{}} }

// Due takes what the device says of all peers now, and returns those that have
// to be renewed.
//
// A peer from which nothing has come since it was made, or renewed, has nothing
// to forget: a home that is away for months is renewed once.
func (s *Silences) Due(now time.Time, observed []plan.ObservedPeer) []key.Public {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[key.Public]lastHeard, len(observed))
	var due []key.Public
	for _, p := range observed {
		h, known := s.peers[p.PublicKey]
		// A renewed peer counts from zero again.
		heard := known && p.ReceivedBytes > 0 && p.ReceivedBytes != h.received
		if !known || heard {
			h.at = now
		}
		if heard && h.steady {
			h.pause = 0
		}
		h.received, h.steady, h.ever = p.ReceivedBytes, heard, h.ever || heard
		h.places = moved(h.places, p.Endpoint, now)
		if p.ReceivedBytes > 0 && now.Sub(h.at) >= SilentAfter && now.Sub(h.renewed) >= h.pause {
			h.renewed, h.pause = now, nextPause(h.pause, p)
			due = append(due, p.PublicKey)
		}
		next[p.PublicKey] = h
	}
	s.peers = next
	return due
}

// nextPause returns for how long a peer that is renewed now is left alone. One
// from which something has come and no handshake is whole has been renewed for
// somebody else: what came may be a message of the home's that was recorded, and
// said again. WireGuard, made to forget, takes it once, and then holds it against
// a home whose clock went back. So the home gets its next chance soon.
func nextPause(last time.Duration, p plan.ObservedPeer) time.Duration {
	if p.LatestHandshake.IsZero() {
		return renewPause
	}
	return min(max(renewPause, 2*last), longestRenewPause)
}

// moved adds a peer's place, if it is another one than the last.
func moved(places []place, to netip.AddrPort, now time.Time) []place {
	if last := len(places) - 1; !to.IsValid() || last >= 0 && places[last].at == to {
		return places
	}
	places = append(slices.Clone(places), place{to, now})
	return places[max(0, len(places)-3):]
}

// Flapped returns the two places between which a peer went to and fro just now.
func (s *Silences) Flapped(peer key.Public, now time.Time) []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[peer].places
	if len(p) < 3 || p[0].at != p[2].at || p[2].since.Sub(p[1].since) > flapTime || now.Sub(p[2].since) > flapTime {
		return nil
	}
	return []netip.AddrPort{p[0].at, p[1].at}
}

// Connected returns how many of some homes are connected.
func (s *Silences) Connected(homes []registry.Home, now time.Time) int {
	n := 0
	for _, h := range homes {
		if s.Hears(h.PublicKey, now) {
			n++
		}
	}
	return n
}

// Hears reports whether a peer is not silent. It is what *connected* means wherever
// a gate speaks of a home: see status.Report.
func (s *Silences) Hears(peer key.Public, now time.Time) bool { return s.of(peer).isHeard(now) }

// of returns what is known of a peer.
func (s *Silences) of(peer key.Public) lastHeard {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers[peer]
}

func (h lastHeard) isHeard(now time.Time) bool { return h.received > 0 && now.Sub(h.at) < SilentAfter }

// Known returns how many peers there were when the gate last listened.
func (s *Silences) Known() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers)
}
