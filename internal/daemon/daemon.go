// Package daemon holds what lives long on a gate and on a home: the one place
// where configuration, plan, machine, protocol and memory meet.
//
// The way of everything is the same on both sides. Something changes (the
// file, the network, what the other side says, time), the loop reconciles:
// load the configuration, gather facts, plan, observe, apply the difference,
// publish the outcome. Whatever fails is tried again, without end.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// Options say which instance to run.
type Options struct {
	Paths   Paths
	Version string
	Log     *slog.Logger
	// Owner is to whom folders belong that have to be made; nil is whoever
	// runs this. The daemon may have a user of its own, commands are root's.
	Owner *store.Owner
	// Service is this process as the service manager sees it; nil outside.
	Service *systemd.Service
	// TUN is the embedded device's descriptor, kept for us since the daemon
	// before this one, or nil. KeepTUN has it kept for the next; it may be nil.
	TUN     *os.File
	KeepTUN func(tun *os.File) error
	// Guard and KeepGuard are the same for the socket of the firewall's guard.
	Guard     *os.File
	KeepGuard func(socket *os.File) error
}

// task is something long-lived of a daemon.
type task interface {
	fmt.Stringer
	// Run works until ctx ends. An error it returns ends the daemon.
	Run(ctx context.Context) error
}

// Run is the daemon: it works until ctx ends and leaves standing what it set
// up. Only one runs on a root at a time. It returns nil only when it was asked
// to stop.
func Run(ctx context.Context, o Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	starts := newStarts(o)
	err := run(ctx, stop, o, starts.succeeded)
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		o.Log.Info("stopped; what was set up stays until: gatelodge down")
		return nil
	}
	if err == nil {
		err = errors.New("the daemon has ended by itself, which it never should")
	}
	starts.failed(ctx, err)
	return err
}

// run runs the daemon of this machine's role, and calls ready once it does its
// work.
func run(ctx context.Context, stop context.CancelFunc, o Options, ready func()) error {
	role, err := o.Paths.Role()
	if err != nil {
		return err
	}
	st, err := store.Open(o.Paths.State(), o.Owner)
	if err != nil {
		return err
	}
	lock, err := lockStore(ctx, st)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	o.Log.Info("starting", "role", role, "version", o.Version)
	if role == plan.Gate {
		return runGate(ctx, stop, o, st, ready)
	}
	return runHome(ctx, stop, o, st, ready)
}

// lockPatience is how long a daemon that starts waits for a command that holds
// the store: doctor and plan do, for a moment, while no daemon runs.
const lockPatience = 10 * time.Second

// lockStore takes the store, or says who holds it for longer than that.
func lockStore(ctx context.Context, st *store.Store) (*store.Lock, error) {
	waiting, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	tick := time.NewTicker(lockPatience / 100)
	defer tick.Stop()
	for {
		lock, err := st.Lock()
		if err == nil || !errors.As(err, new(*store.LockedError)) {
			return lock, err
		}
		select {
		case <-tick.C:
		case <-waiting.Done():
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, err
		}
	}
}

// runTasks runs all tasks until one fails or ctx ends, and returns the first
// error once all have ended.
func runTasks(ctx context.Context, log *slog.Logger, tasks ...task) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error)
	for _, t := range tasks {
		go func() { ended <- runTask(ctx, log, t) }()
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

func runTask(ctx context.Context, log *slog.Logger, t task) error {
	err := t.Run(ctx)
	if err != nil && ctx.Err() == nil {
		log.Error("a task ended", "task", t, "error", err)
		return fmt.Errorf("%s: %w", t, err)
	}
	return ctx.Err()
}

// hangups reads the configuration again on every SIGHUP, until ctx ends, and
// kicks the loop that carries it out.
func hangups(ctx context.Context, log *slog.Logger, life *life, reload func() error, kick func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	go func() {
		defer signal.Stop(c)
		for {
			select {
			case <-ctx.Done():
				return
			case <-c:
				err := life.reloading(reload)
				if err != nil {
					log.Error("the configuration in force stays", "error", err)
					continue
				}
				kick()
			}
		}
	}()
}
