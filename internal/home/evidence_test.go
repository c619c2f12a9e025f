package home

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// looked is what the doctor is told of the way to the gate.
func (s *simulation) looked(t *testing.T) doctor.Tunnel {
	t.Helper()
	return examination{s.link}.lookAtTunnel(t.Context())
}

// The doctor is told apart: a gate that answers, one whose daemon alone is away, a
// tunnel that carries, and one in which nothing comes.
func TestTheWayToTheGateForTheDoctor(t *testing.T) {
	for name, c := range map[string]struct {
		set                     func(s *simulation)
		answers, alone, carries bool
	}{
		"well":               {func(*simulation) {}, true, false, false},
		"the daemon is away": {func(s *simulation) { s.alive, s.refuses = false, true }, false, true, true},
		"pings are lost":     {func(s *simulation) { s.lost = true }, false, false, true},
		"nothing comes":      {func(s *simulation) { s.reached = func(netip.AddrPort) bool { return false } }, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, s *simulation) {
				s.set(c.set)
				got := s.looked(t)
				if got.Answers != c.answers || got.Alone != c.alone || got.Carries != c.carries {
					t.Errorf("answers %t, alone %t, carries %t", got.Answers, got.Alone, got.Carries)
				}
				if !got.Tried.IsValid() || !got.Route || len(got.Names) != 2 || !got.Names[0].Literal || len(got.Names[0].Addresses) != 1 {
					t.Errorf("it is looked for at %v, route %t, by %+v", got.Tried, got.Route, got.Names)
				}
			})
		})
	}
}

// A machine without a way to any of the gate's addresses says so, and has a way again
// by itself.
func TestAHomeWithoutAWay(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		s.machine.Do(func(w *hosttest.World) { w.MTU = 0 })
		s.set(func(s *simulation) { s.reached = func(netip.AddrPort) bool { return false } })
		s.within(t, time.Minute, "status says that there is no route", func() bool {
			p := s.keepProblem()
			return len(p) == 1 && strings.Contains(p[0], "route to the gate")
		})
		if s.looked(t).Route {
			t.Error("the doctor is told that there is one")
		}
		s.machine.Do(func(w *hosttest.World) { w.MTU = 1400 })
		s.set(func(s *simulation) { s.reached = func(netip.AddrPort) bool { return true } })
		s.within(t, time.Minute, "the tunnel is up", s.up)
	})
}

// The run that has the tunnel while another one is there defends it: where a ping is
// lost it makes a handshake at once.
func TestTheTunnelIsDefended(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		s.set(func(s *simulation) { s.several = true })
		s.within(t, 10*time.Second, "status says that there is another", func() bool {
			p := s.keepProblem()
			return len(p) == 1 && strings.Contains(p[0], "was told by the gate to stand back")
		})
		renewed := s.machine.Count(hosttest.Renew)
		s.set(func(s *simulation) { s.lost = true })
		s.within(t, defendPause+rivalInterval+2*rivalPatience, "a handshake is made", func() bool { return s.machine.Count(hosttest.Renew) > renewed })
		s.set(func(s *simulation) { s.lost, s.several = false, false })
		s.within(t, 2*rivalKnown, "the other one is forgotten", func() bool { return len(s.keepProblem()) == 0 })
	})
}

// What the gate refuses is in the report with its reason, and told once.
func TestARefusedForward(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		refuse := func(verdicts []control.Verdict) []control.Verdict {
			for i := range verdicts {
				verdicts[i] = control.Verdict{Name: verdicts[i].Name, State: control.Refused, Reason: "another home has the port"}
			}
			return verdicts
		}
		s.gate.answer(func(r control.StateResponse) (control.StateResponse, error) {
			r.Verdicts = refuse(r.Verdicts)
			return r, nil
		})
		s.within(t, 2*pushRound, "the report says so", func() bool {
			f := s.Report(t.Context()).Forwards
			return len(f) == 1 && f[0].State == status.Refused && f[0].Reason == "another home has the port"
		})
		time.Sleep(5 * pushRound)
		if n := s.events.count("forward.refused"); n != 1 {
			t.Errorf("told %d times", n)
		}
		if got := (examination{s.link}).doctorForwards(s.link.configuration(), plan.Facts{}); len(got) != 1 || got[0].Granted || got[0].Reason == "" {
			t.Errorf("the doctor is told %+v", got)
		}
	})
}

// A gate that answers with an error is a problem in status until it is over.
func TestAGateThatFails(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		s.gate.answer(func(r control.StateResponse) (control.StateResponse, error) {
			return r, &control.Error{Code: control.Internal, Message: "its disk is full"}
		})
		problem := func() bool {
			return slices.ContainsFunc(s.Report(t.Context()).Problems, func(p string) bool { return strings.Contains(p, "its disk is full") })
		}
		s.within(t, 2*pushRound, "status says so", problem)
		s.gate.answer(nil)
		s.within(t, time.Minute, "status no longer says so", func() bool { return !problem() })
	})
}

// What the doctor is told of each forward is what the home leads it to.
func TestForwardsForTheDoctor(t *testing.T) {
	s := newSimulation(t)
	c, err := config.ParseHome("home.toml", []byte(`version = 1
[forward.ssh]
ports = ["2222:22/tcp"]
[forward.nas]
ports = ["445/tcp", "5000-5010/udp"]
to = "192.168.1.20"
`))
	must(t, err)
	facts := plan.Facts{Networks: []plan.Network{{Prefix: netip.MustParsePrefix("192.168.1.0/24"), Interface: "lan", OnLink: true}}}
	got := examination{s.link}.doctorForwards(c, facts)
	var first []string
	for _, f := range got {
		if !f.Pending || f.Granted {
			t.Errorf("%s counts as judged: %+v", f.Name, f)
		}
		first = append(first, f.Name+" "+f.Protocol)
	}
	if want := []string{"nas " + forward.TCP.String(), "nas " + forward.UDP.String(), "ssh " + forward.TCP.String()}; !slices.Equal(slices.Sorted(slices.Values(first)), want) {
		t.Errorf("told are %q", first)
	}
	i := slices.IndexFunc(got, func(f doctor.Forward) bool { return f.Name == "ssh" })
	if got[i].Port != 2222 || got[i].LocalPort != 22 || got[i].To.IsValid() {
		t.Errorf("%+v", got[i])
	}
	if names := devices(c, facts); !slices.Equal(names, []string{"lan"}) {
		t.Errorf("its targets are behind %q", names)
	}
}

// The first error that a gate gives of itself is not taken for its silence.
func TestWhatAFailedPushIs(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		p := s.link.push
		p.note(errors.New("no"))
		if got := p.problems(); len(got) != 1 || !strings.Contains(got[0], "may not hold what this home publishes: no") {
			t.Errorf("%q", got)
		}
		p.note(&control.Error{Code: control.Stale, Message: "older"})
		if got := p.problems(); len(got) != 1 || !strings.Contains(got[0], "another machine runs with a copy of this home's key") {
			t.Errorf("%q", got)
		}
		p.note(nil)
		if got := p.problems(); got != nil {
			t.Errorf("%q", got)
		}
	})
}
