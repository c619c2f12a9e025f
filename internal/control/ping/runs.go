package ping

import (
	"crypto/rand"
	"encoding/binary"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Two machines with one key, after a disk was cloned for instance, take the
// tunnel from each other for ever: the one that makes the last handshake has it. So
// each run of a home's daemon has a number of its own, and a gate tells all but
// the run that it has come to know last to give way.

// Run is one run of a home's daemon.
type Run struct {
	ID uint64
	// GivenWay says that this run was told to give way: if the gate does not
	// know it, it is not the latest for all that.
	GivenWay bool
}

// NewRun makes the number of a run.
func NewRun() Run {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return Run{ID: binary.BigEndian.Uint64(b[:])}
}

// MaxStandBack is how long a run that was told to give way may wait until it
// asks again.
const MaxStandBack = 10 * time.Minute

const (
	// runGone is after how much silence a run stands in nobody's way: more than
	// a home needs to find out that its tunnel is gone and to get it again.
	runGone = 10 * time.Second
	// runKnown is for how long an earlier run counts as there after it was heard:
	// longer than MaxStandBack.
	runKnown = MaxStandBack + time.Minute
	// runForgotten is after how much silence nothing is known of a run.
	runForgotten = 15 * time.Minute
	maxRuns      = 8 // of one home
)

// standing is how a run stands to the others of its home.
type standing struct{ giveWay, several bool }

// seenRun is a run that was heard.
type seenRun struct {
	id           uint64
	first, heard time.Time
}

// Runs are those of all homes by their addresses in the tunnel, each home's in
// the order in which they first came. It is safe for concurrent use.
type Runs struct {
	mu    sync.Mutex
	homes map[netip.Addr][]seenRun
}

// NewRuns returns an empty list.
func NewRuns() *Runs { return &Runs{homes: make(map[netip.Addr][]seenRun)} }

// Several reports whether a home runs on several machines: an earlier run was
// heard beside the one that has the tunnel.
func (r *Runs) Several(home netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, now := r.homes[home], time.Now()
	for i := len(list) - 1; i >= 0; i-- {
		if now.Sub(list[i].heard) < runGone {
			return stands(list, i, now).several
		}
	}
	return false
}

// answer returns the answer to a question, and false for anything else.
func (r *Runs) answer(packet []byte, from net.Addr) (Packet, bool) {
	p, ok := answered(packet, standing{})
	if !ok {
		return p, false
	}
	asks, named := p.run()
	if !named {
		return p, true
	}
	return answered(packet, r.heard(Source(from.String()), asks, time.Now()))
}

// heard notes that a run has asked, and returns how it stands.
func (r *Runs) heard(from netip.Addr, asks Run, now time.Time) standing {
	r.mu.Lock()
	defer r.mu.Unlock()
	forgotten := func(s seenRun) bool { return now.Sub(s.heard) > runForgotten }
	list := slices.DeleteFunc(r.homes[from], forgotten)
	if len(list) == 0 && !r.room(forgotten) {
		return standing{}
	}
	i := slices.IndexFunc(list, func(s seenRun) bool { return s.id == asks.ID })
	if i < 0 {
		list, i = enter(list, asks, now)
	}
	list[i].heard = now
	r.homes[from] = list
	return stands(list, i, now)
}

// enter adds a run: as the latest, but for one that knows that it is not.
func enter(list []seenRun, asks Run, now time.Time) (longer []seenRun, at int) {
	if len(list) == maxRuns {
		list = list[1:]
	}
	if !asks.GivenWay {
		at = len(list)
	}
	return slices.Insert(slices.Clone(list), at, seenRun{id: asks.ID, first: now}), at
}

// stands compares a run that asks just now with the others. An earlier one that
// has not been heard since this one came has simply ended.
func stands(list []seenRun, i int, now time.Time) standing {
	var s standing
	for j, other := range list {
		switch {
		case j < i && other.heard.After(list[i].first) && now.Sub(other.heard) < runKnown:
			s.several = true
		case j > i && now.Sub(other.heard) < runGone:
			s = standing{giveWay: true, several: true}
		}
	}
	return s
}

// room makes room for another home, if it can.
func (r *Runs) room(forgotten func(seenRun) bool) bool {
	if len(r.homes) < MaxSources {
		return true
	}
	maps.DeleteFunc(r.homes, func(_ netip.Addr, list []seenRun) bool {
		return !slices.ContainsFunc(list, func(s seenRun) bool { return !forgotten(s) })
	})
	return len(r.homes) < MaxSources
}
