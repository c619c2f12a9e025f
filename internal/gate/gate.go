// Package gate is a gate: the daemon of a VPS. What it knows is in memory and on
// disk (memory), what follows from that is a value (State), and the rounds, the
// control channel, the commands and the doctor each have a type of their own
// around the one Gate.
package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/consent"
	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/fair"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/heard"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/reconcile"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// Options say which gate it is, and on what it stands.
type Options struct {
	Paths   layout.Paths
	Version string
	Log     *slog.Logger
	Events  event.Recorder
	Config  config.Gate
	Store   *store.Store
	Machine Machine
}

// Machine is what a gate needs of the machine, more than a home does.
type Machine interface {
	host.Machine
	// AdmitOnly has the machine ask, whenever it configures the WireGuard device,
	// whether a peer that is wanted may still be in it.
	AdmitOnly(admit func(key.Public) bool)
	// TraceVisits follows visits from an address; see host.Tracing.
	TraceVisits(ctx context.Context, g plan.GateFirewall, table string, from netip.Addr) (host.Tracing, error)
}

// Gate is the daemon of a VPS.
type Gate struct {
	log        *slog.Logger
	events     event.Recorder
	paths      layout.Paths
	version    string
	machine    Machine
	memory     *memory
	reconciler *reconcile.Reconciler
	others     *consent.Others // firewalls of this machine
	loop       *supervise.Loop
	prover     *supervise.Loop // works while a policy is on trial
	freer      *supervise.Loop // see freeFlows
	toFree     flowsToFree
	silences   *heard.Silences
	presence   *heard.Presence
	accepted   *fair.Log   // of pushes
	looks      *fair.Share // of homes' doctors: the whole gate is looked at for each
	traces     *fair.Share
	runs       *ping.Runs
	since      time.Time
	rootPorts  []uint16 // what root listened on when it was looked last; watchSSH's own
}

// gateRound is how often a gate looks at itself without being asked.
const gateRound = 20 * time.Second

// What homes may have of the gate's doctor: a person asks now and then.
const (
	looksAtOnce = 4
	lookPause   = time.Second
	tracePause  = 3 * time.Second
)

// New returns a gate that knows what is stored, and has changed nothing: not even
// a first key is on disk before its tasks run. Its rounds end with ctx.
func New(ctx context.Context, o Options) (*Gate, error) {
	g := &Gate{
		log: o.Log, events: o.Events, paths: o.Paths, version: o.Version, machine: o.Machine,
		others: consent.NewOthers(o.Paths, o.Events), silences: heard.NewSilences(), presence: heard.NewPresence(o.Events), accepted: fair.NewLog(), runs: ping.NewRuns(),
		looks: fair.NewShare(looksAtOnce, lookPause), traces: fair.NewShare(1, tracePause),
		since: time.Now(),
	}
	var err error
	if g.memory, err = newMemory(o.Paths, o.Config, o.Store, o.Events); err != nil {
		return nil, err
	}
	g.machine.AdmitOnly(g.memory.admits)
	g.reconciler = reconcile.New(ctx, &round{gate: g}, o.Machine, g.others, o.Events)
	g.loop = supervise.NewLoop("gate", gateRound, o.Events, func(ctx context.Context) error {
		_, err := g.reconciler.Round(ctx)
		return err
	})
	g.prover = supervise.NewLoop("policy on trial", time.Hour, o.Events, g.proveTrial)
	g.freer = supervise.NewLoop("flows of new forwards", time.Hour, o.Events, g.freeFlows)
	return g, nil
}

// Tasks are what a gate does. stop has the daemon end; started is told once it
// does its work.
func (g *Gate) Tasks(service *systemd.Service, stop, started func()) ([]supervise.Task, error) {
	if err := g.memory.begin(g.machine.SSHPorts); err != nil {
		return nil, err
	}
	channel := newControlServer(g)
	life := supervise.NewLife(supervise.LifeOptions{
		Service: service, Log: g.log, Events: g.events, Loop: g.loop, Needs: []supervise.Task{g.loop, channel}, Started: started, Summary: g.summary,
	})
	reload := func(ctx context.Context) error { return g.takeConfig(ctx, local.ApplyRequest{}) }
	server := local.NewServer(g.paths.Socket(), Commands{g, stop}, g.log)
	return append(g.loops(), life, channel,
		supervise.Hangups{Life: life, Reload: reload, Loop: g.loop, Events: g.events},
		supervise.NewLoop("commands", time.Second, g.events, server.Serve),
	), nil
}

// loops are the tasks that go round by themselves, and answer nobody.
func (g *Gate) loops() []supervise.Task {
	return []supervise.Task{
		g.loop, g.prover, g.freer,
		supervise.NewWatcher("network events", g.machine.Watch, g.events, g.loop.Nudge),
		supervise.NewLoop("ports of sshd", sshRound, g.events, g.watchSSH),
		supervise.NewLoop("silent homes", heard.Round, g.events, g.renewSilent),
		supervise.NewLoop("remember endpoints", endpointRound, g.events, g.rememberEndpoints),
		g.reconciler.NewGlances(g.events),
	}
}

// round is what a gate does in a round. The file itself is read again only when
// its owner asks (takeConfig): it may be half edited at any other time.
type round struct {
	gate    *Gate
	unsaved error // of this round
}

// Gather implements reconcile.Role. It ends invites whose time is up, and judges
// all forwards again.
func (r *round) Gather(ctx context.Context) (plan.Facts, error) {
	m := r.gate.memory
	s := m.now()
	facts, err := r.gate.machine.Facts(ctx, s.Config.Tunnel.Interface)
	if err != nil {
		return facts, err
	}
	facts = m.notice(facts)
	if err := s.RefuseOverlap(s.Config, facts); err != nil {
		return facts, err
	}
	r.unsaved = m.review(facts) // what cannot be written down is in force all the same
	return facts, nil
}

// Want implements reconcile.Role.
func (r *round) Want(plan.Facts) plan.State { return r.gate.memory.now().Plan(time.Now()) }

// Choices implements reconcile.Role.
func (r *round) Choices() []plan.Choice { return r.gate.memory.now().Choices() }

// Settle implements reconcile.Role.
func (r *round) Settle(want plan.State, _ []plan.Step, failed error) error {
	if failed != nil {
		return r.unsaved
	}
	return errors.Join(r.unsaved, r.gate.settle(want.Firewall.Gate))
}

// Publish implements reconcile.Role.
func (r *round) Publish(_ plan.Facts, err error) { r.gate.memory.publish(err) }

// Stands implements reconcile.Role. The gate does its work from now on.
func (r *round) Stands() { r.gate.loop.Reached() }

// summary says in a line how the gate is; nothing if that would mean to wait.
func (g *Gate) summary() string {
	m := g.memory
	if !m.mu.TryLock() {
		return ""
	}
	defer m.mu.Unlock()
	switch {
	case len(m.problems) > 0:
		return m.problems[0]
	case !supervise.IsReady(g.loop):
		return supervise.SettingUp
	}
	homes := m.state.Registry.Homes
	return fmt.Sprintf("%s, %s", connected(g.silences.Connected(homes, time.Now()), len(homes)), forward.Count(len(m.state.Registry.Granted())))
}

// connected says how many homes are connected.
func connected(are, homes int) string {
	if homes == 0 {
		return "no home yet"
	}
	return fmt.Sprintf("%d of %d homes connected", are, homes)
}
