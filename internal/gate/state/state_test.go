package state

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func parsed(t *testing.T, text string) config.Gate {
	t.Helper()
	c, err := config.ParseGate("gate.toml", []byte("version = 1\n"+text))
	must(t, err)
	return c
}

// standing is a gate with one home, attic, that publishes 443/tcp, and an invite
// for barn.
func standing(t *testing.T) State {
	t.Helper()
	private, err := key.NewPrivate()
	must(t, err)
	s := State{File: "gate.toml", Config: parsed(t, ""), Key: private, Registry: registry.New(), Facts: plan.Facts{
		Public: []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("10.0.0.1")}, SSHPorts: []uint16{22},
	}}
	for _, name := range []string{"attic", "barn"} {
		secret, err := key.NewSecret()
		must(t, err)
		made, err := s.Registry.Invite(s.Identity(), name, secret, now, time.Hour)
		must(t, err)
		if name == "attic" {
			own, err := key.NewPrivate()
			must(t, err)
			_, err = s.Registry.Redeem(s.Identity(), secret, made.Address4, own.Public(), now)
			must(t, err)
		}
	}
	ports, err := forward.ParsePorts("443/tcp")
	must(t, err)
	_, err = s.Registry.Push("attic", 1, []forward.Published{{Name: "web", Ports: ports, Families: forward.Families{IPv4: true}}}, s.Policies()("attic"))
	must(t, err)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A home is a peer of the gate, and so is an invite for as long as it answers.
func TestWhoIsAPeer(t *testing.T) {
	s := standing(t)
	if n := len(s.Plan(now).WireGuard.Peers); n != 3 { // the used invite answers for a while, too
		t.Errorf("%d peers, wanted the home and both invites", n)
	}
	if n := len(s.Plan(now.Add(24 * time.Hour)).WireGuard.Peers); n != 1 {
		t.Errorf("a day later %d peers, wanted the home alone", n)
	}
}

// What would be with another file is another value: the one that is stays.
func TestAnotherConfigurationChangesNothing(t *testing.T) {
	s := standing(t)
	would := s.With(parsed(t, "[policy]\ndeny = [\"443/tcp\"]\n"), s.Facts, now)
	if n := len(would.Registry.Granted()); n != 0 {
		t.Errorf("with a policy that denies its port %d forwards are granted", n)
	}
	if n := len(s.Registry.Granted()); n != 1 || len(s.Config.Firewall.Accept) != 0 {
		t.Errorf("the state itself has changed: %d forwards", n)
	}
	var told []string
	for _, c := range plan.Compare(s.Choices(), would.Choices()) {
		told = append(told, c.String())
	}
	if !slices.Contains(told, "- forward web 443/tcp → home attic, families IPv4") {
		t.Errorf("it is told as %q", told)
	}
}

// What a policy would end is listed with its reason, and nothing else is: not what
// becomes free for a forward, and not what stays.
func TestWhatAChangeEnds(t *testing.T) {
	s := standing(t)
	for text, want := range map[string][]string{
		"":                                       nil,
		"[policy]\ndeny = [\"443/tcp\"]\n":       {`this ends web of home "attic": 443/tcp (the gate's policy does not allow 443/tcp for this home)`},
		"[home.attic]\nports = [\"80/tcp\"]\n":   {`this ends web of home "attic": 443/tcp (the gate's policy does not allow 443/tcp for this home)`},
		"[firewall]\naccept = [\"443/tcp\"]\n":   {`this ends web of home "attic": 443/tcp (the gate needs 443/tcp (a service of the gate itself) itself)`},
		"[policy]\nmax_forwards = 1\n":           nil,
		"[home.attic]\nports = [\"443/tcp\"]\n":  nil,
		"[home.another]\nports = [\"80/tcp\"]\n": nil,
	} {
		would := s.With(parsed(t, text), s.Facts, now)
		var got []string
		for _, e := range Ends(s.Registry, would.Registry) {
			got = append(got, e.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q ends %q", text, got)
		}
		if back := Ends(would.Registry, s.Registry); len(back) != 0 {
			t.Errorf("taken back, %q ends %v", text, back)
		}
	}
	narrowed, fewer := s.Registry.Clone(), s.Registry.Clone()
	narrowed.Homes[0].Forwards[0].Families = forward.Families{IPv6: true}
	both, err := forward.ParsePorts("443")
	must(t, err)
	fewer.Homes[0].Forwards[0].Wanted.Ports = both[1:]
	for _, c := range []struct {
		after *registry.State
		want  string
	}{{narrowed, `this ends web of home "attic" over IPv4: 443/tcp`}, {fewer, `this ends web of home "attic": 443/tcp`}} {
		if got := Ends(s.Registry, c.after); len(got) != 1 || got[0].String() != c.want {
			t.Errorf("%v, wanted %s", got, c.want)
		}
	}
}

// What homes were told when they joined stays, or is refused.
func TestWhatHomesKnowStays(t *testing.T) {
	s := standing(t)
	for text, want := range map[string]string{
		"[tunnel]\nprefix4 = \"10.98.0.0/24\"\n": "not in the tunnel's prefix",
		"[tunnel]\ncontrol_port = 55200\n":       "control_port",
		"[tunnel]\ninterface = \"other\"\n":      "cannot become other",
	} {
		err := s.Acceptable(parsed(t, text), s.Facts)
		hint := ""
		if refused, ok := errors.AsType[*local.RefusedError](err); ok {
			hint = refused.Hint
		}
		if err == nil || !strings.Contains(err.Error()+hint, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := s.Acceptable(parsed(t, "[firewall]\naccept = [\"53\"]\n"), s.Facts); err != nil {
		t.Errorf("another input policy: %v", err)
	}
	overlap := s.Facts
	overlap.Networks = []plan.Network{{Prefix: netip.MustParsePrefix("10.99.0.0/25"), Interface: "lan"}}
	if err := s.Acceptable(s.Config, overlap); err == nil || !strings.Contains(err.Error(), "lan") {
		t.Errorf("a network that overlaps: %v", err)
	}
}

// Ports of the gate's own are no home's.
func TestReservedPorts(t *testing.T) {
	s := standing(t)
	s.Config = parsed(t, "[firewall]\naccept = [\"53/udp\"]\n")
	for port, use := range map[string]string{"22/tcp": "ssh", "55107/udp": "WireGuard", "55108/udp": "control channel", "68/udp": "DHCP", "53/udp": "a service"} {
		ports, err := forward.ParsePorts(port)
		must(t, err)
		i := slices.IndexFunc(s.Reserved(), func(r registry.Reserved) bool { return r.Ports.Contains(ports[0]) })
		if i < 0 || !strings.Contains(s.Reserved()[i].Use, use) {
			t.Errorf("%s is not kept for %s", port, use)
		}
	}
}

// An invite names addresses that the internet routes, or what the owner says.
func TestWhereHomesReachTheGate(t *testing.T) {
	s := standing(t)
	if got, err := s.Dialable(); err != nil || !slices.Equal(got, []string{"198.51.100.1:55107"}) {
		t.Errorf("%q, %v", got, err)
	}
	s.Facts.Public = nil
	if _, err := s.Dialable(); err == nil {
		t.Error("a gate without an address gives one")
	}
	s.Config = parsed(t, "[public]\nendpoints = [\"vps.example\"]\n")
	if got, err := s.Dialable(); err != nil || !slices.Equal(got, []string{"vps.example:55107"}) {
		t.Errorf("%q, %v", got, err)
	}
}
