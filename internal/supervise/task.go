// Package supervise keeps what is long-lived alive: tasks, loops that try again,
// what the service manager is told of them, and how starts that fail are spaced.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
)

// Task is something long-lived of a daemon. String is its name.
type Task interface {
	fmt.Stringer
	// Run works until ctx ends. An error it returns ends the daemon.
	Run(ctx context.Context) error
	// Ready is closed once what the task is there for stands. That it may fall
	// again does not matter: it is set up again.
	Ready() <-chan struct{}
}

// Run runs all tasks until one fails or ctx ends, and returns the first error once
// all have ended.
func Run(ctx context.Context, events event.Recorder, tasks ...Task) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error)
	for _, t := range tasks {
		go func() { ended <- run(ctx, events, t) }()
	}
	var first error
	for range tasks {
		if err := <-ended; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

func run(ctx context.Context, events event.Recorder, t Task) error {
	err := t.Run(ctx)
	if err != nil && ctx.Err() == nil {
		events.Record(event.TaskEnded{Task: t.String(), Why: err.Error()})
		return fmt.Errorf("%s: %w", t, err)
	}
	return ctx.Err()
}

// IsReady reports whether a task is.
func IsReady(t interface{ Ready() <-chan struct{} }) bool { return isClosed(t.Ready()) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// milestone is something that is reached once.
type milestone struct {
	once    sync.Once
	reached chan struct{}
}

func newMilestone() *milestone { return &milestone{reached: make(chan struct{})} }

func (m *milestone) reach() { m.once.Do(func() { close(m.reached) }) }

// Hangups is the Task that reads the configuration again on every SIGHUP, and
// kicks the loop that carries it out.
type Hangups struct {
	Life   *Life
	Reload func(ctx context.Context) error
	Loop   *Loop
	Events event.Recorder
}

// String implements fmt.Stringer.
func (Hangups) String() string { return "signals" }

// Ready implements Task. Nobody waits for signals.
func (Hangups) Ready() <-chan struct{} {
	ready := make(chan struct{})
	close(ready)
	return ready
}

// Run implements Task. A configuration that is wrong leaves the last one in force.
func (h Hangups) Run(ctx context.Context) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	defer signal.Stop(c)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c:
		}
		if err := h.Life.Reloading(func() error { return h.Reload(ctx) }); err != nil {
			h.Events.Record(event.ConfigRefused{Why: err.Error()})
			continue
		}
		h.Loop.Kick()
	}
}

// watchPause is between the end of one source of notifications and the next.
const watchPause = time.Second

// NewWatcher returns a task that nudges for each notification of watch, and for
// those that came while nobody listened. Notifications that end are asked for
// again.
func NewWatcher[E any](name string, watch func(ctx context.Context) (<-chan E, error), events event.Recorder, nudge func()) *Loop {
	return NewLoop(name, watchPause, events, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		notifications, err := watch(ctx)
		if err != nil {
			return err
		}
		nudge()
		return nudgeOn(ctx, notifications, nudge)
	})
}

// nudgeOn nudges on events until they, or ctx, end.
func nudgeOn[E any](ctx context.Context, events <-chan E, nudge func()) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-events:
			if !open {
				return errors.New("the kernel's notifications have ended")
			}
			nudge()
		}
	}
}
