package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/store"
)

// standing is a gate that does its work in a network namespace of its own, as
// its daemon does, but for what listens. Its homes are known by name.
type standing struct {
	*Gate
	Commands Commands
	channel  channel
	store    *store.Store
	machine  *host.Host
	ns       *netns.Namespace
	homes    map[string]registry.Home
}

const publicOfStanding = "198.51.100.2"

func newStanding(t testing.TB, homes ...string) *standing {
	t.Helper()
	s := &standing{ns: netnstest.New(t, "gate"), homes: map[string]registry.Home{}}
	paths, log := layout.Paths{Root: t.TempDir()}, slog.New(slog.DiscardHandler)
	must(t, os.MkdirAll(paths.Config(), 0o755))
	must(t, os.WriteFile(paths.ConfigFile(forward.Gate), []byte("version = 1\n[tunnel]\ndevice = \"embedded\"\n"), 0o644))
	st, err := store.Open(paths.State(), nil)
	must(t, err)
	c, err := ReadConfig(paths)
	must(t, err)
	run, err := store.Open(paths.Run(), nil)
	must(t, err)
	journal, _, err := run.Journal("boot")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s.do(t, func() error {
		links := "link add eth0 type bridge\naddr add " + publicOfStanding + "/24 dev eth0\nlink set eth0 up\nlink set lo up\nroute add default via 198.51.100.1\n"
		ip := exec.Command("ip", "-batch", "-")
		ip.Stdin = strings.NewReader(links)
		if out, err := ip.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		machine, err := host.Open(ctx, host.Options{Interface: "gatelodge", Device: "embedded", Journal: journal, Log: log})
		if err != nil {
			return err
		}
		s.machine = machine
		s.Gate, err = New(ctx, Options{Paths: paths, Log: log, Events: event.Log{To: log}, Config: c, Store: st, Machine: machine})
		return err
	})
	s.Commands, s.channel, s.store = Commands{Gate: s.Gate, stop: func() {}}, channel{s.Gate}, st
	must(t, s.memory.begin(s.machine.SSHPorts))
	t.Cleanup(func() {
		cancel()
		must(t, s.machine.Close())
		must(t, st.Close())
	})
	for _, name := range homes {
		s.enrol(t, name)
	}
	s.do(t, func() error {
		_, err := s.reconciler.Round(t.Context())
		return err
	})
	return s
}

// do runs something in the gate's namespace.
func (s *standing) do(t testing.TB, f func() error) {
	t.Helper()
	if err := s.ns.Do(f); err != nil {
		t.Error(err)
	}
}

func (s *standing) enrol(t testing.TB, name string) {
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

// wish is a list of forwards that is another in each round of pushes.
func wish(home, round, forwards int) []forward.Published {
	list := make([]forward.Published, forwards)
	for i := range list {
		port := uint16(10000 + home*5000 + (round%2)*2500 + i)
		list[i] = forward.Published{
			Name:     fmt.Sprintf("r%d-%d", round, i),
			Ports:    []forward.Ports{{Protocol: forward.UDP, Range: forward.Range{First: port, Last: port}}},
			Families: forward.Families{IPv4: true},
		}
	}
	return list
}

// inDevice reports whether a home's key is in the WireGuard device.
func (s *standing) inDevice(t testing.TB, home string) bool {
	t.Helper()
	var peers []plan.ObservedPeer
	s.do(t, func() (err error) {
		peers, err = s.machine.Peers(context.Background())
		return err
	})
	return slices.ContainsFunc(peers, func(p plan.ObservedPeer) bool { return p.PublicKey == s.homes[home].PublicKey })
}

// Whatever takes time on a gate, a round that is under way and a disk that is
// slow, neither the owner's look at it nor a home's question waits for it, and a
// key that is revoked opens nothing meanwhile.
func TestNobodyWaitsForARoundOrTheDisk(t *testing.T) {
	s := newStanding(t, "attic", "barn")
	held, release := make(chan struct{}), make(chan struct{})
	go s.reconciler.Alone(t.Context(), func() error { close(held); <-release; return nil })
	<-held
	s.memory.writing.Lock()
	ctx := t.Context()
	s.do(t, func() error {
		if r := s.Report(ctx); len(r.Homes) != 2 {
			t.Errorf("the report has %d homes", len(r.Homes))
		}
		if _, err := s.channel.State(ctx, s.homes["barn"].Address4); err != nil {
			t.Errorf("a home that asks for its state: %v", err)
		}
		return nil
	})
	s.do(t, func() error { return s.renewSilent(ctx) })
	if s.silences.Known() < 2 {
		t.Errorf("the gate has listened for %d homes: one that is locked out by its clock would wait", s.silences.Known())
	}
	revoked := make(chan error, 1)
	go func() {
		revoked <- s.ns.Do(func() error { return s.Commands.Revoke(ctx, local.RevokeRequest{Name: "attic"}) })
	}()
	waitFor(t, "the revoked key to leave the device while something else is under way", func() bool { return !s.inDevice(t, "attic") })
	select {
	case err := <-revoked:
		t.Fatalf("the revocation counts as done before it is on disk: %v", err)
	default:
	}
	s.memory.writing.Unlock()
	close(release)
	must(t, <-revoked)
	if _, known := s.memory.state.Registry.HomeByName("attic"); known || s.inDevice(t, "attic") || !s.inDevice(t, "barn") {
		t.Error("after all that the wrong home is gone")
	}
}

// A round that was planned before a revocation does not bring the key back.
func TestARoundUnderWayDoesNotBringARevokedKeyBack(t *testing.T) {
	s := newStanding(t, "attic", "barn")
	older := s.memory.now().Plan(time.Now())
	s.do(t, func() error { return s.Commands.Revoke(t.Context(), local.RevokeRequest{Name: "attic"}) })
	older.WireGuard.ListenPort++ // so that there is something to do
	s.do(t, func() error {
		_, err := s.machine.Apply(t.Context(), older)
		return err
	})
	if s.inDevice(t, "attic") || !s.inDevice(t, "barn") {
		t.Error("the older plan has brought the revoked key back")
	}
}

// A disk that takes no writes keeps nobody from being revoked: it is said, holds
// at once, and is written down when it can be.
func TestRevokeWithoutADisk(t *testing.T) {
	s := newStanding(t, "attic", "barn")
	must(t, s.store.Close())
	var err error
	s.do(t, func() error { err = s.Commands.Revoke(t.Context(), local.RevokeRequest{Name: "attic"}); return nil })
	if err == nil || !strings.Contains(err.Error(), `"attic" is revoked`) {
		t.Errorf("it says %v", err)
	}
	if s.inDevice(t, "attic") {
		t.Error("the key is in the device")
	}
	s.memory.store, err = store.Open(s.paths.State(), nil)
	must(t, err)
	s.do(t, func() error { _, err := s.reconciler.Round(t.Context()); return err })
	var m stored
	if _, err := s.memory.store.Load(storedName, &m); err != nil || len(m.Registry.Homes) != 1 {
		t.Errorf("on disk are %+v, %v", m.Registry, err)
	}
	if err := s.Commands.Revoke(t.Context(), local.RevokeRequest{Name: "attic"}); err == nil || s.memory.admits(s.homes["attic"].PublicKey) {
		t.Errorf("revoked twice: %v", err)
	}
}

// pushers push for some homes until they are stopped, each another list as soon
// as the one before is in force and the pause is over, and return how long each
// push took.
func (s *standing) pushers(t testing.TB, homes []string, forwards int, pause time.Duration) (stop func() []time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	for i, name := range homes {
		all.Go(func() {
			s.do(t, func() error {
				for round := 1; ctx.Err() == nil; round++ {
					begin := time.Now()
					if _, err := s.channel.Push(t.Context(), s.homes[name].Address4, uint64(round), wish(i, round, forwards)); err != nil {
						return fmt.Errorf("push %d of %s: %w", round, name, err)
					}
					mu.Lock()
					took = append(took, time.Since(begin))
					mu.Unlock()
					select {
					case <-ctx.Done():
					case <-time.After(pause - time.Since(begin)):
					}
				}
				return nil
			})
		})
	}
	return func() []time.Duration {
		cancel()
		all.Wait()
		slices.Sort(took)
		return took
	}
}

// Eight homes push as fast as they can, while the owner looks, invites, applies
// and revokes, and nothing gets lost. With the race detector this also shows
// that what the rounds read is guarded.
func TestEverybodyAtOnce(t *testing.T) {
	greedy := []string{"h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"}
	s := newStanding(t, append(greedy, "attic")...)
	stop := s.pushers(t, greedy, 10, 0)
	ctx := t.Context()
	s.do(t, func() error {
		for i := range 5 {
			s.Report(ctx)
			if _, err := s.channel.State(ctx, s.homes["attic"].Address4); err != nil {
				return err
			}
			if _, err := s.Commands.Apply(ctx, local.ApplyRequest{LeaveInput: true}); err != nil {
				return err
			}
			if _, err := s.Plan(ctx); err != nil {
				return err
			}
			if err := s.rememberEndpoints(ctx); err != nil {
				return err
			}
			if err := s.renewSilent(ctx); err != nil {
				return err
			}
			name := fmt.Sprintf("new%d", i)
			if _, err := s.Commands.Invite(ctx, local.InviteRequest{Name: name, For: time.Hour}); err != nil {
				return err
			}
			if err := s.Commands.Revoke(ctx, local.RevokeRequest{Name: name}); err != nil {
				return err
			}
		}
		return s.Commands.Revoke(ctx, local.RevokeRequest{Name: "attic"})
	})
	if took := stop(); len(took) < len(greedy) {
		t.Errorf("only %d pushes came through", len(took))
	}
	var m stored
	if _, err := s.memory.store.Load(storedName, &m); err != nil || len(m.Registry.Homes) != len(greedy) {
		t.Errorf("on disk are %d homes: %v", len(m.Registry.Homes), err)
	}
	want := s.memory.now().Plan(time.Now())
	s.do(t, func() error {
		if left, err := s.machine.Diff(ctx, want); err != nil || len(left) > 0 {
			t.Errorf("the machine is not as wanted: %v, %v", left, err)
		}
		return nil
	})
}

// BenchmarkRevoke measures how long a revocation takes beside eight homes which
// replace 250 forwards each once a second, as often as the control channel lets
// them, with 64k flows in the conntrack table, and how long another home's push
// takes meanwhile.
func BenchmarkRevoke(b *testing.B) {
	greedy := []string{"h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"}
	s := newStanding(b, append(greedy, "attic", "barn")...)
	s.do(b, func() error {
		list := []forward.Published{{Name: "echo", Ports: []forward.Ports{{Protocol: forward.UDP, Range: forward.Range{First: 7000, Last: 7000}}}, Families: forward.Families{IPv4: true}}}
		_, err := s.channel.Push(b.Context(), s.homes["attic"].Address4, 1, list)
		if err != nil {
			return err
		}
		return s.fill(64000)
	})
	var freer sync.WaitGroup
	freeing, end := context.WithCancel(b.Context())
	freer.Go(func() {
		s.do(b, func() error { _ = s.freer.Run(freeing); return nil }) // until it is ended
	})
	defer freer.Wait()
	defer end()
	stop := s.pushers(b, greedy, 250, time.Second)
	others := s.pushers(b, []string{"barn"}, 5, 250*time.Millisecond)
	time.Sleep(10 * time.Second)
	gone := make(chan time.Duration, 1)
	begin := time.Now()
	go func() {
		for s.inDevice(b, "attic") {
			time.Sleep(time.Millisecond)
		}
		gone <- time.Since(begin)
	}()
	s.do(b, func() error { return s.Commands.Revoke(b.Context(), local.RevokeRequest{Name: "attic"}) })
	whole := time.Since(begin)
	b.ReportMetric((<-gone).Seconds()*1000, "ms-key-out")
	b.ReportMetric(whole.Seconds()*1000, "ms-revoke")
	report := func(name string, took []time.Duration) {
		b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms-"+name+"-median")
		b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "ms-"+name+"-p99")
	}
	report("other-push", others())
	report("greedy-push", stop())
}

// fill makes flows from the gate's own address to a port of its own that nobody
// listens on: in a forward it would have a visitor's share alone.
func (s *standing) fill(n int) error {
	for i := range n {
		if uint16(1024+i) == s.memory.state.Config.Tunnel.ListenPort {
			continue
		}
		c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(publicOfStanding), uint16(1024+i))),
			net.UDPAddrFromAddrPort(netip.MustParseAddrPort(publicOfStanding+":9")))
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("?"))
		if err := errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	return nil
}
