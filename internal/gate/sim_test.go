package gate

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// sim is a gate on a machine that stands in memory. In a bubble of synctest its days
// pass in moments.
type sim struct {
	*Gate
	Commands Commands
	channel  channel
	machine  *hosttest.Machine
	disk     *testDisk
	paths    layout.Paths
	told     *told
	homes    map[string]registry.Home
	stop     context.CancelFunc
}

// newSim returns a gate with these homes, of which no round has been made.
func newSim(t *testing.T, homes ...string) *sim {
	t.Helper()
	s := &sim{machine: hosttest.New(hosttest.VPS()), paths: layout.Paths{Root: t.TempDir()}, homes: map[string]registry.Home{}}
	must(t, os.MkdirAll(s.paths.Config(), 0o755))
	s.configure(t, leave)
	s.start(t)
	must(t, s.memory.begin(s.machine.SSHPorts))
	for _, name := range homes {
		s.enrol(t, name)
	}
	return s
}

// leave is a gate.toml that leaves the gate's own ports to others.
const leave = "[firewall]\ninput = \"leave\"\n"

// configure writes gate.toml.
func (s *sim) configure(t *testing.T, text string) {
	t.Helper()
	must(t, os.WriteFile(s.paths.ConfigFile(forward.Gate), []byte("version = 1\n"+text), 0o644))
}

// start makes a gate of what is on disk, as a new process does.
func (s *sim) start(t *testing.T) {
	t.Helper()
	st, err := store.Open(s.paths.State(), nil)
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	c, err := ReadConfig(s.paths)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	s.disk, s.told, s.stop = &testDisk{Store: st}, &told{}, cancel
	s.Gate, err = New(ctx, Options{Paths: s.paths, Log: slog.New(slog.DiscardHandler), Events: s.told, Config: c, Store: st, Machine: s.machine})
	must(t, err)
	s.memory.store = s.disk
	s.Commands, s.channel = Commands{Gate: s.Gate, stop: func() {}}, channel{s.Gate}
}

// run has the gate do all that it does by itself, until stop.
func (s *sim) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stop := s.stop
	s.stop = func() { stop(); cancel() }
	go func() { _ = supervise.Run(ctx, s.events, s.loops()...) }()
	synctest.Wait()
}

// restart is the end of the process and the begin of another one.
func (s *sim) restart(t *testing.T) {
	t.Helper()
	s.stop()
	synctest.Wait()
	s.start(t)
	s.run(t)
}

func (s *sim) enrol(t *testing.T, name string) {
	t.Helper()
	secret, err := key.NewSecret()
	must(t, err)
	private, err := key.NewPrivate()
	must(t, err)
	must(t, s.memory.change(func(r *registry.State) error {
		v, err := r.Invite(s.memory.state.Identity(), name, secret, time.Now(), time.Hour)
		if err != nil {
			return err
		}
		s.homes[name], err = r.Redeem(s.memory.state.Identity(), secret, v.Address4, private.Public(), time.Now())
		return err
	}))
}

// round makes one round.
func (s *sim) round(t *testing.T) {
	t.Helper()
	_, err := s.reconciler.Round(t.Context())
	must(t, err)
}

// push has a home publish one TCP port.
func (s *sim) push(ctx context.Context, home string, generation uint64, port uint16) error {
	_, err := s.channel.Push(ctx, s.homes[home].Address4, generation, tcp(port))
	return err
}

func tcp(port uint16) []forward.Published {
	return []forward.Published{{
		Name: fmt.Sprint("port", port), Families: forward.Families{IPv4: true},
		Ports: []forward.Ports{{Protocol: forward.TCP, Range: forward.Range{First: port, Last: port}}},
	}}
}

// settled fails unless the machine is as the gate wants it.
func (s *sim) settled(t *testing.T) {
	t.Helper()
	left, err := s.machine.Diff(t.Context(), s.memory.now().Plan(time.Now()))
	if err != nil || len(left) > 0 {
		t.Errorf("the machine is not as wanted: %v, %v", left, err)
	}
}

// hear lets a home be heard from where it is.
func (s *sim) hear(home string) { s.machine.Hear(s.homes[home].PublicKey, whereHomesAre, 128) }

var whereHomesAre = netip.MustParseAddrPort("203.0.113.7:40000")

// remembered is what is on disk.
func (s *sim) remembered(t *testing.T) (m stored) {
	t.Helper()
	_, err := s.disk.Load(storedName, &m)
	must(t, err)
	return m
}

// forward returns what the report says of the only forward that there is.
func (s *sim) forward(t *testing.T) (state, reason string) {
	t.Helper()
	r := s.Report(t.Context())
	if len(r.Forwards) != 1 {
		t.Fatalf("the report has %d forwards", len(r.Forwards))
	}
	return string(r.Forwards[0].State), r.Forwards[0].Reason
}

// told keeps what has happened.
type told struct {
	mu   sync.Mutex
	list []event.Fact
}

// Record implements event.Recorder.
func (r *told) Record(f event.Fact) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, f)
}

// count returns how many facts of a kind were told.
func (r *told) count(kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, f := range r.list {
		if f.Line().Kind == kind {
			n++
		}
	}
	return n
}

// testDisk is a disk that can be full, and slow.
type testDisk struct {
	*store.Store
	mu   sync.Mutex
	full bool
	slow chan struct{} // nil: it is quick
}

// Save implements disk.
func (d *testDisk) Save(name string, v any) error {
	d.mu.Lock()
	full, slow := d.full, d.slow
	d.mu.Unlock()
	if slow != nil {
		<-slow
	}
	if full {
		return syscall.ENOSPC
	}
	return d.Store.Save(name, v)
}

func (d *testDisk) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// hang has writes wait until they are released.
func (d *testDisk) hang() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	held := make(chan struct{})
	d.slow = held
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.slow = nil
		close(held)
	}
}
