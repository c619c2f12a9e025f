package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/systemd"
)

// readiness knows what still has to stand before a daemon does its work.
type readiness struct {
	mu      sync.Mutex
	missing map[string]bool
	reached func()
}

func newReadiness(parts ...string) *readiness {
	r := &readiness{missing: map[string]bool{}}
	for _, p := range parts {
		r.missing[p] = true
	}
	return r
}

// then has f called once nothing is missing any more. It must be said before
// the first reach.
func (r *readiness) then(f func()) { r.reached = f }

// reach notes that a part stands. That it may fall again does not matter here:
// it is set up again.
func (r *readiness) reach(part string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.missing[part] {
		return
	}
	delete(r.missing, part)
	if len(r.missing) == 0 && r.reached != nil {
		r.reached()
	}
}

// all reports whether nothing is missing.
func (r *readiness) all() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.missing) == 0
}

// life tells the service manager how the daemon is: ready, alive, and in words.
// It is the daemon's pulse as well: where the loop does not come round any
// more, it falls silent, and the service manager's watchdog ends the daemon.
type life struct {
	service *systemd.Service
	log     *slog.Logger
	loop    *loop
	started *readiness
	summary func() string
	said    string // last, as the status
	news    chan struct{}

	mu     sync.Mutex // guards what follows
	untold string     // why the service manager could not be told, last time
}

func newLife(o Options, l *loop, started *readiness, summary func() string) *life {
	return &life{service: o.Service, log: o.Log, loop: l, started: started, summary: summary, news: make(chan struct{}, 1)}
}

// String implements fmt.Stringer.
func (l *life) String() string { return "service manager" }

const (
	// pulse is how often life looks, at most: a third of the watchdog's time
	// if that is shorter.
	pulse = 3 * time.Second
	// startTime is what a first round that goes on asks for, again and again.
	startTime = 30 * time.Second
)

// Run speaks to the service manager until ctx ends, if there is one.
func (l *life) Run(ctx context.Context) error {
	if !l.service.Present() {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(l.interval())
	defer tick.Stop()
	for {
		l.beat()
		select {
		case <-ctx.Done():
			l.tell(l.service.Stopping())
			return ctx.Err()
		case <-l.news:
		case <-tick.C:
		}
	}
}

func (l *life) interval() time.Duration {
	if w := l.service.Watchdog(); w > 0 {
		return min(pulse, w/3)
	}
	return pulse
}

// beat says once how things are.
func (l *life) beat() {
	working, failed := l.loop.state()
	if text := l.summary(); text != "" && text != l.said {
		l.said = text
		l.tell(l.service.Status(text))
	}
	if !l.started.all() {
		// A machine that is slow gets its time. One where the round fails
		// does not keep what waits for us waiting.
		if working > 0 && !failed {
			l.tell(l.service.ExtendStart(startTime))
		}
		return
	}
	if limit := l.patience(); limit > 0 && working > limit {
		l.log.Error("stuck; waiting for the watchdog", "task", l.loop, "since", working.Round(time.Second))
		return
	}
	l.tell(l.service.Alive())
}

// patience is how long one round may take until it counts as stuck: three
// times the watchdog's time, and what a machine has been seen to need. Loading
// the largest table takes a slow one longer than the watchdog waits.
func (l *life) patience() time.Duration {
	w := l.service.Watchdog()
	if w == 0 {
		return 0
	}
	return 3*w + 2*l.loop.longest()
}

// ready says that the daemon does its work.
func (l *life) ready() {
	l.log.Info("ready")
	l.tell(l.service.Ready())
	select {
	case l.news <- struct{}{}: // the status has changed as well
	default:
	}
}

// reloading tells the service manager about a reload while it goes on.
func (l *life) reloading(reload func() error) error {
	if !l.started.all() {
		return reload() // ready is yet to come, and must not be said before
	}
	l.tell(l.service.Reloading())
	err := reload()
	l.tell(l.service.Ready())
	return err
}

// tell logs, once, why the service manager cannot be told.
func (l *life) tell(err error) {
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
