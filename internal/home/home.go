// Package home is a home: the daemon of a server behind NAT. It has a link to its
// gate, which keeps the tunnel alive and tells the gate what to publish; around it
// are the rounds, the commands and the doctor.
package home

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/consent"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/reconcile"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// Options say which home it is, and on what it stands.
type Options struct {
	Paths   layout.Paths
	Version string
	Log     *slog.Logger
	Events  event.Recorder
	Config  config.Home
	Store   *store.Store
	Machine host.Machine
}

// Home is the daemon of a server at home.
type Home struct {
	log     *slog.Logger
	events  event.Recorder
	paths   layout.Paths
	version string
	since   time.Time
	others  *consent.Others // firewalls of this machine
	link    *link
}

// homeRound is how often a home looks at itself without being asked.
const homeRound = 20 * time.Second

// New returns a home that knows what is stored, and changes nothing. Its rounds end
// with ctx.
func New(ctx context.Context, o Options) (*Home, error) {
	h := &Home{log: o.Log, events: o.Events, paths: o.Paths, version: o.Version, since: time.Now(), others: consent.NewOthers(o.Paths, o.Events)}
	l, err := newLink(o)
	if err != nil {
		return nil, err
	}
	h.link = l
	l.reconciler = reconcile.New(ctx, &round{link: l}, o.Machine, h.others, o.Events)
	l.loop = supervise.NewLoop("home", homeRound, o.Events, func(ctx context.Context) error {
		_, err := l.reconciler.Round(ctx)
		return err
	})
	return h, nil
}

// Tasks are what a home does. stop has the daemon end; started is told once it
// does its work.
func (h *Home) Tasks(service *systemd.Service, stop, started func()) []supervise.Task {
	l := h.link
	life := supervise.NewLife(supervise.LifeOptions{
		Service: service, Log: h.log, Events: h.events, Loop: l.loop, Needs: []supervise.Task{l.loop}, Started: started, Summary: h.summary,
	})
	server := local.NewServer(h.paths.Socket(), Commands{h, stop}, h.log)
	return []supervise.Task{
		l.loop, life, l.keep, l.push.loop,
		supervise.Hangups{Life: life, Reload: func(context.Context) error { return l.reload() }, Loop: l.loop, Events: h.events},
		supervise.NewWatcher("network events", l.machine.Watch, h.events, l.loop.Nudge),
		supervise.NewLoop("commands", time.Second, h.events, server.Serve),
		l.reconciler.NewGlances(h.events),
	}
}

// round is what a home does in a round. The file itself is read again only when its
// owner asks (reload): it may be half edited at any other time.
type round struct {
	link   *link
	visits reconcile.Visits
}

// Gather implements reconcile.Role.
func (r *round) Gather(ctx context.Context) (plan.Facts, error) {
	facts, err := r.link.gather(ctx, r.link.configuration())
	if err != nil {
		return facts, err
	}
	return facts, r.link.joined().RefuseOverlap(facts)
}

// Want implements reconcile.Role.
func (r *round) Want(facts plan.Facts) plan.State { return r.link.want(facts) }

// Choices implements reconcile.Role.
func (r *round) Choices() []plan.Choice { return plan.HomeChoices(r.link.configuration()) }

// Settle implements reconcile.Role.
func (r *round) Settle(want plan.State, steps []plan.Step, failed error) error {
	return r.visits.Settle(r.link.machine, steps, want.Firewall.Home, failed)
}

// Publish implements reconcile.Role.
func (r *round) Publish(facts plan.Facts, err error) { r.link.publish(facts, err) }

// Stands implements reconcile.Role. The home does its work from now on.
func (r *round) Stands() {
	r.link.loop.Reached()
	r.link.push.kick()
}

// summary says in a line how the home is; nothing if that would mean to wait.
func (h *Home) summary() string {
	l := h.link
	up, _, why := l.keep.state()
	rival := l.keep.hasRival()
	if !l.mu.TryLock() {
		return ""
	}
	defer l.mu.Unlock()
	switch {
	case len(l.problems) > 0:
		return l.problems[0]
	case !supervise.IsReady(l.loop):
		return supervise.SettingUp
	case up && rival:
		return "tunnel up, but another machine has a copy of this home's key: gatelodge status"
	case up:
		return "tunnel up, " + forward.Count(len(l.config.Forwards))
	case why != "":
		return "no tunnel yet, keeps trying: " + why
	default:
		return "no tunnel yet: the gate does not answer, keeps trying"
	}
}
