package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// gate is the daemon of a VPS.
type gate struct {
	opts     Options
	log      *slog.Logger
	store    *store.Store
	host     *host.Host
	loop     *loop
	prover   *loop // works while a policy is on trial
	ready    *readiness
	silences *silences
	accepted *sparingLog // of pushes
	looks    *share      // of homes' doctors: the whole gate is looked at for each
	traces   *share
	runs     *control.Runs
	instance string // of this run: homes push again when it changes
	since    time.Time
	others   others // firewalls of this machine

	// apply holds whoever brings the machine to the wanted state: one at a
	// time. writing holds whoever changes what is on disk. mu guards what
	// follows, and is never held while anything waits: not for the disk, not for
	// the kernel, not for the others. They are taken in this order.
	apply   sync.Mutex
	rounds  *rounds // of reconcile: many wait for one
	writing sync.Mutex
	changes changes
	mu      sync.Mutex

	config   config.Gate
	key      key.Private
	registry *registry.State
	inputs   inputs
	facts    plan.Facts
	applied  []plan.GateForward // as the machine carries them out now
	// endpoints are where the homes were when this run began. Later ones are
	// the device's business: it hears of them first.
	endpoints map[key.Public]netip.AddrPort
	problems  []string
	ssh       sshMemory
	failed    string // why the last round could not set the machine up
	// unsaved is set while the registry holds what could not be written down.
	unsaved bool
	// barred are keys that are being revoked: out at once, before the disk
	// knows.
	barred map[key.Public]bool
}

// gateRound is how often a gate looks at itself without being asked.
const gateRound = 20 * time.Second

// What homes may have of the gate's doctor: a person asks now and then.
const (
	looksAtOnce = 4
	lookPause   = time.Second
	tracePause  = 3 * time.Second
)

// What has to stand on a gate before it does its work.
const (
	machineStands  = "machine"
	controlListens = "control channel"
)

func runGate(ctx context.Context, stop context.CancelFunc, o Options, st *store.Store, ready func()) error {
	g, err := newGate(ctx, o, st)
	if err != nil {
		return err
	}
	defer func() {
		if err := g.host.Close(); err != nil {
			g.log.Error("closing", "error", err)
		}
	}()
	life := newLife(o, g.loop, g.ready, g.summary)
	g.ready.then(func() { ready(); life.ready() })
	reload := func() error { return g.takeConfig(ctx, ApplyRequest{}) }
	hangups(ctx, o.Log, life, reload, g.loop.kick)
	return runTasks(ctx, o.Log, g.loop, life,
		newWatcher(g.host, o.Log, g.loop.nudge),
		newLocalServer(o.Paths.Socket(), g, stop, o.Log).loop(),
		newControlServer(g),
		g.prover,
		newLoop("ports of sshd", sshRound, o.Log, g.watchSSH),
		newLoop("silent homes", silenceRound, o.Log, g.renewSilent),
		newLoop("remember endpoints", endpointRound, o.Log, g.rememberEndpoints))
}

// newGate loads what the gate needs to know and changes nothing but a first
// key.
func newGate(ctx context.Context, o Options, st *store.Store) (*gate, error) {
	g := &gate{
		opts: o, log: o.Log, store: st, instance: rand.Text(), since: time.Now(),
		ready: newReadiness(machineStands, controlListens), silences: newSilences(),
		barred: map[key.Public]bool{}, accepted: newSparingLog(), runs: control.NewRuns(),
		looks: newShare(looksAtOnce, lookPause), traces: newShare(1, tracePause),
	}
	var err error
	if g.config, err = g.readConfig(); err != nil {
		return nil, err
	}
	if err := g.recall(); err != nil {
		return nil, err
	}
	g.host, err = openHost(ctx, o, g.config.Tunnel.Interface, g.config.Tunnel.Device)
	if err != nil {
		return nil, err
	}
	g.host.AdmitOnly(g.admits)
	g.rounds = newRounds(func() ([]plan.Change, error) { return g.round(ctx) })
	g.loop = newLoop("gate", gateRound, o.Log, func(context.Context) error {
		_, err := g.reconcile()
		return err
	})
	g.prover = newLoop("policy on trial", time.Hour, o.Log, g.proveTrial)
	return g, nil
}

func (g *gate) readConfig() (config.Gate, error) {
	file := g.opts.Paths.ConfigFile(plan.Gate)
	data, err := os.ReadFile(file)
	if err != nil {
		return config.Gate{}, err
	}
	return config.ParseGate(file, data)
}

// reconcile returns once a round that began after it was called has ended.
// Whoever changes something and waits for it to be in force calls it, and shares
// that round with all others who do.
func (g *gate) reconcile() ([]plan.Change, error) { return g.rounds.join() }

// round brings the machine to what the configuration and the registry say:
// gather facts, plan, observe, apply the difference, publish. The file itself is
// read again only when its owner asks (takeConfig): it may be half edited at any
// other time.
func (g *gate) round(ctx context.Context) ([]plan.Change, error) {
	g.apply.Lock()
	defer g.apply.Unlock()
	g.rounds.begin()
	facts, err := g.host.Facts(ctx, g.config.Tunnel.Interface)
	if err == nil {
		facts = g.notice(facts)
		err = g.refuseOverlap(g.config, facts)
	}
	if err != nil {
		g.publish(err)
		return nil, err
	}
	unsaved := g.review(facts)
	want := g.want(facts)
	changes, err := g.host.Apply(ctx, want)
	logChanges(g.log, changes)
	if err == nil {
		step.At("gate: machine stands")
		g.ready.reach(machineStands)
		err = g.settle(want.Firewall.Gate)
	}
	err = errors.Join(unsaved, err)
	g.publish(err)
	g.others.look(ctx, g.opts.Paths, want, facts, g.log)
	return changes, err
}

// notice keeps what the machine says of itself. What it could not say this time
// changes nothing: a gate that cannot look judges by what it saw last.
func (g *gate) notice(facts plan.Facts) plan.Facts {
	g.mu.Lock()
	defer g.mu.Unlock()
	facts.SSHPorts = g.everSSH(facts.SSHPorts)
	g.facts = facts
	return facts
}

// refuseOverlap stops before the tunnel takes addresses that mean something
// else here.
func (g *gate) refuseOverlap(c config.Gate, facts plan.Facts) error {
	prefix := c.Tunnel.Prefix4
	if n, overlaps := plan.Overlap(prefix, facts); overlaps {
		return fmt.Errorf("the tunnel's prefix %s overlaps %s, a network of this machine's interface %s: set another prefix4 in %s", prefix, n.Prefix, n.Interface, g.opts.Paths.ConfigFile(plan.Gate))
	}
	return nil
}

// want plans this gate as it should be now.
func (g *gate) want(facts plan.Facts) plan.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	in := plan.GateInput{PrivateKey: g.key, Forwards: gateForwards(g.registry), Input: g.inputs.kept, Trial: g.inputs.planned()}
	for _, h := range g.registry.Homes {
		in.Tenants = append(in.Tenants, plan.Tenant{PublicKey: h.PublicKey, Addresses: addresses(h.Address4, h.Address6), Endpoint: g.endpoints[h.PublicKey]})
	}
	now := time.Now()
	for _, v := range g.registry.Invites {
		if !v.Answers(now) {
			continue
		}
		in.Tenants = append(in.Tenants, plan.Tenant{PublicKey: v.PublicKey, Addresses: addresses(v.Address4), Invited: true})
	}
	return plan.ForGate(g.config, in, facts)
}

// publish notes the outcome for status.
func (g *gate) publish(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.problems, g.failed = nil, ""
	if err != nil {
		g.problems, g.failed = []string{err.Error()}, err.Error()
	}
	g.problems = append(g.problems, g.inputProblem()...)
	if len(g.facts.Public) == 0 && len(g.config.Public.Addresses) == 0 {
		g.problems = append(g.problems, "no address of this machine has a way to the internet, so that no visitor can arrive: if there is one, name it as addresses under [public] in "+g.opts.Paths.ConfigFile(plan.Gate))
	}
}
