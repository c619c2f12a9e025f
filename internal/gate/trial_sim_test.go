package gate

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/heard"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/status"
)

// protect is a gate.toml that closes the gate's own ports, which puts it on trial.
const protect = "[firewall]\naccept = [\"443/tcp\"]\n"

// visit lets somebody's ssh session stand.
func (s *sim) visit(from string) netip.AddrPort {
	remote := netip.MustParseAddrPort(from)
	s.machine.Do(func(w *hosttest.World) {
		w.Sessions = append(slices.Clone(w.Sessions), host.Session{Local: netip.MustParseAddrPort("198.51.100.2:22"), Remote: remote})
	})
	return remote
}

// try applies gate.toml with a policy that goes on trial.
func (s *sim) try(t *testing.T) {
	t.Helper()
	s.configure(t, protect)
	if _, err := s.Commands.Apply(t.Context(), local.ApplyRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := s.input(t); got.State != status.OnTrial || got.Left != local.ConfirmTime {
		t.Fatalf("not on trial: %+v", got)
	}
	if g := s.memory.now().Plan(time.Now()).Firewall.Gate; g.Trial == nil || g.Input.Protect {
		t.Fatalf("the kernel cannot revert it by itself: %+v", g)
	}
	s.settled(t)
}

func (s *sim) input(t *testing.T) *status.Input {
	t.Helper()
	return s.Report(t.Context()).Input
}

// is fails unless the input policy is in that state, in the kernel and on disk, and a
// trial is over.
func (s *sim) is(t *testing.T, state status.InputState, protects bool) {
	t.Helper()
	synctest.Wait()
	if got := s.input(t); got.State != state {
		t.Errorf("the policy is %s, wanted %s", got.State, state)
	}
	g := s.memory.now().Plan(time.Now()).Firewall.Gate
	if g.Trial != nil || g.Input.Protect != protects {
		t.Errorf("wanted are the trial %+v and %+v", g.Trial, g.Input)
	}
	if kept := s.remembered(t).Input; kept == nil || kept.Protect != protects {
		t.Errorf("on disk is %+v", kept)
	}
	s.settled(t)
}

// A connection that is newer than the policy proves it, once the tunnel lives too.
func TestATrialIsProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.run(t)
		for range 2 {
			s.hear("attic")
			time.Sleep(heard.Round)
		}
		s.visit("192.0.2.9:50000")
		s.try(t)
		time.Sleep(time.Second)
		if got := s.input(t); got.State != status.OnTrial {
			t.Errorf("an old session proves it: %+v", got)
		}
		s.visit("192.0.2.9:50001")
		time.Sleep(time.Second)
		if got := s.input(t); got.State != status.OnTrial {
			t.Errorf("it is kept although the tunnel is silent: %+v", got)
		}
		s.hear("attic")
		time.Sleep(glance)
		s.is(t, status.Kept, true)
		if s.told.count("input.kept") != 1 {
			t.Error("nobody was told")
		}
	})
}

// The owner confirms over a session that is newer than the policy.
func TestATrialIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.run(t)
		old := s.visit("192.0.2.9:50000")
		s.try(t)
		_, err := s.Commands.Confirm(t.Context(), local.ConfirmRequest{Session: old})
		if err == nil || !strings.Contains(err.Error(), "proves nothing") {
			t.Errorf("over the old session: %v", err)
		}
		answer, err := s.Commands.Confirm(t.Context(), local.ConfirmRequest{Session: netip.MustParseAddrPort("192.0.2.9:50001")})
		if err != nil || answer.Report.Input.State != status.Kept {
			t.Errorf("over a new one: %+v, %v", answer.Report.Input, err)
		}
		s.is(t, status.Kept, true)
	})
}

// Nobody confirms: the former policy is in force again, in the kernel as well, and it
// is said what to do.
func TestATrialIsReverted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.run(t)
		time.Sleep(gateRound / 3) // no round is due when its time is up
		s.try(t)
		time.Sleep(local.ConfirmTime - time.Second)
		if got := s.input(t); got.State != status.OnTrial || got.Left != time.Second {
			t.Errorf("a second before its time is up: %+v", got)
		}
		time.Sleep(time.Second)
		s.is(t, status.Unconfirmed, false)
		r := s.Report(t.Context())
		if s.told.count("input.reverted") != 1 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "gatelodge apply") {
			t.Errorf("told %d times, and the report says %q", s.told.count("input.reverted"), r.Problems)
		}
		time.Sleep(time.Hour)
		s.is(t, status.Unconfirmed, false)
		if n := s.told.count("input.reverted"); n != 1 {
			t.Errorf("it was said %d times", n)
		}
	})
}

// A process that ends in the middle of a trial is followed by one that begins with
// what was kept before.
func TestARestartInTheMiddleOfATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.run(t)
		s.try(t)
		time.Sleep(local.ConfirmTime / 2)
		s.restart(t)
		s.is(t, status.Unconfirmed, false)
		s.visit("192.0.2.9:50001")
		s.hear("attic")
		time.Sleep(local.ConfirmTime)
		s.is(t, status.Unconfirmed, false)
		s.try(t) // another try
	})
}

// What cannot be written down is not kept, however well it is proved: a start would
// begin without it.
func TestATrialOnADiskThatIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.run(t)
		s.try(t)
		s.disk.fill(true)
		s.visit("192.0.2.9:50001")
		time.Sleep(10 * time.Second)
		if got := s.input(t); got.State != status.OnTrial {
			t.Errorf("it is kept: %+v", got)
		}
		_, err := s.Commands.Confirm(t.Context(), local.ConfirmRequest{})
		if err == nil || !strings.Contains(err.Error(), "is reverted in 50s: no space left") {
			t.Errorf("it says %v", err)
		}
		s.disk.fill(false)
		time.Sleep(longestProofPause)
		s.is(t, status.Kept, true)
	})
}

// longestProofPause is the longest pause between two tries to keep what is proved.
const longestProofPause = 30 * time.Second

// A policy that could not be carried out is not on trial: nobody can prove what does
// not hold.
func TestATrialThatCannotBeCarriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.run(t)
		s.machine.Fail(hosttest.Apply, errNoNFT, 1)
		s.configure(t, protect)
		if _, err := s.Commands.Apply(t.Context(), local.ApplyRequest{}); err == nil {
			t.Error("it counts as carried out")
		}
		if got := s.input(t); got.State != status.Unconfirmed {
			t.Errorf("the policy is %s", got.State)
		}
		s.round(t)
		s.is(t, status.Unconfirmed, false)
	})
}

// The owner may ask for 10 seconds to an hour.
func TestTheTimeToConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.run(t)
		s.configure(t, protect)
		for _, d := range []time.Duration{time.Second, 2 * time.Hour, -time.Minute} {
			if _, err := s.Commands.Apply(t.Context(), local.ApplyRequest{ConfirmWithin: d}); err == nil {
				t.Errorf("%v is granted", d)
			}
		}
		if _, err := s.Commands.Apply(t.Context(), local.ApplyRequest{ConfirmWithin: time.Hour}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Second)
		if got := s.input(t); got.State != status.OnTrial || got.Left != time.Second {
			t.Errorf("after almost an hour: %+v", got)
		}
		time.Sleep(time.Second)
		s.is(t, status.Unconfirmed, false)
	})
}
