package supervise

import (
	"context"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
)

// Loop is a Task that goes round whenever it is kicked, and from time to time without.
// Kicks that come while it works are one kick. It goes on whatever happens:
// a failure is said once, and tried again with growing pauses.
type Loop struct {
	name   string
	do     func(ctx context.Context) error
	every  time.Duration
	events *Quota
	kicks  chan struct{}
	ready  *milestone

	mu     sync.Mutex // guards what follows
	began  time.Time  // when the round that is under way began; zero if none is
	ended  time.Time  // when the last one ended
	long   time.Duration
	failed bool // the last round that has ended
}

// The pauses after failures: doubled each time, up to half a minute.
const (
	firstPause = 500 * time.Millisecond
	longPause  = 30 * time.Second
)

// NewLoop returns a loop of that name, whose rounds are do: one at its start, one
// for each kick, and one when it has not been kicked for so long. It is ready
// after the first round that succeeds, or once do has called Reached.
func NewLoop(name string, every time.Duration, events event.Recorder, do func(ctx context.Context) error) *Loop {
	return &Loop{name: name, do: do, every: every, events: NewQuota(events), kicks: make(chan struct{}, 1), ready: newMilestone()}
}

// Ready implements Task.
func (l *Loop) Ready() <-chan struct{} { return l.ready.reached }

// Reached says from within a round that what the loop is there for stands: for
// rounds that only end when something fails.
func (l *Loop) Reached() { l.ready.reach() }

// Kick asks for another round soon.
func (l *Loop) Kick() {
	select {
	case l.kicks <- struct{}{}:
	default: // one is waiting already
	}
}

// Kicked reports whether a kick waits for its round, and takes it: for who
// carries rounds out in Run's stead.
func (l *Loop) Kicked() bool {
	select {
	case <-l.kicks:
		return true
	default:
		return false
	}
}

// Nudge is kick for what the machine says by itself. While rounds fail, what
// comes of one, or right after it, is ignored: it may be the sound of our own
// reverting, and would have us try without a pause, for ever.
func (l *Loop) Nudge() {
	l.mu.Lock()
	own := l.failed && (!l.began.IsZero() || time.Since(l.ended) < firstPause)
	l.mu.Unlock()
	if !own {
		l.Kick()
	}
}

// Run goes round until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	pause, lastError := firstPause, ""
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.kicks:
			pause = firstPause // things have changed
		case <-timer.C:
		}
		err := l.round(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if lastError != "" {
				l.events.Record(event.TaskRecovered{Task: l.name})
			}
			pause, lastError = firstPause, ""
			timer.Reset(l.every)
		default:
			if err.Error() != lastError {
				l.events.Record(event.TaskFailed{Task: l.name, Why: err.Error()})
				lastError = err.Error()
			}
			timer.Reset(pause)
			pause = min(2*pause, longPause)
		}
	}
}

// round goes round once.
func (l *Loop) round(ctx context.Context) error {
	began := time.Now()
	l.mu.Lock()
	l.began = began
	l.mu.Unlock()
	err := l.do(ctx)
	if err == nil {
		l.ready.reach()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began, l.ended, l.failed = time.Time{}, time.Now(), err != nil
	l.long = max(l.long, l.ended.Sub(began))
	return err
}

// State returns for how long the round that is under way has been so, and
// whether the one before failed.
func (l *Loop) State() (working time.Duration, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.began.IsZero() {
		working = time.Since(l.began)
	}
	return working, l.failed
}

// Longest returns how long the longest round has taken.
func (l *Loop) Longest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.long
}

// String implements fmt.Stringer.
func (l *Loop) String() string { return l.name }
