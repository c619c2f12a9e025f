package home

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// A machine on which the rules cannot be set up is tried again with growing pauses, is
// not ready, says why, and is well by itself.
func TestARoundThatFailsComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(t)
		s.machine.Fail(hosttest.Apply, errors.New("no memory"), 5)
		stop := s.start(t)
		time.Sleep(2 * time.Second)
		if supervise.IsReady(s.link.loop) {
			t.Error("it is ready")
		}
		if r := s.Report(t.Context()); !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, "no memory") }) {
			t.Errorf("status says %q", r.Problems)
		}
		s.within(t, time.Minute, "it is ready", func() bool { return supervise.IsReady(s.link.loop) })
		s.within(t, time.Minute, "the tunnel is up", s.up)
		if r := s.Report(t.Context()); len(r.Problems) != 0 || len(r.Drift) != 0 {
			t.Errorf("status says %q, drift %q", r.Problems, r.Drift)
		}
		stop()
	})
}

// Visits that cannot be ended are tried again, although the rules stand.
func TestVisitsThatCannotBeEndedAreTriedAgain(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		s.machine.Fail(hosttest.EndVisits, errors.New("no conntrack"), 1)
		was := s.machine.Count(hosttest.EndVisits)
		must(t, os.WriteFile(s.paths.ConfigFile(forward.Home), []byte(strings.Replace(simulated, "443/tcp", "8443/tcp", 1)), 0o644))
		if _, err := (Commands{Home: s.Home}).Apply(t.Context(), local.ApplyRequest{}); err == nil {
			t.Error("apply says that all is well")
		}
		s.within(t, time.Minute, "they are ended", func() bool { return s.machine.Count(hosttest.EndVisits) >= was+2 })
	})
}

// apply has a file carried out, and returns what the gate says to each forward.
func (s *simulation) apply(t *testing.T, text string) (local.ApplyResponse, error) {
	t.Helper()
	must(t, os.WriteFile(s.paths.ConfigFile(forward.Home), []byte(text), 0o644))
	return (Commands{Home: s.Home}).Apply(t.Context(), local.ApplyRequest{})
}

// apply waits for the gate's word on each forward, and tells what was edited.
func TestApplyWaitsForTheGate(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		r, err := s.apply(t, simulated+"[forward.game]\nports = [\"25565/udp\"]\nlimit = { new_connections = \"20/second\" }\n")
		must(t, err)
		var told []string
		for _, c := range r.Changes {
			told = append(told, c.String())
		}
		if !slices.Contains(told, "+ forward game 25565/udp → this host, limit 20/second") {
			t.Errorf("it tells %q", told)
		}
		if len(r.Report.Forwards) != 2 || r.Report.Forwards[1].State != "granted" {
			t.Errorf("the report: %+v", r.Report.Forwards)
		}
		r, err = s.apply(t, simulated+"[forward.game]\nports = [\"25565/udp\"]\nlimit = { new_connections = \"50/second\" }\n")
		must(t, err)
		if len(r.Changes) == 0 || r.Changes[0].String() != "~ forward game: limit 20/second → 50/second" {
			t.Errorf("it tells %v", r.Changes)
		}
	})
}

// A gate that does not answer is not waited for beyond a few seconds, and the forward
// is pending.
func TestApplyDoesNotWaitForEver(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		s.gate.hang(true)
		begin := time.Now()
		r, err := s.apply(t, simulated+"[forward.game]\nports = [\"25565/udp\"]\n")
		must(t, err)
		if took := time.Since(begin); took > verdictTime+2*time.Second {
			t.Errorf("it took %s", took)
		}
		if len(r.Report.Forwards) != 2 || r.Report.Forwards[1].State != "pending" {
			t.Errorf("the report: %+v", r.Report.Forwards)
		}
		s.gate.hang(false)
		s.within(t, time.Minute, "the gate holds both", func() bool { return len(s.gate.list()) == 2 })
	})
}

// A file that is wrong leaves the last good one in force, and says where it is wrong.
func TestAWrongFileLeavesTheLastOne(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		for text, says := range map[string]string{
			"version = 1\n[forward.web]\nports = [\"443/sctp\"]\n": "sctp",
			"version = 1\n[tunnel]\ninterface = \"other\"\n":       "cannot become other",
			"": "version",
		} {
			if _, err := s.apply(t, text); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%q: %v", text, err)
			}
			if n := len(s.link.configuration().Forwards); n != 1 {
				t.Errorf("%d forwards are in force after %q", n, text)
			}
		}
	})
}

// plan shows what apply would do, and does nothing.
func TestPlanDoesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		applied := s.machine.Count(hosttest.Apply)
		must(t, os.WriteFile(s.paths.ConfigFile(forward.Home), []byte("version = 1\n"), 0o644))
		r, err := s.Plan(t.Context())
		must(t, err)
		var shown []string
		for _, c := range r.Changes {
			shown = append(shown, c.String())
		}
		want := []string{"- endpoints of the gate 198.51.100.1:55107 203.0.113.1:55107", "- forward web 443/tcp → this host", "~ table inet gatelodge: its contents have changed"}
		if !slices.Equal(shown, want) || r.Fresh {
			t.Errorf("it shows %v", r.Changes)
		}
		if s.machine.Count(hosttest.Apply) != applied || len(s.link.configuration().Forwards) != 1 {
			t.Error("plan has changed something")
		}
	})
}

// The gate's tunnel may have a smaller MTU: home takes the smaller one of both.
func TestTheSmallerMTU(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		s.gate.sayMTU(1380)
		s.within(t, 2*pushRound, "the link has the smaller MTU", func() bool {
			mtu := 0
			s.machine.Do(func(w *hosttest.World) { mtu = w.Routing.MTU })
			return mtu == 1380
		})
	})
}

// A network that is joined later and has the tunnel's addresses stops the round, and
// says what to do.
func TestANetworkWithTheTunnelsAddresses(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		s.machine.Do(func(w *hosttest.World) {
			w.Facts.Networks = append(w.Facts.Networks, plan.Network{Prefix: netip.MustParsePrefix("10.99.0.0/25"), Interface: "wlan0", OnLink: true})
		})
		s.within(t, 2*homeRound, "status says so", func() bool {
			return slices.ContainsFunc(s.Report(t.Context()).Problems, func(p string) bool { return strings.Contains(p, "wlan0") })
		})
	})
}

// What somebody changes on the machine is found by the next round, and told.
func TestWhatSomebodyDeletedIsRestored(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		was := s.events.count("machine.changed")
		s.machine.Do(func(w *hosttest.World) { w.Table = "" })
		s.within(t, 2*homeRound, "the table is loaded again", func() bool {
			there := false
			s.machine.Do(func(w *hosttest.World) { there = w.Table != "" })
			return there
		})
		s.within(t, time.Minute, "somebody is told", func() bool { return s.events.count("machine.changed") > was })
	})
}

// A disk that takes no writes keeps the tunnel from nothing: where the gate answered
// is then not remembered, and that is told.
func TestAFullDiskCostsNoTunnel(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		must(t, s.link.store.Close())
		second := netip.MustParseAddrPort("203.0.113.1:55107")
		s.set(func(s *simulation) { s.reached = func(at netip.AddrPort) bool { return at == second } })
		s.within(t, time.Minute, "the silence is noticed", func() bool { return !s.up() })
		s.within(t, time.Minute, "the tunnel is up by the other address", s.up)
		for end := time.Now().Add(time.Minute); s.events.count("tunnel.endpoint_not_saved") == 0; time.Sleep(time.Second) {
			if time.Now().After(end) {
				t.Fatalf("nobody is told; recorded: %v", kindsOf(s.events))
			}
		}
	})
}

func kindsOf(r *recorded) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []string
	for _, f := range r.facts {
		kinds = append(kinds, f.Line().Kind)
	}
	return kinds
}

// What a home has no configuration or no membership for is refused with what to do.
func TestAHomeThatHasNotJoined(t *testing.T) {
	paths := layout.Paths{Root: t.TempDir()}
	st, err := store.Open(paths.State(), nil)
	must(t, err)
	_, err = New(t.Context(), Options{Paths: paths, Log: slog.New(slog.DiscardHandler), Events: &recorded{}, Config: config.Home{}, Store: st, Machine: hosttest.New(hosttest.Server())})
	if refused, ok := errors.AsType[*local.RefusedError](err); !ok || !strings.Contains(refused.Hint, "gatelodge join") {
		t.Errorf("it says %v", err)
	}
	if _, err := ReadConfig(paths); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	must(t, os.MkdirAll(filepath.Dir(paths.ConfigFile(forward.Home)), 0o755))
	must(t, os.WriteFile(paths.ConfigFile(forward.Home), []byte(fmt.Sprintf("version = %d\n", 99)), 0o644))
	if _, err := ReadConfig(paths); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("a file of a later version: %v", err)
	}
}
