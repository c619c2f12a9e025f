// Package fair gives each home its share of what a gate does and says for all of
// them.
package fair

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
)

// Share bounds work that homes can ask for: how much of it there is at once, and
// for each home one at a time, with a pause before the next. Who comes too early
// waits; a home that does not wait for its answers is refused.
type Share struct {
	places chan struct{} // holds one for each that is under way
	pause  time.Duration

	mu    sync.Mutex
	homes map[string]due
}

// due says when a home may come again.
type due struct {
	busy bool // it is being served, or waits
	at   time.Time
}

// NewShare returns a share of so many places at once, and that pause for each home.
func NewShare(places int, pause time.Duration) *Share {
	return &Share{places: make(chan struct{}, places), pause: pause, homes: map[string]due{}}
}

// Begin waits for a home's turn. The caller calls end.
func (s *Share) Begin(ctx context.Context, home string) (end func(), err error) {
	at, err := s.claim(home)
	if err != nil {
		return nil, err
	}
	wait := time.NewTimer(time.Until(at))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		s.leave(home, at)
		return nil, ctx.Err()
	}
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		s.leave(home, at)
		return nil, ctx.Err()
	}
	return func() {
		<-s.places
		s.leave(home, time.Now().Add(s.pause))
	}, nil
}

// claim notes that a home waits, and returns from when on it may be served.
func (s *Share) claim(home string) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.homes[home].busy {
		return time.Time{}, &control.Error{Code: control.TooOften, Message: "the gate is still at work on this home's last question of that kind; ask again in a few seconds"}
	}
	now := time.Now()
	maps.DeleteFunc(s.homes, func(name string, d due) bool { return name != home && !d.busy && d.at.Before(now) })
	at := s.homes[home].at
	s.homes[home] = due{busy: true, at: at}
	return at, nil
}

func (s *Share) leave(home string, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.homes[home] = due{at: next}
}
