package plan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
)

func published(t *testing.T, name, ports, rate string, allow ...string) Choice {
	t.Helper()
	list, err := forward.ParsePorts(ports)
	if err != nil {
		t.Fatal(err)
	}
	p := forward.Published{Name: name, Ports: list, Families: forward.Families{IPv4: true, IPv6: true}}
	if rate != "" {
		if p.Limit.NewConnections, err = forward.ParseRate(rate); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range allow {
		p.Allow = append(p.Allow, netip.MustParsePrefix(a))
	}
	return ForwardChoice(p, []string{ports}, "home attic")
}

// What an owner has edited is told in the owner's terms.
func TestWhatAnOwnerEdited(t *testing.T) {
	before := append(InputChoices(accepting(t, "8080/tcp")), published(t, "game", "25565/udp", "20/second"), published(t, "old", "80/tcp", ""))
	after := append(InputChoices(accepting(t, "53/udp")), published(t, "game", "25565/udp", "50/second"), published(t, "web", "443/tcp", "", "192.0.2.0/24"))
	var got []string
	for _, c := range Compare(before, after) {
		got = append(got, c.String())
	}
	want := []string{
		"+ accept 53/udp",
		"~ forward game: limit 20/second → 50/second",
		"+ forward web 443/tcp → home attic, allow 192.0.2.0/24",
		"- accept 8080/tcp",
		"- forward old 80/tcp → home attic",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if same := Compare(after, after); len(same) != 0 {
		t.Errorf("nothing was edited, and it says %v", same)
	}
}

// Two homes may give two forwards one name.
func TestForwardsOfTwoHomes(t *testing.T) {
	a, b := published(t, "web", "443/tcp", ""), published(t, "web", "8443/tcp", "")
	a.Of, b.Of = "attic", "barn"
	if got := Compare([]Choice{a}, []Choice{a, b}); len(got) != 1 || got[0].Kind != Added {
		t.Errorf("%v", got)
	}
}

func TestEveryStepHasAChange(t *testing.T) {
	for _, s := range []Step{
		LoadFirewall{Table: "t", Reasons: []string{"x"}}, RaiseGuard{Table: "t", Reasons: []string{"x"}}, ConfigureWireGuard{Interface: "i", Reasons: []string{"x"}},
		SetLink{"i", 1420}, AddAddress{}, DeleteAddress{}, AddRoute{}, DeleteRoute{}, AddRule{}, DeleteRule{}, SetSysctl{Sysctl{"a.b", "1"}, "0"},
	} {
		c := s.Change()
		if c.Subject == "" || c.Kind == "" || s.String() != c.String() {
			t.Errorf("%T: %+v", s, c)
		}
	}
}

func accepting(t *testing.T, list ...string) InputPolicy {
	t.Helper()
	p := InputPolicy{Protect: true}
	for _, text := range list {
		ports, err := forward.ParsePorts(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Accept = p.Accept.Union(forward.NewPortSet(ports...))
	}
	return p
}
