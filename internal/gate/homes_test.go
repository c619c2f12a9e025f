package gate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/heard"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/registry"
)

var errNoNFT = errors.New("no nft")

// A home is connected while something comes from it.
func TestAHomeIsConnectedAndSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic", "barn")
		s.run(t)
		connected := func(want bool, summary string) {
			t.Helper()
			r := s.Report(t.Context())
			if r.Homes[0].Connected != want || r.Homes[1].Connected || s.summary() != summary {
				t.Errorf("connected are %v and %v, and it says %q, wanted %q", r.Homes[0].Connected, r.Homes[1].Connected, s.summary(), summary)
			}
		}
		connected(false, "0 of 2 homes connected, 0 forwards")
		s.live(t, time.Minute, "attic")
		connected(true, "1 of 2 homes connected, 0 forwards")
		if p := s.Report(t.Context()).Homes[0].Peer; p.Endpoint != whereHomesAre || p.ReceivedBytes < 128*30 || p.LatestHandshake.IsZero() {
			t.Errorf("the report shows the peer as %+v", p)
		}
		time.Sleep(heard.SilentAfter + heard.Round)
		connected(false, "0 of 2 homes connected, 0 forwards")
		// Its renewals make the device forget it, and not the report.
		time.Sleep(time.Hour)
		synctest.Wait()
		p := s.Report(t.Context()).Homes[0].Peer
		if s.received("attic") != 0 || p.ReceivedBytes < 128*30 || p.Endpoint != whereHomesAre || time.Since(p.LatestHandshake).Round(time.Minute) != time.Hour || time.Since(p.Heard).Round(time.Minute) != time.Hour {
			t.Errorf("after an hour of silence the report shows the peer as %+v", p)
		}
		if s.told.count("home.connected") != 1 || s.told.count("home.silent") != 1 {
			t.Errorf("told was %d times that it connected, and %d that it is silent", s.told.count("home.connected"), s.told.count("home.silent"))
		}
	})
}

// live has a home ping for a while.
func (s *sim) live(t *testing.T, d time.Duration, home string) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		s.hear(home)
		time.Sleep(ping.Interval)
	}
	synctest.Wait()
}

// A home whose clock went back is refused by WireGuard until the gate has renewed it,
// which it does soon. One that is away is renewed once and then left alone.
func TestAHomeWhoseClockWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic", "barn")
		s.run(t)
		for range 10 {
			s.hear("barn")
			s.live(t, ping.Interval, "attic")
		}
		before := s.machine.Count(hosttest.Renew)
		went, back := time.Now(), time.Duration(0)
		for end := went.Add(10 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Second) { // REKEY_TIMEOUT
			if s.received("attic") == 0 || back > 0 { // the device has forgotten the later time
				s.hear("attic")
				if back == 0 {
					back = time.Since(went)
				}
			}
		}
		if limit := heard.SilentAfter + heard.Round + 5*time.Second; back == 0 || back > limit {
			t.Errorf("the home is back after %v, wanted at most %v", back, limit)
		}
		if !s.Report(t.Context()).Homes[0].Connected || s.received("barn") > 0 {
			t.Error("the home is silent, or the one that is away was not renewed")
		}
		if n := s.machine.Count(hosttest.Renew) - before; n > 2 {
			t.Errorf("%d renewals in ten minutes", n)
		}
	})
}

// received is what the device says it has got from a home since it was made or renewed.
func (s *sim) received(home string) (bytes uint64) {
	s.machine.Do(func(w *hosttest.World) {
		for _, p := range w.Device.Peers {
			if p.PublicKey == s.homes[home].PublicKey {
				bytes = p.ReceivedBytes
			}
		}
	})
	return bytes
}

// A round that hangs keeps no home that is locked out by its clock waiting.
func TestASilentHomeIsRenewedWhileARoundHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.run(t)
		s.live(t, 10*time.Second, "attic")
		release := s.machine.Hang(hosttest.Apply)
		s.loop.Kick()
		time.Sleep(heard.SilentAfter + 2*heard.Round)
		if s.received("attic") != 0 {
			t.Error("it was not renewed")
		}
		release()
	})
}

// Where a home is remembered is where the next process calls it first.
func TestEndpointsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.run(t)
		s.live(t, endpointRound+time.Second, "attic")
		s.machine.Do(func(w *hosttest.World) { *w = hosttest.World{Facts: w.Facts, Kind: w.Kind, MTU: w.MTU} }) // a reboot
		s.restart(t)
		if p := s.Report(t.Context()).Homes[0].Peer; p.Endpoint != whereHomesAre {
			t.Errorf("after a reboot the home is called at %v", p.Endpoint)
		}
		s.settled(t)
	})
}

// An sshd that comes to a port of a home's gets it at once, and keeps it while it
// restarts, until its owner has the gate look again.
func TestSSHMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.run(t)
		must(t, s.push(t.Context(), "attic", 1, 2222))
		moves := func(ports ...uint16) {
			s.machine.Do(func(w *hosttest.World) { w.Facts.SSHPorts = ports })
			time.Sleep(sshRound)
			synctest.Wait()
		}
		is := func(want string) {
			t.Helper()
			if state, reason := s.forward(t); state != want || (want == "refused") != strings.Contains(reason, "ssh") {
				t.Errorf("the forward is %s: %s", state, reason)
			}
		}
		is("granted")
		moves(2222)
		is("refused")
		if got := s.remembered(t).SSHPorts; !slices.Equal(got, []uint16{22, 2222}) {
			t.Errorf("remembered are %v", got)
		}
		moves() // it restarts
		time.Sleep(gateRound)
		is("refused")
		moves(22)
		time.Sleep(gateRound)
		is("refused")
		if _, err := s.Commands.Apply(t.Context(), local.ApplyRequest{}); err != nil {
			t.Fatal(err)
		}
		is("granted")
		s.settled(t)
	})
}

// A home's doctor follows its visits for almost two seconds. No other home's push
// waits for that.
func TestATraceHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic", "barn")
		s.run(t)
		must(t, s.push(t.Context(), "attic", 1, 8443))
		s.hear("attic")
		s.machine.Do(func(w *hosttest.World) {
			w.Traced = func() ([]uint16, []host.OthersDrop, []uint16, error) { return []uint16{8443}, nil, nil, nil }
		})
		traced := make(chan control.Look, 1)
		go func() {
			look, err := s.channel.Doctor(t.Context(), s.homes["attic"].Address4, control.DoctorTrace)
			if err != nil {
				t.Error(err)
			}
			traced <- look
		}()
		synctest.Wait()
		began := time.Now()
		must(t, s.push(t.Context(), "barn", 1, 9443))
		if took := time.Since(began); took > 0 || len(traced) > 0 {
			t.Errorf("the push of another home took %v", took)
		}
		look := <-traced
		if took := time.Since(began); took != traceTime || len(look.Forwards) != 1 || !look.Forwards[0].Arrived {
			t.Errorf("after %v the trace says %+v", took, look.Forwards)
		}
	})
}

// Some may wait for a slow disk, but nobody's questions do. (That a key is revoked
// meanwhile see TestNobodyWaitsForARoundOrTheDisk.)
func TestASlowDiskHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic", "barn")
		s.run(t)
		release, pushed := s.disk.hang(), make(chan error, 1)
		go func() { pushed <- s.push(t.Context(), "attic", 1, 8443) }()
		synctest.Wait()
		began := time.Now()
		for _, home := range []string{"attic", "barn"} {
			state, err := s.channel.State(t.Context(), s.homes[home].Address4)
			if err != nil || state.Name != home || len(state.Verdicts) > 0 {
				t.Errorf("%s asks for its state and hears %+v, %v", home, state, err)
			}
		}
		if r := s.Report(t.Context()); len(r.Homes) != 2 || len(r.Forwards) != 0 || s.summary() == "" {
			t.Errorf("the report has %d homes and %d forwards", len(r.Homes), len(r.Forwards))
		}
		must(t, s.renewSilent(t.Context()))
		if time.Since(began) > 0 || len(pushed) > 0 {
			t.Errorf("they have waited for %v, or what is not on disk counts", time.Since(began))
		}
		release()
		must(t, <-pushed)
		if m := s.remembered(t); len(m.Registry.Granted()) != 1 {
			t.Errorf("on disk are the forwards %+v", m.Registry.Granted())
		}
		s.settled(t)
	})
}

// A home whose list cannot be written down is told why, and asks again.
func TestAPushOnADiskThatIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic")
		s.round(t)
		s.disk.fill(true)
		err := s.push(t.Context(), "attic", 1, 8443)
		if !errors.Is(err, &control.Error{Code: control.Internal}) || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("it says %v", err)
		}
		if len(s.Report(t.Context()).Forwards) > 0 {
			t.Error("it is granted all the same")
		}
		s.disk.fill(false)
		must(t, s.push(t.Context(), "attic", 1, 8443))
		s.settled(t)
	})
}

// A home that hangs up while its push waits for a round leaves a push that is made.
func TestAHomeThatHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "attic", "barn")
		s.run(t)
		release := s.machine.Hang(hosttest.Apply)
		results := make(chan error, 2)
		go func() { results <- s.push(t.Context(), "attic", 1, 8443) }()
		synctest.Wait()
		go func() { results <- s.push(t.Context(), "attic", 2, 8444) }()
		synctest.Wait()
		ctx, hangUp := context.WithTimeout(t.Context(), time.Second)
		defer hangUp()
		if err := s.push(ctx, "barn", 1, 9443); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who hung up hears %v", err)
		}
		release()
		must(t, <-results)
		must(t, <-results)
		if n := len(s.memory.carried()); n != 2 {
			t.Errorf("%d forwards are carried out", n)
		}
		s.settled(t)
	})
}

// An invite ends by itself. Its one-time key is let in for a while longer, so that who is
// late is told why, and then no more.
func TestAnInviteEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.run(t)
		answer, err := s.Commands.Invite(t.Context(), local.InviteRequest{Name: "attic", For: time.Hour})
		must(t, err)
		key := s.memory.now().Registry.Invites[0].PublicKey
		is := func(shown int, letIn bool) {
			t.Helper()
			if n := len(s.Report(t.Context()).Invites); n != shown || s.machine.HasPeer(key) != letIn {
				t.Errorf("%d invites are shown, and the key is let in: %v", n, s.machine.HasPeer(key))
			}
		}
		if answer.Invite == "" {
			t.Error("there is no invite")
		}
		is(1, true)
		time.Sleep(time.Hour + gateRound)
		is(0, true)
		time.Sleep(registry.Grace + gateRound)
		is(0, false)
		if n := s.told.count("home.invite_ended"); n != 1 {
			t.Errorf("it was told %d times", n)
		}
	})
}

// An invite that cannot be let in is not given out, and leaves nothing behind.
func TestAnInviteThatCannotBeLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		s.round(t)
		s.machine.Fail(hosttest.Apply, errNoNFT, 1)
		if answer, err := s.Commands.Invite(t.Context(), local.InviteRequest{Name: "attic", For: time.Hour}); !errors.Is(err, errNoNFT) || answer.Invite != "" {
			t.Errorf("it is given out: %v", err)
		}
		if n := len(s.remembered(t).Registry.Invites); n != 0 {
			t.Errorf("%d invites are remembered", n)
		}
	})
}
