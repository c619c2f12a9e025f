package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// loop calls reconcile whenever it is kicked, and from time to time without.
// Kicks that come while it works are one kick. It goes on whatever happens:
// a failure is said once, and tried again with growing pauses.
type loop struct {
	name      string
	reconcile func(ctx context.Context) error
	every     time.Duration
	log       *logQuota
	kicks     chan struct{}

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

func newLoop(name string, every time.Duration, log *slog.Logger, reconcile func(ctx context.Context) error) *loop {
	return &loop{name: name, reconcile: reconcile, every: every, log: newLogQuota(log), kicks: make(chan struct{}, 1)}
}

// kick asks for another round soon.
func (l *loop) kick() {
	select {
	case l.kicks <- struct{}{}:
	default: // one is waiting already
	}
}

// nudge is kick for what the machine says by itself. While rounds fail, what
// comes of one, or right after it, is ignored: it may be the sound of our own
// taking back, and would have us try without a pause, for ever.
func (l *loop) nudge() {
	l.mu.Lock()
	own := l.failed && (!l.began.IsZero() || time.Since(l.ended) < firstPause)
	l.mu.Unlock()
	if !own {
		l.kick()
	}
}

// Run goes round until ctx ends.
func (l *loop) Run(ctx context.Context) error {
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
				l.log.info("works again", "task", l.name)
			}
			pause, lastError = firstPause, ""
			timer.Reset(l.every)
		default:
			if err.Error() != lastError {
				l.log.error("failed, trying again", "task", l.name, "error", err)
				lastError = err.Error()
			}
			timer.Reset(pause)
			pause = min(2*pause, longPause)
		}
	}
}

// round goes round once.
func (l *loop) round(ctx context.Context) error {
	began := time.Now()
	l.mu.Lock()
	l.began = began
	l.mu.Unlock()
	err := l.reconcile(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began, l.ended, l.failed = time.Time{}, time.Now(), err != nil
	l.long = max(l.long, l.ended.Sub(began))
	return err
}

// state returns for how long the round that is under way has been so, and
// whether the one before failed.
func (l *loop) state() (working time.Duration, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.began.IsZero() {
		working = time.Since(l.began)
	}
	return working, l.failed
}

// longest returns how long the longest round has taken.
func (l *loop) longest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.long
}

// String implements fmt.Stringer.
func (l *loop) String() string { return l.name }
