package gate

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/store"
)

func accepting(t *testing.T, list ...string) plan.InputPolicy {
	t.Helper()
	p := plan.InputPolicy{Protect: true}
	for _, text := range list {
		ports, err := forward.ParsePorts(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Accept = p.Accept.Union(forward.NewPortSet(ports...))
	}
	return p
}

func TestOnlyWhatClosesSomethingIsOnTrial(t *testing.T) {
	g := newTestMemory(t)
	take := func(p plan.InputPolicy) error {
		_, err := trials{g}.takeInput(p, local.ApplyRequest{}, scene{})
		return err
	}
	for _, c := range []struct {
		policy plan.InputPolicy
		state  status.InputState
	}{
		{plan.InputPolicy{}, status.Kept},
		{accepting(t, "80", "443/tcp"), status.OnTrial}, // protects what was open
		{accepting(t, "80", "443/tcp"), status.OnTrial}, // the same again
		{plan.InputPolicy{}, status.Kept},               // the owner has thought better of it
	} {
		g.state.Config.Firewall = configured(c.policy)
		if err := take(c.policy); err != nil {
			t.Fatal(err)
		}
		if got := g.inputs.status(plan.WantedInput(g.state.Config)); got.State != c.state {
			t.Errorf("%+v is %s, wanted %s", c.policy, got.State, c.state)
		}
	}
	must(t, take(accepting(t, "80", "443/tcp")))
	must(t, trials{g}.confirm(local.ConfirmRequest{}))
	g.state.Config.Firewall = configured(accepting(t, "80", "443/tcp", "8443"))
	must(t, take(accepting(t, "80", "443/tcp", "8443"))) // opens more
	if g.inputs.trial != nil || !g.inputs.kept.Same(accepting(t, "80", "443/tcp", "8443")) {
		t.Errorf("a policy that closes nothing: %+v", g.inputs)
	}
	must(t, take(accepting(t, "443/tcp")))
	if got := strings.Join(g.inputs.trial.closes, " "); got != "80/tcp 8443/tcp 80/udp 8443/udp" {
		t.Errorf("closes %s", got)
	}
	refused, ok := errors.AsType[*local.RefusedError](take(accepting(t)))
	if !ok || !strings.Contains(refused.Message, "another input policy is on trial") {
		t.Errorf("a second trial: %v", refused)
	}
	if _, err := (trials{g}).takeInput(accepting(t), local.ApplyRequest{LeaveInput: true}, scene{}); err != nil {
		t.Errorf("a change of something else: %v", err)
	}
}

// takes has a policy taken from the file.
func takes(m *memory, p plan.InputPolicy) error {
	_, err := trials{m}.takeInput(p, local.ApplyRequest{}, scene{})
	return err
}

func configured(p plan.InputPolicy) config.GateFirewall {
	return config.GateFirewall{Protect: p.Protect, Accept: p.Accept}
}

func TestConfirmWhenThereIsNothing(t *testing.T) {
	g := newTestMemory(t)
	says := func(what string) {
		t.Helper()
		err := trials{g}.confirm(local.ConfirmRequest{})
		if _, ok := errors.AsType[*local.RefusedError](err); !ok || !strings.Contains(err.Error(), what) {
			t.Errorf("it says %v, wanted %q", err, what)
		}
	}
	g.state.Config.Firewall.Protect = false
	says("nothing waits for a confirmation")
	g.state.Config.Firewall = configured(accepting(t))
	must(t, takes(g, accepting(t)))
	must(t, trials{g}.confirm(local.ConfirmRequest{}))
	says("kept already: confirmed")
	must(t, takes(g, plan.InputPolicy{}))
	must(t, takes(g, accepting(t)))
	g.inputs.trial.deadline = time.Now()
	says("was reverted")
	if got := g.inputs.problem(plan.WantedInput(g.state.Config)); len(got) != 1 || !strings.Contains(got[0], "not in force") {
		t.Errorf("status does not say so: %v", got)
	}
}

// A disk that takes no writes keeps a confirmation from being remembered, so it
// does not count.
func TestAConfirmationThatCannotBeSaved(t *testing.T) {
	g := newTestMemory(t)
	must(t, takes(g, accepting(t)))
	must(t, g.store.(*store.Store).Close())
	if err := (trials{g}).confirm(local.ConfirmRequest{}); err == nil || !strings.Contains(err.Error(), "is reverted in") {
		t.Errorf("it says %v", err)
	}
	if g.inputs.trial == nil || g.inputs.kept.Protect {
		t.Errorf("it counts: %+v", g.inputs)
	}
}

func TestAStartBeginsWithWhatWasKept(t *testing.T) {
	g := newTestMemory(t)
	must(t, trials{g}.keep(accepting(t, "9000-9010/tcp"), ""))
	for file, want := range map[string]plan.InputPolicy{
		"":                                accepting(t, "9000-9010/tcp"), // closes more than what was kept: not in force
		"[firewall]\ninput = \"leave\"\n": {},
		"[firewall]\naccept = [\"9000-9010/tcp\", \"53\"]\n": accepting(t, "9000-9010/tcp", "53"),
		"[firewall]\naccept = [\"9000-9009/tcp\", \"9\"]\n":  accepting(t, "9000-9010/tcp"),
		"[firewall]\naccept = \"9000-9010/tcp\"\naccept_protocols = [\"gre\", \"6in4\"]\n": {
			Protect: true, Accept: accepting(t, "9000-9010/tcp").Accept, Protocols: []forward.Protocol{41, 47},
		},
	} {
		var s stored
		if loaded, err := g.store.Load(storedName, &s); err != nil || !loaded.Found {
			t.Fatalf("%+v, %v", loaded, err)
		}
		next := newTestMemory(t)
		c, err := config.ParseGate("gate.toml", []byte("version = 1\n"+file))
		must(t, err)
		next.state.Config = c
		next.startInput(s.Input)
		if !next.inputs.kept.Same(want) || next.inputs.trial != nil {
			t.Errorf("with %q it starts with %+v", file, next.inputs)
		}
	}
	var damaged storedInput
	for _, text := range []string{`{"protect":true,"accept":["0/tcp"]}`, `{"protect":true,"protocols":[300]}`} {
		if err := json.Unmarshal([]byte(text), &damaged); err == nil {
			t.Errorf("%s was remembered", text)
		}
	}
}

// To accept a protocol no more may cut off who comes by it.
func TestClosingAProtocolIsOnTrial(t *testing.T) {
	g := newTestMemory(t)
	tunnels := accepting(t)
	tunnels.Protocols = []forward.Protocol{41, 47}
	must(t, trials{g}.keep(tunnels, ""))
	var s stored
	if _, err := g.store.Load(storedName, &s); err != nil || !plan.InputPolicy(*s.Input).Same(tunnels) {
		t.Errorf("remembered as %+v, %v", s.Input, err)
	}
	fewer := accepting(t)
	fewer.Protocols = []forward.Protocol{41}
	must(t, takes(g, fewer))
	if g.inputs.trial == nil || strings.Join(g.inputs.trial.closes, " ") != "IP protocol 47" {
		t.Errorf("on trial: %+v", g.inputs.trial)
	}
}

func TestWhatProvesAPolicy(t *testing.T) {
	port := netip.MustParseAddrPort
	session := func(remote string) host.Session {
		return host.Session{Local: port("198.51.100.1:22"), Remote: port(remote)}
	}
	old, peer, own := session("203.0.113.1:40000"), key.Public{1}, []netip.Addr{netip.MustParseAddr("198.51.100.7")}
	before := scene{sessions: []host.Session{old}, received: map[key.Public]uint64{peer: 1000}, tunnel: true}
	alone := before
	alone.tunnel = false
	for _, c := range []struct {
		why    string
		before scene
		now    scene
		proved bool
	}{
		{"nothing is new", before, before, false},
		{"an ssh session and the tunnel", before, scene{sessions: []host.Session{old, session("203.0.113.1:40001")}, received: map[key.Public]uint64{peer: 1148}}, true},
		{"the tunnel is silent", before, scene{sessions: []host.Session{old, session("203.0.113.1:40001")}, received: map[key.Public]uint64{peer: 1000}}, false},
		{"only the old session", before, scene{sessions: []host.Session{old}, received: map[key.Public]uint64{peer: 1148}}, false},
		{"no home was connected", alone, scene{sessions: []host.Session{session("203.0.113.1:40001")}}, true},
		{"the gate itself", alone, scene{sessions: []host.Session{session("127.0.0.1:40001"), session("198.51.100.1:40001"), session("198.51.100.7:40001")}}, false},
	} {
		if _, proved := c.now.proves(c.before, own); proved != c.proved {
			t.Errorf("%s: proved is %v", c.why, proved)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
