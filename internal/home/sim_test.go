package home

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// The gate of these tests, and where it is dialled first.
var (
	gateKey   = key.Public{1}
	gateFirst = netip.MustParseAddrPort("198.51.100.1:55107")
)

// simulation is a home whose machine stands in memory, with a gate that answers its
// pings as the test says. Its clock is that of a bubble, so that ten minutes of
// outage pass in milliseconds.
type simulation struct {
	*Home
	machine *hosttest.Machine
	gate    *fakeGate
	runs    *ping.Runs
	events  *recorded

	mu      sync.Mutex                   // guards what follows
	reached func(at netip.AddrPort) bool // whether what is sent to there arrives
	alive   bool                         // the gate's daemon
	refuses bool                         // the gate's kernel refuses connections
	lost    bool                         // pings are lost in the tunnel, and nothing else
	twin    bool                         // another run of this home has the tunnel
	several bool                         // another run was told to leave it
	port    uint16                       // of TCP at which the gate's machine answers; 0: none
}

// recorded keeps what was recorded, from several goroutines.
type recorded struct {
	mu    sync.Mutex
	facts []event.Fact
}

func (r *recorded) Record(f event.Fact) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.facts = append(r.facts, f)
}

// count returns how many facts of that kind were recorded.
func (r *recorded) count(kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, f := range r.facts {
		if f.Line().Kind == kind {
			n++
		}
	}
	return n
}

const simulated = `version = 1
[gate]
endpoints = ["198.51.100.1:55107", "203.0.113.1:55107"]
[forward.web]
ports = ["443/tcp"]
`

func newSimulation(t *testing.T) *simulation {
	t.Helper()
	s := &simulation{machine: hosttest.New(hosttest.Server()), gate: &fakeGate{}, runs: ping.NewRuns(), events: &recorded{}, alive: true}
	s.reached = func(at netip.AddrPort) bool { return at == gateFirst }
	s.machine.Do(func(w *hosttest.World) { w.MTU = 1500 })
	paths := layout.Paths{Root: t.TempDir()}
	must(t, os.MkdirAll(paths.Config(), 0o755))
	must(t, os.WriteFile(paths.ConfigFile(forward.Home), []byte(simulated), 0o644))
	c, err := ReadConfig(paths)
	must(t, err)
	st, err := store.Open(paths.State(), nil)
	must(t, err)
	private, err := key.NewPrivate()
	must(t, err)
	must(t, st.Save(membership.StoredName, membership.Memory{PrivateKey: store.PrivateKey{Private: private}, Joined: &membership.Membership{
		Name: "attic", Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2")}, GatePublicKey: gateKey,
		GateAddresses: []netip.Addr{netip.MustParseAddr("10.99.0.1")}, ControlPort: 55108, Endpoints: []string{gateFirst.String()},
	}}))
	s.Home, err = New(t.Context(), Options{Paths: paths, Log: slog.New(slog.DiscardHandler), Events: s.events, Config: c, Store: st, Machine: s.machine})
	must(t, err)
	s.link.push.ask = func() publisher { return s.gate }
	s.link.keep.beyond = beyond{
		names:   nobody{},
		dial:    func(netip.Addr) control.Dial { return s.dial },
		answers: func(context.Context, netip.Addr, []uint16) uint16 { s.mu.Lock(); defer s.mu.Unlock(); return s.port },
	}
	return s
}

// nobody is a name server that knows no name.
type nobody struct{}

func (nobody) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, errors.New("no such name")
}

// start runs what a home does until the test ends.
func (s *simulation) start(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- supervise.Run(ctx, s.events, s.link.loop, s.link.keep, s.link.push.loop) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("a task ended with %v", err)
		}
	}
}

// set changes the world.
func (s *simulation) set(f func(s *simulation)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// arrives reports whether what this home sends into the tunnel reaches the gate's
// machine.
func (s *simulation) arrives() bool {
	at := netip.AddrPort{}
	s.machine.Do(func(w *hosttest.World) {
		if i := slices.IndexFunc(w.Device.Peers, func(p plan.ObservedPeer) bool { return p.PublicKey == gateKey }); i >= 0 {
			at = w.Device.Peers[i].Endpoint
		}
	})
	return at.IsValid() && s.reached(at)
}

// dial is a connection into the tunnel.
func (s *simulation) dial(_ context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case network == "udp":
		return &pinged{world: s, answer: make(chan []byte, 1), closed: make(chan struct{})}, nil
	case s.arrives() && s.refuses:
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	default:
		return nil, os.ErrDeadlineExceeded
	}
}

// pinged is a socket for one ping.
type pinged struct {
	net.Conn
	world  *simulation
	answer chan []byte
	once   sync.Once
	closed chan struct{}
}

// Write has the gate hear a ping, and answer it as it would.
func (p *pinged) Write(packet []byte) (int, error) {
	s := p.world
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.arrives() {
		return len(packet), nil
	}
	s.machine.Hear(gateKey, netip.AddrPort{}, 32) // WireGuard itself
	if s.alive && !s.lost {
		p.answer <- s.pong(packet)
	}
	return len(packet), nil
}

// pong is the gate's answer: that of package ping, and with a twin what that says.
func (s *simulation) pong(packet []byte) []byte {
	answer := slices.Clone(packet)
	const kind, flags = 4, 5
	answer[kind] = 'r'
	if s.twin {
		answer[kind] = 's'
		answer[flags] |= 1 << 2
	}
	if s.several {
		answer[flags] |= 1 << 2
	}
	return answer
}

func (p *pinged) Read(buffer []byte) (int, error) {
	select {
	case a := <-p.answer:
		return copy(buffer, a), nil
	case <-p.closed:
		return 0, os.ErrDeadlineExceeded
	}
}

// SetDeadline is called when time is up.
func (p *pinged) SetDeadline(time.Time) error { return p.Close() }

func (p *pinged) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// up reports whether the tunnel counts as up.
func (s *simulation) up() bool {
	up, _, _ := s.link.keep.state()
	return up
}

// within fails unless something comes about before so much time has passed, and
// returns when it did.
func (s *simulation) within(t *testing.T, limit time.Duration, what string, is func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !is() {
		if time.Since(begin) > limit {
			t.Fatalf("not within %s: %s; problems: %v", limit, what, s.keepProblem())
		}
		time.Sleep(100 * time.Millisecond)
	}
	return time.Since(begin)
}

// simulate runs a test in a bubble, with a home whose tunnel is up.
func simulate(t *testing.T, test func(t *testing.T, s *simulation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(t)
		stop := s.start(t)
		s.within(t, 10*time.Second, "the tunnel is up", s.up)
		s.within(t, 10*time.Second, "the gate holds what is published", func() bool { return len(s.gate.list()) == 1 })
		test(t, s)
		stop()
	})
}
