package home

import (
	"context"
	"fmt"
	"time"

	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/event"
)

// One home on two machines, after a disk was cloned for instance: each has the
// key, and the one that made the last handshake has the tunnel. The gate tells
// the one that was started earlier to give way (see ping.Run). It takes the
// gate out of its WireGuard device then, because a device with a peer makes
// handshakes by itself, and asks again now and then: that takes the tunnel away
// for a moment, so it does not do so often. The other one knows of it, too, and
// has the tunnel again at the first ping that is lost.

const (
	// firstStandBack is how long a run that gives way waits before it asks
	// again; then twice as long each time, up to longestStandBack.
	firstStandBack   = time.Minute
	longestStandBack = ping.MaxStandBack
	// rivalKnown is for how long another run is reckoned with after the gate
	// has last spoken of it, which it does for some minutes.
	rivalKnown = time.Minute
	// rivalInterval and rivalPatience are of pings while it is, so that the
	// tunnel is back within two seconds, and defendPause is between two
	// handshakes to that end.
	rivalInterval = 500 * time.Millisecond
	rivalPatience = 700 * time.Millisecond
	defendPause   = 2 * time.Second
)

// standBack gives way to a later run of this home.
type standBack struct {
	keeper   *keeper
	pause    time.Duration // before asking again; 0: the tunnel was ours last
	defended time.Time
}

// wait leaves the tunnel alone for a while.
func (s *standBack) wait(ctx context.Context) {
	k := s.keeper
	s.pause = min(max(firstStandBack, 2*s.pause), longestStandBack)
	k.givesWay(s.pause)
	if err := k.link.leaveTunnel(ctx, true); err != nil && ctx.Err() == nil {
		k.events.Record(event.TunnelNotLeft{Why: err.Error()})
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(s.pause):
	}
	if err := k.link.leaveTunnel(ctx, false); err != nil && ctx.Err() == nil {
		k.note(err.Error())
	}
}

// over is called when the tunnel is this run's.
func (s *standBack) over() { s.pause = 0 }

// defend gets the tunnel again at once where it may have gone to another run,
// which will be told to give way. It reports whether it did.
func (s *standBack) defend(ctx context.Context) bool {
	k := s.keeper
	if s.pause > 0 || !k.hasRival() || time.Since(s.defended) < defendPause {
		return false
	}
	s.defended = time.Now()
	k.proving.Lock()
	defer k.proving.Unlock()
	if err := k.link.beginAgain(ctx); err != nil && ctx.Err() == nil {
		k.note(err.Error())
	}
	return true
}

// heard keeps what an answer says.
func (k *keeper) heard(pong ping.Pong) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.roundTrip, k.giveWay = pong.RoundTrip, pong.GiveWay
	if !pong.GiveWay {
		k.run.GivenWay = false
	}
	if pong.Several {
		k.several = time.Now()
	}
}

// mustGiveWay reports whether the gate has said so since it was last asked.
func (k *keeper) mustGiveWay() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	told := k.giveWay
	k.giveWay = false
	return told
}

// isTold is mustGiveWay for who only looks.
func (k *keeper) isTold() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.giveWay
}

// givesWay notes that this run gives way for a while.
func (k *keeper) givesWay(pause time.Duration) {
	k.note(fmt.Sprintf("another machine has a copy of this home's key and has the tunnel, because gatelodge was started there later: this one stands back, and asks again every %v; run gatelodge down on one of the two, or give it an invite of its own", pause))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.up, k.roundTrip, k.run.GivenWay = false, 0, true
}

// hasRival reports whether another run of this home is to be reckoned with.
func (k *keeper) hasRival() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.several.IsZero() && time.Since(k.several) < rivalKnown
}

// interval is the time between pings that are answered.
func (k *keeper) interval() time.Duration {
	if k.hasRival() {
		return rivalInterval
	}
	return ping.Interval
}

// patience is how long an answer may take.
func (k *keeper) patience() time.Duration {
	if !k.hasRival() {
		return pingPatience
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return min(max(rivalPatience, 2*k.roundTrip), pingPatience)
}

// rivalProblem says that there is another run, on the one that has the tunnel.
func (k *keeper) rivalProblem() string {
	if up, _, _ := k.state(); !up || !k.hasRival() {
		return ""
	}
	return "another machine has a copy of this home's key and was told by the gate to stand back, because gatelodge was started here later; run gatelodge down there, or give it an invite of its own"
}
