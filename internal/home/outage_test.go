package home

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/status"
)

// A gate that is away for ten minutes is tried again and again, at all its
// addresses, and found within seconds of its return. What it has lost meanwhile it
// is told again.
func TestTenMinutesOfOutage(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		dialled := s.machine.Count(hosttest.Redial)
		s.set(func(s *simulation) { s.reached = func(netip.AddrPort) bool { return false } })
		s.within(t, silent+3*time.Second, "the silence is noticed", func() bool { return !s.up() })
		time.Sleep(10 * time.Minute)
		tries := s.machine.Count(hosttest.Redial) - dialled
		if least := int(10 * time.Minute / (2 * another)); tries < least {
			t.Errorf("tried %d times in ten minutes, wanted at least %d", tries, least)
		}
		if p := s.keepProblem(); len(p) != 1 || !strings.Contains(p[0], "nothing comes back") {
			t.Errorf("status says %q", p)
		}
		s.verdict(t, status.Down, "nobody can reach this home")
		s.gate.lose()
		s.set(func(s *simulation) { s.reached = func(at netip.AddrPort) bool { return at == gateFirst } })
		took := s.within(t, 30*time.Second, "the tunnel is up again", s.up)
		s.within(t, 5*time.Second, "the gate is told again what is published", func() bool { return len(s.gate.list()) == 1 })
		if down, up := s.events.count("tunnel.down"), s.events.count("tunnel.up"); down != 1 || up != 2 {
			t.Errorf("told %d times that the tunnel is down and %d times that it is up", down, up)
		}
		t.Logf("up again after %s", took)
	})
}

// verdict fails unless status says so first.
func (s *simulation) verdict(t *testing.T, level status.Level, text string) {
	t.Helper()
	if v := s.Report(t.Context()).Judge(time.Now()); v.Level != level || !strings.HasPrefix(v.Text, text) {
		t.Errorf("status says first %+v", v)
	}
}

// A gate that has moved is found at its next address, which is where the next start
// begins.
func TestTheGateIsFoundAtItsOtherAddress(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		second := netip.MustParseAddrPort("203.0.113.1:55107")
		s.set(func(s *simulation) { s.reached = func(at netip.AddrPort) bool { return at == second } })
		s.within(t, time.Minute, "the silence is noticed", func() bool { return !s.up() })
		s.within(t, time.Minute, "the tunnel is up by the other address", s.up)
		s.within(t, 10*time.Second, "the address is remembered", func() bool { return s.link.lastEndpoint() == second })
		var m membership.Memory
		if _, err := s.link.store.Load(membership.StoredName, &m); err != nil || m.LastEndpoint != second {
			t.Errorf("on disk is %v, %v", m.LastEndpoint, err)
		}
	})
}

// Where only the gate's daemon is silent, the tunnel is left alone: visitors use it.
func TestADaemonThatIsAwayCostsNoTunnel(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		was := s.machine.Count(hosttest.Redial) + s.machine.Count(hosttest.Renew)
		s.set(func(s *simulation) { s.alive, s.refuses = false, true })
		time.Sleep(5 * time.Minute)
		if p := s.keepProblem(); len(p) != 1 || !strings.Contains(p[0], "the gate's daemon does not answer") {
			t.Errorf("status says %q", p)
		}
		if now := s.machine.Count(hosttest.Redial) + s.machine.Count(hosttest.Renew); now != was {
			t.Errorf("the tunnel was begun again %d times", now-was)
		}
		s.verdict(t, status.Warning, "the tunnel works, but the gate's daemon does not answer")
		s.set(func(s *simulation) { s.alive, s.refuses = true, false })
		s.within(t, 10*time.Second, "the gate answers again", s.up)
		s.within(t, 2*pushRound, "all is well", func() bool { return s.Report(t.Context()).Judge(time.Now()).Level == status.OK })
		// Then its machine is gone: no more than that may be said.
		s.set(func(s *simulation) { s.alive, s.refuses = false, true })
		time.Sleep(time.Minute)
		s.verdict(t, status.Warning, "the tunnel works")
		s.set(func(s *simulation) { s.reached = func(netip.AddrPort) bool { return false } })
		time.Sleep(time.Minute)
		s.verdict(t, status.Down, "nobody can reach this home")
	})
}

// Where the tunnel carries and only pings are lost, to another firewall on the gate
// say, it is proved once and left alone.
func TestATunnelThatCarriesIsLeftAlone(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		dialled, renewed := s.machine.Count(hosttest.Redial), s.machine.Count(hosttest.Renew)
		s.set(func(s *simulation) { s.lost = true })
		for range 60 { // visitors go on
			time.Sleep(time.Second)
			s.machine.Hear(gateKey, netip.AddrPort{}, 1000)
		}
		if p := s.keepProblem(); len(p) != 1 || !strings.Contains(p[0], "a firewall on the gate drops it") {
			t.Errorf("status says %q", p)
		}
		if n := s.machine.Count(hosttest.Redial) - dialled; n != 0 {
			t.Errorf("it went on from another port %d times", n)
		}
		if n := s.machine.Count(hosttest.Renew) - renewed; n != 1 {
			t.Errorf("%d handshakes were begun, wanted one to prove the tunnel", n)
		}
	})
}

// After half a minute of silence it is said what the silence may be.
func TestWhatASilenceMayBe(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		s.set(func(s *simulation) { s.port, s.reached = 22, func(netip.AddrPort) bool { return false } })
		time.Sleep(longSilence + 20*time.Second)
		if p := s.keepProblem(); len(p) != 1 || !strings.Contains(p[0], "TCP port 22 answers") {
			t.Errorf("status says %q", p)
		}
	})
}

// The run that the gate tells to give way leaves the tunnel for a minute, then for
// two, up to ten, and takes it when the other one is gone.
func TestGivingWayToATwin(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		s.set(func(s *simulation) { s.twin = true })
		s.within(t, 20*time.Second, "the gate leaves the device", func() bool { return !s.machine.HasPeer(gateKey) })
		for _, pause := range []time.Duration{firstStandBack, 2 * firstStandBack, 4 * firstStandBack} {
			asked, left := s.machine.Count(hosttest.Redial), time.Now()
			s.within(t, pause+20*time.Second, "it asks again", func() bool { return s.machine.Count(hosttest.Redial) > asked })
			if took := time.Since(left); took < pause-2*time.Second {
				t.Errorf("it asked again after %s, wanted %s", took, pause)
			}
		}
		if p := s.keepProblem(); len(p) != 1 || !strings.Contains(p[0], "another machine has a copy") {
			t.Errorf("status says %q", p)
		}
		s.set(func(s *simulation) { s.twin = false })
		s.within(t, longestStandBack+time.Minute, "the tunnel is up again", s.up)
	})
}
