package daemon

import (
	"context"
	"log/slog"
	"time"
)

// loop calls reconcile whenever it is kicked, and from time to time without.
// Kicks that come while it works are one kick. It goes on whatever happens:
// a failure is said once, and tried again with growing pauses.
type loop struct {
	name      string
	reconcile func(ctx context.Context) error
	every     time.Duration
	log       *slog.Logger
	kicks     chan struct{}
}

// The pauses after failures: doubled each time, up to half a minute.
const (
	firstPause = 500 * time.Millisecond
	longPause  = 30 * time.Second
)

func newLoop(name string, every time.Duration, log *slog.Logger, reconcile func(ctx context.Context) error) *loop {
	return &loop{name: name, reconcile: reconcile, every: every, log: log, kicks: make(chan struct{}, 1)}
}

// kick asks for another round soon.
func (l *loop) kick() {
	select {
	case l.kicks <- struct{}{}:
	default: // one is waiting already
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
		case <-timer.C:
		}
		err := l.reconcile(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if lastError != "" {
				l.log.Info("works again", "task", l.name)
			}
			pause, lastError = firstPause, ""
			timer.Reset(l.every)
		default:
			if err.Error() != lastError {
				l.log.Error("failed, trying again", "task", l.name, "error", err)
				lastError = err.Error()
			}
			timer.Reset(pause)
			pause = min(2*pause, longPause)
		}
	}
}

// String implements fmt.Stringer.
func (l *loop) String() string { return l.name }
