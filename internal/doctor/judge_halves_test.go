package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// published adds a forward to healthy evidence, as a home that publishes a port
// without a protocol has it: one entry each. A protocol that is not in served has no
// service.
func published(served ...string) Evidence {
	e := healthyHome()
	for _, protocol := range []string{"tcp", "udp"} {
		here := Forward{Name: "shop", Protocol: protocol, Port: 7060, LastPort: 7060, LocalPort: 7060, Granted: true}
		there := Forward{Name: "shop", Protocol: protocol, Port: 7060, Granted: true, Inside: Closed}
		if slices.Contains(served, protocol) {
			here.Listeners, there.Inside = []netip.AddrPort{at("0.0.0.0:7060")}, TimedOut
		}
		if protocol == "tcp" {
			here.Outside = Closed
			if len(here.Listeners) > 0 {
				here.Outside, there.Inside, there.Before, there.After = Open, Open, 1, 2
			}
		}
		e.Here.Forwards, e.There.Forwards = append(e.Here.Forwards, here), append(e.There.Forwards, there)
	}
	return e
}

// The README's own line, "gatelodge expose 443", in front of a plain web server.
func TestAProtocolWithoutServiceIsANote(t *testing.T) {
	for _, c := range []struct {
		served []string
		note   string
	}{
		{[]string{"tcp", "udp"}, ""},
		{[]string{"tcp"}, "shop (7060/udp): nothing listens there, and visitors use TCP; to publish TCP alone, write 7060/tcp in home.toml in place of 7060"},
		{[]string{"udp"}, "shop (7060/tcp): nothing listens there, and visitors use UDP; to publish UDP alone, write 7060/udp in home.toml in place of 7060"},
	} {
		e := published(c.served...)
		if found := Judge(e); len(found) > 0 {
			t.Errorf("served by %v: %+v", c.served, found)
		}
		if notes := strings.Join(Notes(e), "\n"); notes != c.note {
			t.Errorf("served by %v: notes %q", c.served, notes)
		}
	}
}

func TestNeitherProtocolIsOneFinding(t *testing.T) {
	e := published()
	found := Judge(e)
	const want = "Nothing listens on port 7060 here, neither TCP nor UDP, which shop publishes."
	if len(found) != 1 || found[0].ID != NotListening || found[0].Sentence != want || len(Notes(e)) > 0 {
		t.Errorf("%+v, notes %q", found, Notes(e))
	}
	for i := range e.Here.Forwards { // the same of a device that is switched off
		if f := &e.Here.Forwards[i]; f.Name == "shop" {
			f.To, f.Local = netip.MustParseAddr("192.168.1.99"), Unreachable
		}
	}
	if found := Judge(e); len(found) != 1 || found[0].ID != TargetDown {
		t.Errorf("%+v", found)
	}
}

// A port that is published by one protocol alone is meant.
func TestTheOnlyProtocolIsNoNote(t *testing.T) {
	e := published("tcp")
	e.Here.Forwards, e.There.Forwards = slices.Delete(e.Here.Forwards, 3, 4), slices.Delete(e.There.Forwards, 3, 4)
	if found := Judge(e); len(found) != 1 || found[0].ID != NotListening {
		t.Errorf("%+v", found)
	}
}

// Only the first port of a range is tried.
func TestARangeIsServedByAnyOfItsPorts(t *testing.T) {
	e := healthyHome()
	here := Forward{Name: "games", Protocol: "udp", Port: 25565, LastPort: 25570, LocalPort: 5565, Granted: true}
	e.There.Forwards = append(e.There.Forwards, Forward{Name: "games", Protocol: "udp", Port: 25565, Granted: true, Inside: Closed})
	for socket, want := range map[string]int{"udp 0.0.0.0:5567": 0, "udp 0.0.0.0:5571": 1, "udp 0.0.0.0:25567": 1, "tcp 0.0.0.0:5567": 1} {
		f := here
		protocol, addr, _ := strings.Cut(socket, " ")
		f.Listens(protocol, at(addr))
		one := e
		one.Here.Forwards = append(slices.Clone(e.Here.Forwards), f)
		if found := Judge(one); len(found) != want || len(found)+len(Notes(one)) != 1 {
			t.Errorf("with %s: %+v, notes %q", socket, found, Notes(one))
		}
	}
}

func TestAGateTakesAServedHalfForServed(t *testing.T) {
	for _, c := range []struct {
		tcp, udp        Result
		last            uint16
		findings, notes int
	}{
		{Open, Closed, 80, 0, 1}, {Closed, TimedOut, 80, 0, 1}, {Closed, Closed, 80, 1, 0}, {Closed, Closed, 89, 0, 2}, {Open, TimedOut, 80, 0, 0},
	} {
		e := healthyGate()
		home := e.Here.Homes[0].Name
		e.Here.Forwards = append(e.Here.Forwards,
			Forward{Name: "shop", Home: home, Protocol: "tcp", Port: 80, LastPort: c.last, Granted: true, Inside: c.tcp},
			Forward{Name: "shop", Home: home, Protocol: "udp", Port: 80, LastPort: c.last, Granted: true, Inside: c.udp})
		if found, notes := Judge(e), Notes(e); len(found) != c.findings || len(notes) != c.notes {
			t.Errorf("%+v: %+v, notes %q", c, found, notes)
		}
	}
}
