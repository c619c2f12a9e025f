package supervise

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// Life is the Task that tells the service manager how the daemon is: ready, alive,
// and in words. It is the daemon's pulse as well: where the loop
// hangs, it falls silent, and the service manager's watchdog ends the
// daemon.
type Life struct {
	service *systemd.Service
	log     *slog.Logger
	events  event.Recorder
	loop    *Loop
	needs   []Task // that are not ready yet
	started func()
	summary func() string
	said    string // last, as the status
	ready   *milestone

	mu     sync.Mutex // guards what follows
	untold string     // why the service manager could not be told, last time
}

// LifeOptions say whose life it is.
type LifeOptions struct {
	Service *systemd.Service // nil: there is no service manager
	Log     *slog.Logger
	Events  event.Recorder
	Loop    *Loop // whose rounds are the daemon's pulse
	// Needs are the tasks that have to be ready before the daemon is, and Started
	// is called once they are.
	Needs   []Task
	Started func()
	// Summary says in a line how things are; "" is nothing new.
	Summary func() string
}

// NewLife returns the task.
func NewLife(o LifeOptions) *Life {
	return &Life{
		service: o.Service, log: o.Log, events: o.Events, loop: o.Loop, needs: o.Needs,
		started: o.Started, summary: o.Summary, ready: newMilestone(),
	}
}

// String implements fmt.Stringer.
func (l *Life) String() string { return "service manager" }

// Ready implements Task: it is, once the daemon is.
func (l *Life) Ready() <-chan struct{} { return l.ready.reached }

// SettingUp is the summary of a daemon that is not ready yet.
const SettingUp = "setting this machine up"

const (
	// pulse is how often life looks, at most: a third of the watchdog's time
	// if that is shorter.
	pulse = 3 * time.Second
	// startTime is what a first round that goes on asks for, again and again.
	startTime = 30 * time.Second
)

// Run waits until the daemon is ready, and speaks to the service manager until ctx
// ends.
func (l *Life) Run(ctx context.Context) error {
	tick := time.NewTicker(l.interval())
	defer tick.Stop()
	for {
		next := l.next()
		l.beat()
		select {
		case <-ctx.Done():
			l.tell(l.service.Stopping())
			return ctx.Err()
		case <-next:
		case <-tick.C:
		}
	}
}

// next takes notice of the tasks that are ready, and returns the channel that the
// next one closes; nil, if the daemon is ready.
func (l *Life) next() <-chan struct{} {
	for len(l.needs) > 0 {
		if next := l.needs[0].Ready(); !isClosed(next) {
			return next
		}
		l.needs = l.needs[1:]
	}
	if !IsReady(l) {
		l.events.Record(event.Ready{})
		l.tell(l.service.Ready())
		l.started()
		l.ready.reach()
	}
	return nil
}

func (l *Life) interval() time.Duration {
	if w := l.service.Watchdog(); w > 0 {
		return min(pulse, w/3)
	}
	return pulse
}

// beat says once how things are.
func (l *Life) beat() {
	working, failed := l.loop.State()
	if text := l.summary(); text != "" && text != l.said {
		l.said = text
		l.tell(l.service.Status(text))
	}
	if !IsReady(l) {
		// A machine that is slow gets its time. One where the round fails
		// does not keep what waits for us waiting.
		if working > 0 && !failed {
			l.tell(l.service.ExtendStart(startTime))
		}
		return
	}
	if limit := l.patience(); limit > 0 && working > limit {
		l.events.Record(event.Stuck{Task: l.loop.String(), Since: working.Round(time.Second)})
		return
	}
	l.tell(l.service.Alive())
}

// patience is how long one round may take until it counts as stuck: three
// times the watchdog's time, and what a machine has been seen to need. Loading
// the largest table takes a slow one longer than the watchdog waits.
func (l *Life) patience() time.Duration {
	w := l.service.Watchdog()
	if w == 0 {
		return 0
	}
	return 3*w + 2*l.loop.Longest()
}

// Reloading tells the service manager about a reload while it goes on.
func (l *Life) Reloading(reload func() error) error {
	if !IsReady(l) {
		return reload() // ready is yet to come, and must not be said before
	}
	l.tell(l.service.Reloading())
	err := reload()
	l.tell(l.service.Ready())
	return err
}

// tell logs, once, why the service manager cannot be told.
func (l *Life) tell(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	why := ""
	if err != nil {
		why = err.Error()
	}
	if why != "" && why != l.untold {
		l.log.Warn("cannot notify the service manager", "error", err)
	}
	l.untold = why
}
