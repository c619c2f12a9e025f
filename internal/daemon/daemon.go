// Package daemon puts a daemon together: the store, the machine, a gate or a home,
// and the tasks that they consist of. What a gate and a home do is in their own
// rooms.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/gate"
	"github.com/gatelodge/gatelodge/internal/home"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// Options say which instance to run.
type Options struct {
	Paths   layout.Paths
	Version string
	Log     *slog.Logger
	// Owner is to whom folders belong that have to be made; nil is the user who
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

// Run is the daemon: it works until ctx ends and leaves standing what it set
// up. Only one runs on a root at a time. It returns nil only when it was asked
// to stop.
func Run(ctx context.Context, o Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	starts := supervise.NewStarts(o.Paths.FailedStarts(), o.Service, o.events(), o.Log)
	err := run(ctx, stop, o, starts.Succeeded)
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		o.events().Record(event.Stopped{})
		return nil
	}
	if err == nil {
		err = errors.New("the daemon has ended by itself, which it never should")
	}
	starts.Failed(ctx, err)
	return err
}

// events is told what happens.
func (o Options) events() event.Recorder { return event.Log{To: o.Log} }

// run runs the daemon of this machine's role, and calls started once it does its
// work.
func run(ctx context.Context, stop context.CancelFunc, o Options, started func()) error {
	role, err := o.Paths.Role()
	if err != nil {
		return err
	}
	st, err := store.Open(o.Paths.State(), o.Owner)
	if err != nil {
		return err
	}
	lock, err := st.LockWithin(ctx, lockPatience)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	o.events().Record(event.Started{Role: string(role), Version: o.Version})
	r, err := open(ctx, o, role, st, openHost)
	if err != nil {
		return err
	}
	defer func() {
		if err := r.machine.Close(); err != nil {
			o.Log.Error("closing", "error", err)
		}
	}()
	tasks, err := r.tasks(o.Service, stop, started)
	if err != nil {
		return err
	}
	return supervise.Run(ctx, o.events(), tasks...)
}

// running is a gate or a home on its machine.
type running struct {
	machine *host.Host
	tasks   func(service *systemd.Service, stop, started func()) ([]supervise.Task, error)
	plan    func(ctx context.Context) (local.PlanResponse, error)
}

// opener opens this machine for the instance with that interface.
type opener func(ctx context.Context, o Options, name string, device config.Device) (*host.Host, error)

// open reads the file of a role and makes a gate or a home of it, which changes
// nothing yet.
func open(ctx context.Context, o Options, role forward.Role, st *store.Store, machine opener) (*running, error) {
	if role == forward.Gate {
		return openGate(ctx, o, st, machine)
	}
	return openHome(ctx, o, st, machine)
}

func openGate(ctx context.Context, o Options, st *store.Store, machine opener) (*running, error) {
	c, err := gate.ReadConfig(o.Paths)
	if err != nil {
		return nil, err
	}
	m, err := machine(ctx, o, c.Tunnel.Interface, c.Tunnel.Device)
	if err != nil {
		return nil, err
	}
	g, err := gate.New(ctx, gate.Options{Paths: o.Paths, Version: o.Version, Log: o.Log, Events: o.events(), Config: c, Store: st, Machine: m})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &running{machine: m, tasks: g.Tasks, plan: g.Plan}, nil
}

func openHome(ctx context.Context, o Options, st *store.Store, machine opener) (*running, error) {
	c, err := home.ReadConfig(o.Paths)
	if err != nil {
		return nil, err
	}
	m, err := machine(ctx, o, c.Tunnel.Interface, c.Tunnel.Device)
	if err != nil {
		return nil, err
	}
	h, err := home.New(ctx, home.Options{Paths: o.Paths, Version: o.Version, Log: o.Log, Events: o.events(), Config: c, Store: st, Machine: m})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	tasks := func(service *systemd.Service, stop, started func()) ([]supervise.Task, error) {
		return h.Tasks(service, stop, started), nil
	}
	return &running{machine: m, tasks: tasks, plan: h.Plan}, nil
}

// lockPatience is how long to wait for who holds the store: a command that looks, or
// a daemon that was told to stop.
const lockPatience = 10 * time.Second
