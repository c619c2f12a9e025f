package doctor

import (
	"strings"
	"testing"
)

func shown(way []Walked) string {
	var lines []string
	for _, w := range way {
		lines = append(lines, string(w.State)+" "+string(w.Hop)+": "+w.Text)
	}
	return strings.Join(lines, "\n")
}

// Where all is well, doctor says what that rests on.
func TestTheWayOfAVisitor(t *testing.T) {
	e := healthyHome()
	for _, c := range []struct {
		what string
		harm func(e *Evidence)
		want []string
	}{
		{"all is well", func(*Evidence) {}, []string{
			"sound machine: nft 1.0.6, kernel WireGuard, 100 of 65536 connections in the conntrack table",
			"sound tunnel: the gate answers after ", "sound gate's firewall: the gate's: no rule of others drops or changes our packets",
			"sound map: 3 of 3 published ports granted by the gate", "sound home's firewall: this machine's: no rule",
			"sound service: 3 of 3 published ports have a service", "sound way back: 2 of 2 TCP ports answered a visit from outside",
		}},
		{"the gate has told nothing", disconnect, []string{"unseen gate's firewall: the gate has told nothing of its own", ": the gate did not answer"}},
		{"a firewall that could not be read", func(e *Evidence) { e.Here.Unseen = []string{"rules of others: too many"} }, []string{
			"unseen home's firewall: this machine's: not all could be read: rules of others: too many",
		}},
		{"nothing was visited", func(e *Evidence) {
			for i := range e.Here.Forwards {
				e.Here.Forwards[i].Outside = Untried
			}
		}, []string{"unseen way back: nothing was visited from outside"}},
		{"a port without a service", func(e *Evidence) {
			e.Here.Forwards[0].Listeners, e.There.Forwards[0].Inside, e.Here.Forwards[0].Outside = nil, Closed, Closed
		}, []string{"broken service: 2 of 3 published ports have a service"}},
		{"no daemon", func(e *Evidence) { e.Here.Daemon = false }, []string{"broken machine: "}},
	} {
		e = healthyHome()
		c.harm(&e)
		got := shown(Way(e, Judge(e)))
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", c.what, want, got)
			}
		}
	}
	g := healthyGate()
	if got := shown(Way(g, Judge(g))); !strings.Contains(got, "sound tunnel: ") || !strings.Contains(got, "through the tunnel") || strings.Contains(got, "broken") {
		t.Errorf("of a gate:\n%s", got)
	}
}

// No fault that is found leaves its hop sound.
func TestAFaultIsSeenInTheWay(t *testing.T) {
	for _, b := range breakages() {
		e := healthyHome()
		if b.gate {
			e = healthyGate()
		}
		b.harm(&e)
		found := Judge(e)
		for _, w := range Way(e, found) {
			for _, f := range found {
				if f.Where == w.Hop && w.State != Defective && w.State != Worrying {
					t.Errorf("%s: %s is %s", b.fault, w.Hop, w.State)
				}
			}
		}
	}
}
