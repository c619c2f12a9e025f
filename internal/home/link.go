package home

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/reconcile"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// link is this home's link to one gate: the membership, the tunnel that is kept
// alive, and what is published there.
type link struct {
	paths      layout.Paths
	log        *slog.Logger
	events     event.Recorder
	store      *store.Store
	machine    host.Machine
	reconciler *reconcile.Reconciler
	loop       *supervise.Loop
	keep       *keeper
	push       *pusher
	damage     string // what was wrong with the stored memory at the start

	// writing is held while what is on disk is changed, and is taken before mu,
	// which is never held while anything waits.
	writing sync.Mutex

	mu       sync.Mutex // guards what follows
	config   config.Home
	memory   membership.Memory
	facts    plan.Facts
	endpoint netip.AddrPort // where the gate is tried at
	gateMTU  int            // of the tunnel at the gate; 0: not known
	left     bool           // the tunnel, to another run of this home (see standBack)
	problems []string
	failed   string // why the last round could not set the machine up
}

// newLink returns the link to the gate that this home has joined.
func newLink(o Options) (*link, error) {
	l := &link{paths: o.Paths, log: o.Log, events: o.Events, store: o.Store, machine: o.Machine, config: o.Config}
	if err := l.recall(); err != nil {
		return nil, err
	}
	l.endpoint = l.memory.LastEndpoint
	l.push = newPusher(l)
	l.keep = newKeeper(l)
	return l, nil
}

// ReadConfig reads home.toml of an instance.
func ReadConfig(p layout.Paths) (config.Home, error) {
	file := p.ConfigFile(forward.Home)
	data, err := os.ReadFile(file)
	if err != nil {
		return config.Home{}, err
	}
	return config.ParseHome(file, data)
}

func (l *link) recall() error {
	loaded, err := l.store.Load(membership.StoredName, &l.memory)
	if err != nil {
		return err
	}
	if loaded.Warning != "" {
		l.events.Record(event.StateDamaged{Warning: loaded.Warning})
		l.damage = loaded.Warning
	}
	if !loaded.Found || l.memory.Joined == nil {
		return &local.RefusedError{Message: "this home has not joined a gate yet", Hint: "on the gate: gatelodge gate invite NAME; here: gatelodge join INVITE"}
	}
	if l.memory.PrivateKey.IsZero() {
		return fmt.Errorf("the home's memory in %s holds no key", l.store.Dir())
	}
	return nil
}

// remember changes the memory: first on disk, then for all.
func (l *link) remember(f func(m *membership.Memory)) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	next := l.memory
	l.mu.Unlock()
	f(&next)
	if err := l.store.Save(membership.StoredName, next); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memory = next
	return nil
}

// reload reads the configuration again. A file that is wrong leaves the last
// good one in force.
func (l *link) reload() error {
	c, err := ReadConfig(l.paths)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := plan.SameInstance(l.config.Tunnel.Interface, c.Tunnel.Interface); err != nil {
		return err
	}
	l.config = c
	return nil
}

// gather finds out about the machine, and about the way to the gate if it is
// known already where that is, as a configuration needs it.
func (l *link) gather(ctx context.Context, c config.Home) (plan.Facts, error) {
	l.mu.Lock()
	endpoint := l.endpoint
	l.mu.Unlock()
	facts, err := l.machine.Facts(ctx, c.Tunnel.Interface)
	if err != nil {
		return facts, err
	}
	facts.Led, err = l.machine.Led(c.Forwards, facts, c.Tunnel.Interface)
	if err != nil || !endpoint.IsValid() {
		return facts, err
	}
	// Without a route there is nothing to derive from, and that is for the
	// keeper to say.
	if mtu, err := l.machine.MTUTo(ctx, endpoint.Addr(), c.Marks.Outer); err == nil {
		facts.UnderlayMTU = mtu
	}
	return facts, nil
}

// want plans this home as it should be now.
func (l *link) want(facts plan.Facts) plan.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wantWith(l.config, facts)
}

// wantWith plans this home with a configuration. The caller holds mu.
func (l *link) wantWith(c config.Home, facts plan.Facts) plan.State {
	j := l.memory.Joined
	want := plan.ForHome(c, plan.HomeInput{
		PrivateKey:    l.memory.PrivateKey.Private,
		Addresses:     j.Addresses,
		GatePublicKey: j.GatePublicKey,
		GateAddresses: j.GateAddresses,
		Endpoint:      l.endpoint,
		ControlPort:   j.ControlPort,
		GateMTU:       l.gateMTU,
		GatePublic:    plan.RoutableEndpoints(listed(c, j)),
		Granted:       l.push.granted(publishedOf(c.Forwards)),
	}, facts)
	if l.left {
		want.WireGuard.Peers = nil
	}
	return want
}

// publish notes the outcome for status.
func (l *link) publish(facts plan.Facts, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts = facts
	l.problems, l.failed = nil, ""
	if err != nil {
		l.problems, l.failed = []string{err.Error()}, err.Error()
	}
}
