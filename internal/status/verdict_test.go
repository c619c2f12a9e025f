package status_test

import (
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/status"
)

// at is a home whose gate was heard so long ago, with forwards in these states.
func at(heard time.Duration, states ...status.State) status.Report {
	r := status.Report{Role: "home", Name: "attic", Running: true, Since: now.Add(-time.Hour), Seen: now}
	r.Gates = []status.Link{{Name: "gate", Connected: heard < 5*time.Second, Peer: status.Peer{Heard: now.Add(-heard)}}}
	for i, s := range states {
		r.Forwards = append(r.Forwards, status.Forward{Name: []string{"web", "game", "ssh", "mail", "dns", "chat"}[i], Gate: "gate", State: s})
	}
	return r
}

// gateOf is a gate with homes that were heard so long ago; 0: never.
func gateOf(heard ...time.Duration) status.Report {
	r := status.Report{Role: "gate", Running: true, Since: now.Add(-time.Hour), Seen: now, Tunnel: status.Tunnel{Interface: "gatelodge", Up: true}}
	for i, ago := range heard {
		h := status.Home{Name: []string{"attic", "barn", "cellar"}[i]}
		if ago > 0 {
			h.Connected, h.Peer.Heard = ago < 6*time.Second, now.Add(-ago)
		}
		r.Homes = append(r.Homes, h)
		r.Forwards = append(r.Forwards, status.Forward{Name: "web", Home: h.Name, State: status.Granted})
	}
	return r
}

func with(r status.Report, change func(r *status.Report)) status.Report {
	change(&r)
	return r
}

func TestVerdicts(t *testing.T) {
	const granted, refused, pending, second = status.Granted, status.Refused, status.Pending, time.Second
	for _, c := range []struct {
		is   status.Report
		want status.Verdict
	}{
		{status.NotRunning("home", ""), status.Verdict{Level: status.Down, Text: "the daemon is not running", Hint: "gatelodge up"}},
		// A home.
		{at(second, granted, granted), status.Verdict{Level: status.OK, Text: "2 forwards reachable"}},
		{at(second, granted), status.Verdict{Level: status.OK, Text: "1 forward reachable"}},
		{with(at(second, granted, granted), func(r *status.Report) {
			r.Forwards[0].LastConnection, r.Forwards[1].LastConnection = now.Add(-time.Hour), now.Add(-12*second)
		}), status.Verdict{Level: status.OK, Text: "2 forwards reachable, last visitor 12s ago"}},
		{at(second), status.Verdict{Level: status.OK, Text: "connected to the gate; nothing is published yet", Hint: "gatelodge expose PORT"}},
		{at(84*second, granted), status.Verdict{Level: status.Down, Text: "nobody can reach this home: no answer from the gate for 1m24s (last heard 11:58:36)", Hint: "gatelodge doctor"}},
		{at(50*time.Hour, granted), status.Verdict{Level: status.Down, Text: "nobody can reach this home: no answer from the gate for 2d (last heard 27 Feb 10:00)", Hint: "gatelodge doctor"}},
		{with(at(84*second, granted), func(r *status.Report) { r.Gates[0].Carries = true }),
			status.Verdict{Level: status.Warning, Text: "the tunnel works, but the gate's daemon does not answer (last heard 11:58:36)", Hint: "gatelodge doctor"}},
		{with(at(84*second), func(r *status.Report) { r.Gates[0].Peer = status.Peer{} }),
			status.Verdict{Level: status.Down, Text: "nobody can reach this home: no answer from the gate since the daemon's start 1h00m ago", Hint: "gatelodge doctor"}},
		{with(at(84*second), func(r *status.Report) { r.Gates[0].Peer, r.Since = status.Peer{}, now.Add(-second) }),
			status.Verdict{Level: status.Warning, Text: "the gate has not answered yet", Hint: "gatelodge status --watch"}},
		{with(at(84*second), func(r *status.Report) {
			r.Gates[0].Peer = status.Peer{LatestHandshake: now.Add(-20 * second)}
		}), status.Verdict{Level: status.Down, Text: "nobody can reach this home: no answer from the gate for 20s (last heard 11:59:40)", Hint: "gatelodge doctor"}},
		{with(at(second, granted, refused), func(r *status.Report) { r.Forwards[1].Reason = "the gate needs 22/tcp (ssh) itself" }),
			status.Verdict{Level: status.Warning, Text: "1 of 2 forwards reachable: game is refused: the gate needs 22/tcp (ssh) itself"}},
		{at(second, refused, granted, refused), status.Verdict{Level: status.Warning, Text: "1 of 3 forwards reachable: web and ssh are refused"}},
		{at(second, refused, refused, refused, refused, refused), status.Verdict{Level: status.Warning, Text: "0 of 5 forwards reachable: web, game, ssh and 2 more are refused"}},
		{at(second, pending, granted), status.Verdict{Level: status.Warning, Text: "1 of 2 forwards reachable: the gate has not answered for web", Hint: "gatelodge doctor"}},
		{with(at(second, granted), func(r *status.Report) { r.Problems = []string{"a", "b"} }),
			status.Verdict{Level: status.Warning, Text: "1 forward reachable, but 2 problems", Hint: "gatelodge doctor"}},
		{with(at(second, granted), func(r *status.Report) { r.Drift = []string{"a"} }),
			status.Verdict{Level: status.Warning, Text: "1 forward reachable, but this machine is not as wanted", Hint: "gatelodge doctor"}},
		{with(at(second, granted), func(r *status.Report) { r.Seen = now.Add(-time.Minute) }),
			status.Verdict{Level: status.Warning, Text: "1 forward reachable, but the daemon could not look at this machine for 1m0s", Hint: "gatelodge doctor"}},
		// A gate.
		{gateOf(second, second), status.Verdict{Level: status.OK, Text: "2 homes connected, 2 forwards"}},
		{gateOf(), status.Verdict{Level: status.OK, Text: "ready; no homes yet", Hint: "gatelodge gate invite NAME"}},
		{with(gateOf(second), func(r *status.Report) { r.Forwards[0].State = refused }), status.Verdict{Level: status.OK, Text: "1 home connected, 0 forwards"}},
		{gateOf(second, 4*time.Minute), status.Verdict{Level: status.Warning, Text: "home barn is silent for 4m0s (last heard 11:56:00)", Hint: "gatelodge doctor"}},
		{gateOf(0), status.Verdict{Level: status.Warning, Text: "home attic has not been heard since the daemon's start", Hint: "gatelodge doctor"}},
		{gateOf(0, time.Second, time.Minute), status.Verdict{Level: status.Warning, Text: "2 of 3 homes silent: attic and cellar", Hint: "gatelodge doctor"}},
		{with(gateOf(second), func(r *status.Report) { r.Tunnel.Up = false }),
			status.Verdict{Level: status.Down, Text: "nobody can reach any home: the tunnel's interface gatelodge is not up", Hint: "gatelodge doctor"}},
		{with(gateOf(second), func(r *status.Report) { r.Input = &status.Input{State: status.OnTrial, Left: 45 * second} }),
			status.Verdict{Level: status.Warning, Text: "the input policy is on trial: reverted in 45s unless it is confirmed", Hint: "gatelodge confirm"}},
	} {
		if got := c.is.Judge(now); got != c.want {
			t.Errorf("got    %+v\nwanted %+v", got, c.want)
		}
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 12400 * time.Millisecond: "12s", 84 * time.Second: "1m24s", 5*time.Hour + 3*time.Minute: "5h03m", 47 * time.Hour: "47h00m", 9*24*time.Hour + time.Hour: "9d",
	} {
		if got := status.Span(d); got != want {
			t.Errorf("%v: %s, wanted %s", d, got, want)
		}
	}
}
