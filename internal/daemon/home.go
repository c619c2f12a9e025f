package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// home is the daemon of a server at home.
type home struct {
	opts  Options
	log   *slog.Logger
	store *store.Store
	host  *host.Host
	loop  *loop
	ready *readiness
	keep  *keeper
	push  *pusher
	since time.Time

	others others // firewalls of this machine
	damage string // what was wrong with the stored memory at the start

	apply  sync.Mutex // one at a time brings the machine to the wanted state; before mu
	visits visits     // guarded by apply

	mu       sync.Mutex // guards what follows
	config   config.Home
	memory   homeMemory
	facts    plan.Facts
	endpoint netip.AddrPort // where the gate is tried at
	gateMTU  int            // of the tunnel at the gate; 0: not known
	left     bool           // the tunnel, to another run of this home (see standBack)
	problems []string
	failed   string // why the last round could not set the machine up
}

// homeMemory is what a home remembers, as it is stored.
type homeMemory struct {
	PrivateKey store.PrivateKey `json:"private_key"`
	Joined     *membership      `json:"joined,omitempty"`
	// Generation numbers the lists of forwards that this home pushes.
	Generation uint64 `json:"generation"`
	// LastEndpoint is where the gate last answered: the first try of the next
	// start, which may be one without DNS.
	LastEndpoint netip.AddrPort `json:"last_endpoint,omitzero"`
}

// membership is what a home was told when it joined.
type membership struct {
	Name          string       `json:"name"`
	Addresses     []netip.Addr `json:"addresses"` // ours in the tunnel
	GatePublicKey key.Public   `json:"gate_public_key"`
	GateAddresses []netip.Addr `json:"gate_addresses"`
	ControlPort   uint16       `json:"control_port"`
	Endpoints     []string     `json:"endpoints"`
}

// homeName is the name of that memory in the store.
const homeName = "home"

// homeRound is how often a home looks at itself without being asked.
const homeRound = 20 * time.Second

func runHome(ctx context.Context, stop context.CancelFunc, o Options, st *store.Store, ready func()) error {
	h, err := newHome(ctx, o, st)
	if err != nil {
		return err
	}
	defer func() {
		if err := h.host.Close(); err != nil {
			h.log.Error("closing", "error", err)
		}
	}()
	life := newLife(o, h.loop, h.ready, h.summary)
	h.ready.then(func() { ready(); life.ready() })
	hangups(ctx, o.Log, life, h.reload, h.loop.kick)
	return runTasks(ctx, o.Log, h.loop, life, h.keep, h.push.loop,
		newWatcher(h.host, o.Log, h.loop.nudge),
		newLocalServer(o.Paths.Socket(), h, stop, o.Log).loop())
}

// newHome loads what the home needs to know and changes nothing.
func newHome(ctx context.Context, o Options, st *store.Store) (*home, error) {
	h := &home{opts: o, log: o.Log, store: st, since: time.Now(), ready: newReadiness(machineStands)}
	var err error
	if h.config, err = h.readConfig(); err != nil {
		return nil, err
	}
	if err := h.recall(); err != nil {
		return nil, err
	}
	h.endpoint = h.memory.LastEndpoint
	h.host, err = openHost(ctx, o, h.config.Tunnel.Interface, h.config.Tunnel.Device)
	if err != nil {
		return nil, err
	}
	h.loop = newLoop("home", homeRound, o.Log, func(ctx context.Context) error {
		_, err := h.reconcile(ctx)
		return err
	})
	h.push = newPusher(h)
	h.keep = newKeeper(h)
	return h, nil
}

func (h *home) readConfig() (config.Home, error) {
	file := h.opts.Paths.ConfigFile(plan.Home)
	data, err := os.ReadFile(file)
	if err != nil {
		return config.Home{}, err
	}
	return config.ParseHome(file, data)
}

func (h *home) recall() error {
	loaded, err := h.store.Load(homeName, &h.memory)
	if err != nil {
		return err
	}
	if loaded.Warning != "" {
		h.log.Error("state", "warning", loaded.Warning)
		h.damage = loaded.Warning
	}
	if !loaded.Found || h.memory.Joined == nil {
		return &RefusedError{Message: "this home has not joined a gate yet", Hint: "on the gate: gatelodge gate invite NAME; here: gatelodge join INVITE"}
	}
	if h.memory.PrivateKey.IsZero() {
		return fmt.Errorf("the home's memory in %s holds no key", h.store.Dir())
	}
	return nil
}

// remember changes the memory: first on disk, then for all.
func (h *home) remember(f func(m *homeMemory)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := h.memory
	f(&next)
	if err := h.store.Save(homeName, next); err != nil {
		return err
	}
	h.memory = next
	return nil
}

// reconcile brings the machine to what the configuration says: gather facts,
// plan, observe, apply the difference, publish. The file itself is read again
// only when its owner asks (reload): it may be half edited at any other time.
func (h *home) reconcile(ctx context.Context) ([]plan.Change, error) {
	h.apply.Lock()
	defer h.apply.Unlock()
	h.mu.Lock()
	c := h.config
	h.mu.Unlock()
	facts, err := h.gather(ctx, c)
	if err == nil {
		err = h.refuseOverlap(facts)
	}
	if err != nil {
		h.publish(facts, err)
		return nil, err
	}
	want := h.want(facts)
	changes, err := h.host.Apply(ctx, want)
	logChanges(h.log, changes)
	left := h.settle(changes, want.Firewall.Home, err)
	h.publish(facts, errors.Join(err, left))
	h.others.look(ctx, h.opts.Paths, h.want(facts), facts, h.log)
	if err == nil {
		step.At("home: machine stands")
		h.ready.reach(machineStands)
		h.push.kick()
	}
	return changes, errors.Join(err, left)
}

// reload reads the configuration again. A file that is wrong leaves the last
// good one in force.
func (h *home) reload() error {
	c, err := h.readConfig()
	if err != nil {
		return err
	}
	h.apply.Lock()
	defer h.apply.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := sameInstance(h.config.Tunnel.Interface, c.Tunnel.Interface); err != nil {
		return err
	}
	h.config = c
	return nil
}

// gather finds out about the machine, and about the way to the gate if it is
// known already where that is, as a configuration needs it.
func (h *home) gather(ctx context.Context, c config.Home) (plan.Facts, error) {
	h.mu.Lock()
	endpoint := h.endpoint
	h.mu.Unlock()
	facts, err := h.host.Facts(ctx, c.Tunnel.Interface)
	if err != nil {
		return facts, err
	}
	facts.Led, err = host.Led(c.Forwards, facts, c.Tunnel.Interface)
	if err != nil || !endpoint.IsValid() {
		return facts, err
	}
	// Without a route there is nothing to derive from, and that is for the
	// keeper to say.
	if mtu, err := h.host.MTUTo(ctx, endpoint.Addr(), c.Marks.Outer); err == nil {
		facts.UnderlayMTU = mtu
	}
	return facts, nil
}

// refuseOverlap stops before the tunnel takes an address that means something
// else here: a network that was joined later, for instance.
func (h *home) refuseOverlap(facts plan.Facts) error {
	h.mu.Lock()
	joined := h.memory.Joined
	h.mu.Unlock()
	for _, a := range slices.Concat(joined.Addresses, joined.GateAddresses) {
		if n, overlaps := plan.Overlap(netip.PrefixFrom(a, a.BitLen()), facts); overlaps {
			return fmt.Errorf("the tunnel's address %s lies in %s, a network of this machine's interface %s: one of the two must move; the tunnel's is prefix4 in the gate's gate.toml, after which homes join again", a, n.Prefix, n.Interface)
		}
	}
	return nil
}

// want plans this home as it should be now.
func (h *home) want(facts plan.Facts) plan.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wantWith(h.config, facts)
}

// wantWith plans this home with a configuration. The caller holds mu.
func (h *home) wantWith(c config.Home, facts plan.Facts) plan.State {
	j := h.memory.Joined
	want := plan.ForHome(c, plan.HomeInput{
		PrivateKey:    h.memory.PrivateKey.Private,
		Addresses:     j.Addresses,
		GatePublicKey: j.GatePublicKey,
		GateAddresses: j.GateAddresses,
		Endpoint:      h.endpoint,
		ControlPort:   j.ControlPort,
		GateMTU:       h.gateMTU,
		GatePublic:    routable(h.listed(c)),
		Granted:       h.push.granted(publishedOf(c.Forwards)),
	}, facts)
	if h.left {
		want.WireGuard.Peers = nil
	}
	return want
}

// publish notes the outcome for status.
func (h *home) publish(facts plan.Facts, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts = facts
	h.problems, h.failed = nil, ""
	if err != nil {
		h.problems, h.failed = []string{err.Error()}, err.Error()
	}
}

// moveTo makes the tunnel try the gate at an address, from another port and
// with a new handshake.
func (h *home) moveTo(ctx context.Context, endpoint netip.AddrPort) error {
	h.mu.Lock()
	h.endpoint = endpoint
	h.mu.Unlock()
	if _, err := h.reconcile(ctx); err != nil {
		return err
	}
	h.apply.Lock()
	defer h.apply.Unlock()
	h.mu.Lock()
	facts := h.facts
	h.mu.Unlock()
	return h.host.Redial(ctx, h.want(facts))
}

// beginAnew makes a new handshake with the gate, from the same port.
func (h *home) beginAnew(ctx context.Context) error {
	h.apply.Lock()
	defer h.apply.Unlock()
	h.mu.Lock()
	facts, gate := h.facts, h.memory.Joined.GatePublicKey
	h.mu.Unlock()
	return h.host.Renew(ctx, h.want(facts), []key.Public{gate})
}

// gatePeer returns the gate as the WireGuard device sees it.
func (h *home) gatePeer(ctx context.Context) (plan.ObservedPeer, error) {
	h.mu.Lock()
	gate := h.memory.Joined.GatePublicKey
	h.mu.Unlock()
	peers, err := h.host.Peers(ctx)
	if err != nil {
		return plan.ObservedPeer{}, err
	}
	for _, p := range peers {
		if p.PublicKey == gate {
			return p, nil
		}
	}
	return plan.ObservedPeer{}, errors.New("the tunnel's device does not have the gate as its peer")
}

// where returns where the gate is tried at now.
func (h *home) where() netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.endpoint
}

// lastEndpoint returns where the gate last answered.
func (h *home) lastEndpoint() netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.memory.LastEndpoint
}

// rememberEndpoint notes where the gate has just answered.
func (h *home) rememberEndpoint(ctx context.Context) error {
	gate, err := h.gatePeer(ctx)
	if err != nil || !gate.Endpoint.IsValid() || gate.Endpoint == h.lastEndpoint() {
		return err
	}
	return h.remember(func(m *homeMemory) { m.LastEndpoint = gate.Endpoint })
}

// hasRoute reports whether this machine can send to addr outside the tunnel.
func (h *home) hasRoute(ctx context.Context, addr netip.Addr) bool {
	h.mu.Lock()
	mark := h.config.Marks.Outer
	h.mu.Unlock()
	_, err := h.host.MTUTo(ctx, addr, mark)
	return err == nil
}

// ends returns our own address in the tunnel and the gate's control channel.
func (h *home) ends() (own netip.Addr, gate netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := h.memory.Joined
	return j.Addresses[0], netip.AddrPortFrom(j.GateAddresses[0], j.ControlPort)
}

// agreeMTU notes the MTU of the tunnel at the gate. The smaller one of both sides
// is the one that packets fit through.
func (h *home) agreeMTU(gate int) {
	h.mu.Lock()
	changed := h.gateMTU != gate
	h.gateMTU = gate
	h.mu.Unlock()
	if changed {
		h.loop.kick()
	}
}

// nextGeneration numbers the next list of forwards, and has the number on disk
// before the gate hears of it.
func (h *home) nextGeneration(theirs uint64) (uint64, error) {
	err := h.remember(func(m *homeMemory) { m.Generation = generationAfter(m.Generation, theirs) })
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.memory.Generation, err
}
