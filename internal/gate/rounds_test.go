package gate

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// A round that fails is said, with what the machine lacks, tried again with pauses,
// and forgotten once one succeeds.
func TestARoundFailsAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		const times = 4
		s.machine.Fail(hosttest.Apply, errors.New("no nft"), times)
		s.run(t)
		r := s.Report(t.Context())
		if !slices.Contains(r.Problems, "no nft") || len(r.Drift) == 0 || s.summary() != "no nft" || supervise.IsReady(s.loop) {
			t.Errorf("while rounds fail it says %q, %q and %q", r.Problems, r.Drift, s.summary())
		}
		time.Sleep(time.Minute) // 0.5, 1, 2 and 4 seconds of pauses, and events of its own that it ignores
		synctest.Wait()
		r = s.Report(t.Context())
		if len(r.Problems) > 0 || len(r.Drift) > 0 || !r.Tunnel.Up || !supervise.IsReady(s.loop) {
			t.Errorf("afterwards it says %q and %q, up %v", r.Problems, r.Drift, r.Tunnel.Up)
		}
		if n := s.machine.Count(hosttest.Apply); n > times+4 {
			t.Errorf("it took %d rounds in a minute", n)
		}
		s.settled(t)
	})
}

// What the machine cannot say this time keeps the gate from nothing that it did
// before: it waits for another time.
func TestAMachineThatCannotBeLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.run(t)
		must(t, s.push(t.Context(), "attic", 1, 8443))
		s.machine.Fail(hosttest.Facts, errors.New("the kernel's tables change faster than they can be read"), hosttest.Always)
		time.Sleep(time.Minute)
		if r := s.Report(t.Context()); len(r.Problems) != 1 || r.Forwards[0].State != "granted" {
			t.Errorf("it says %q, and the forward is %s", r.Problems, r.Forwards[0].State)
		}
		s.machine.Fail(hosttest.Facts, nil, 0)
		time.Sleep(time.Minute)
		if r := s.Report(t.Context()); len(r.Problems) != 0 {
			t.Errorf("it still says %q", r.Problems)
		}
	})
}

// A report during a round shows no drift that is none, and has nobody look at the
// machine.
func TestNoDriftWhileARoundIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.run(t)
		release := s.machine.Hang(hosttest.Apply)
		pushed := make(chan error, 1)
		go func() { pushed <- s.push(t.Context(), "attic", 1, 8443) }()
		synctest.Wait()
		before := s.looks()
		r := s.Report(t.Context())
		if len(r.Drift) > 0 || len(r.Problems) > 0 {
			t.Errorf("it says that the machine drifts: %q, %q", r.Drift, r.Problems)
		}
		if len(r.Forwards) != 1 {
			t.Errorf("it shows %d forwards", len(r.Forwards))
		}
		if s.looks() != before {
			t.Error("the report has looked at the machine")
		}
		release()
		must(t, <-pushed)
	})
}

// looks is how many times the machine was looked at.
func (s *sim) looks() (n int) {
	for _, op := range []hosttest.Op{hosttest.Facts, hosttest.Observe, hosttest.Diff, hosttest.Glance, hosttest.Peers, hosttest.Counters, hosttest.Sessions} {
		n += s.machine.Count(op)
	}
	return n
}

// However many homes push while a round is under way, one more round serves them all.
func TestPushesShareARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"}
		s := newSim(t, names...)
		s.round(t)
		before, release := s.machine.Count(hosttest.Apply), s.machine.Hang(hosttest.Apply)
		results := make(chan error, len(names))
		for i, name := range names {
			go func() { results <- s.push(t.Context(), name, 1, uint16(8000+i)) }()
			synctest.Wait()
		}
		if len(results) > 0 {
			t.Error("a push counts as carried out before it is")
		}
		release()
		for range names {
			must(t, <-results)
		}
		if n := s.machine.Count(hosttest.Apply) - before; n != 2 {
			t.Errorf("%d pushes took %d rounds", len(names), n)
		}
		if n := len(s.memory.carried()); n != len(names) {
			t.Errorf("%d forwards are carried out", n)
		}
		s.settled(t)
	})
}

// A key that is revoked leaves the device although a round hangs, and that round,
// which knew nothing of it, does not bring it back.
func TestRevokeWhileARoundHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic", "barn")
		s.run(t)
		must(t, s.push(t.Context(), "attic", 1, 8443))
		release := s.machine.Hang(hosttest.Apply)
		pushed, revoked := make(chan error, 1), make(chan error, 1)
		go func() { pushed <- s.push(t.Context(), "barn", 1, 9443) }()
		synctest.Wait()
		go func() { revoked <- s.Commands.Revoke(t.Context(), local.RevokeRequest{Name: "attic"}) }()
		synctest.Wait()
		if s.machine.HasPeer(s.homes["attic"].PublicKey) || len(revoked) > 0 {
			t.Errorf("the key is in the device, or its flows count as ended: %d", len(revoked))
		}
		next := s.machine.Hang(hosttest.Apply) // that of the revocation
		release()
		must(t, <-pushed)
		if s.machine.HasPeer(s.homes["attic"].PublicKey) {
			t.Error("the round has brought the key back")
		}
		next()
		must(t, <-revoked)
		if s.machine.HasPeer(s.homes["attic"].PublicKey) || !s.machine.HasPeer(s.homes["barn"].PublicKey) {
			t.Error("after all that the wrong home is in the device")
		}
		if len(s.remembered(t).Registry.Homes) != 1 || s.told.count("home.revoked") != 1 {
			t.Error("it is not written down, or not said")
		}
		s.machine.Do(func(w *hosttest.World) {
			if last := w.Cut[len(w.Cut)-1]; len(last) != 1 {
				t.Errorf("the flows of %v were cut", last)
			}
		})
		s.settled(t)
	})
}

// Flows that could not be ended are ended by the next round.
func TestFlowsThatCouldNotBeEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.round(t)
		must(t, s.push(t.Context(), "attic", 1, 8443))
		s.machine.Fail(hosttest.CutForwards, errors.New("conntrack is busy"), 1)
		if err := s.push(t.Context(), "attic", 2, 9443); err == nil || s.told.count("forwards.delayed") != 1 {
			t.Errorf("it counts as carried out: %v", err)
		}
		s.round(t)
		s.machine.Do(func(w *hosttest.World) {
			if last := w.Cut[len(w.Cut)-1]; len(last) != 1 {
				t.Errorf("the second time the flows of %v were cut", last)
			}
		})
	})
}

// Flows to ports that have just been forwarded are freed beside the rounds, and again
// after an error, with those that have come meanwhile.
func TestFlowsOfNewForwardsAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic", "barn")
		s.run(t)
		release := s.machine.Hang(hosttest.FreeFlows)
		must(t, s.push(t.Context(), "attic", 1, 8443))
		time.Sleep(freePause)
		began := time.Now()
		must(t, s.push(t.Context(), "barn", 1, 9443))
		if took := time.Since(began); took > 0 {
			t.Errorf("a push waited for it for %v", took)
		}
		s.machine.Fail(hosttest.FreeFlows, errors.New("conntrack is busy"), 1)
		release()
		time.Sleep(time.Minute)
		s.machine.Do(func(w *hosttest.World) {
			var freed forward.PortSet
			for _, set := range w.Freed {
				freed = freed.Union(set)
			}
			if want := forward.NewPortSet(ports(t, "8443/tcp", "9443/tcp")...); !slices.Equal(freed, want) {
				t.Errorf("freed were %v", freed)
			}
		})
	})
}

// A reload waits for the round that is under way, and is in force once it returns.
func TestAReloadWhileARoundIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic", "barn")
		s.run(t)
		must(t, s.push(t.Context(), "attic", 1, 8443))
		release := s.machine.Hang(hosttest.Apply)
		pushed, applied := make(chan error, 1), make(chan error, 1)
		go func() { pushed <- s.push(t.Context(), "barn", 1, 9443) }()
		synctest.Wait()
		s.configure(t, leave+"[home.attic]\ndeny = [\"8443/tcp\"]\n")
		go func() {
			_, err := s.Commands.Apply(t.Context(), local.ApplyRequest{})
			applied <- err
		}()
		synctest.Wait()
		if len(applied) > 0 || len(s.memory.now().Config.PolicyOf("attic").Deny) > 0 {
			t.Error("the file counts in the middle of a round")
		}
		release()
		must(t, <-pushed)
		must(t, <-applied)
		for _, f := range s.Report(t.Context()).Forwards {
			if want := map[string]string{"attic": "refused", "barn": "granted"}[f.Home]; string(f.State) != want {
				t.Errorf("the forward of %s is %s: %s", f.Home, f.State, f.Reason)
			}
		}
		s.settled(t)
	})
}

// A file that is wrong leaves the last one in force.
func TestAFileThatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.round(t)
		for text, says := range map[string]string{
			"[tunnel]\nlisten_prot = 1\n":               "listen_prot",
			"[tunnel]\nprefix4 = \"198.51.100.0/24\"\n": "198.51.100",
			"[tunnel]\nprefix4 = \"10.7.0.0/24\"\n":     "10.7.0",
			"[tunnel]\ninterface = \"other\"\n":         "other",
			"[tunnel]\ncontrol_port = 999\n":            "999",
		} {
			s.configure(t, text)
			before := s.memory.now().Config.Tunnel
			if _, err := s.Commands.Apply(t.Context(), local.ApplyRequest{}); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%q: it says %v", text, err)
			}
			if s.memory.now().Config.Tunnel != before {
				t.Errorf("%q counts", text)
			}
		}
		s.settled(t)
	})
}

// What somebody else does to the machine is fixed as soon as the kernel tells of it.
func TestSomebodyElseTakesTheTableAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.run(t)
		time.Sleep(time.Second)
		s.machine.Do(func(w *hosttest.World) { w.Table = "" })
		s.machine.Notify()
		synctest.Wait()
		s.settled(t)
		s.machine.Do(func(w *hosttest.World) { w.Routing.LinkUp = false }) // which nobody tells of
		time.Sleep(gateRound + time.Second)
		s.settled(t)
		if n := s.told.count("machine.changed"); n < 3 {
			t.Errorf("%d changes were told", n)
		}
	})
}
