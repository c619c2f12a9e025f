package plan_test

import (
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

func sysctlOf(s plan.State, name string) string {
	for _, c := range s.Routing.Sysctls {
		if c.Name == name {
			return c.Value
		}
	}
	return "not set"
}

func TestTheTableOfConnectionsFitsTheMachine(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		why      string
		table    plan.ConnectionTable
		wanted   string
		visitors int
	}{
		{"a small VPS", plan.ConnectionTable{Max: 4096, Memory: 512 * mib}, "65536", 57344},
		{"less than a tenth of that", plan.ConnectionTable{Max: 1024, Memory: 40 * mib}, "16384", 14336},
		{"a large machine", plan.ConnectionTable{Max: 65536, Memory: 64 << 30}, "262144", 229376},
		{"never lower", plan.ConnectionTable{Max: 1 << 20, Memory: 512 * mib}, "not set", 917504},
		{"another's to set", plan.ConnectionTable{Max: 4096, Memory: 512 * mib, Fixed: true}, "not set", 3072},
		{"a tiny one", plan.ConnectionTable{Max: 200, Fixed: true}, "not set", 100},
		{"no conntrack yet", plan.ConnectionTable{Memory: 512 * mib}, "not set", 0},
	} {
		s := plan.ForGate(parseGate(t, "version = 1\n"), plan.GateInput{}, plan.Facts{Connections: c.table})
		if got := sysctlOf(s, "net.netfilter.nf_conntrack_max"); got != c.wanted {
			t.Errorf("%s: the table's size is %s, wanted %s", c.why, got, c.wanted)
		}
		if got := s.Firewall.Gate.Connections; got != c.visitors {
			t.Errorf("%s: %d for visitors, wanted %d", c.why, got, c.visitors)
		}
		// A home is as small a machine as a gate.
		s = plan.ForHome(parseHome(t, "version = 1\n"), plan.HomeInput{}, plan.Facts{Connections: c.table})
		if got, room := sysctlOf(s, "net.netfilter.nf_conntrack_max"), s.Firewall.Home.Connections; got != c.wanted || room != c.visitors {
			t.Errorf("%s: at home the table's size is %s with %d for visitors", c.why, got, room)
		}
	}
}

func TestHalfOpenConnectionsAreForgottenSoon(t *testing.T) {
	sent, received := plan.HalfOpenTimes[0], plan.HalfOpenTimes[1]
	for _, c := range []struct {
		why            string
		found          []plan.Sysctl
		sent, received string
	}{
		{"as the kernel has it", []plan.Sysctl{{Name: sent, Value: "120"}, {Name: received, Value: "60"}}, "10", "10"},
		{"one is shorter already", []plan.Sysctl{{Name: sent, Value: "5"}, {Name: received, Value: "11"}}, "not set", "10"},
		{"one cannot be changed", []plan.Sysctl{{Name: sent, Value: "120"}}, "10", "not set"},
		{"what is no number", []plan.Sysctl{{Name: sent, Value: "soon"}}, "not set", "not set"},
	} {
		facts := plan.Facts{Connections: plan.ConnectionTable{HalfOpen: c.found}}
		gate := plan.ForGate(parseGate(t, "version = 1\n"), plan.GateInput{}, facts)
		home := plan.ForHome(parseHome(t, "version = 1\n"), plan.HomeInput{}, facts)
		for _, s := range []plan.State{gate, home} {
			if a, b := sysctlOf(s, sent), sysctlOf(s, received); a != c.sent || b != c.received {
				t.Errorf("%s: %s and %s, wanted %s and %s", c.why, a, b, c.sent, c.received)
			}
		}
	}
}

func TestOwnConnectionsLeaveForwardedPortsAlone(t *testing.T) {
	const name = "net.ipv4.ip_local_reserved_ports"
	in := plan.GateInput{Forwards: []forward.Grant{
		{ID: 1, Published: forward.Published{Ports: mustPorts(t, "443")}},
		{ID: 2, Published: forward.Published{Ports: mustPorts(t, "40000-40010/udp")}},
		{ID: 3, Published: forward.Published{Ports: mustPorts(t, "40011/tcp")}},
		{ID: 4, Published: forward.Published{Ports: mustPorts(t, "32000-32770/tcp")}},
	}}
	local := plan.LocalPorts{Range: forward.Range{First: 32768, Last: 60999}, Reserved: "8000,50000-50002"}
	c := parseGate(t, "version = 1\n")
	if got, want := sysctlOf(plan.ForGate(c, in, plan.Facts{LocalPorts: local}), name), "8000,32768-32770,40000-40011,50000-50002,55107-55108"; got != want {
		t.Errorf("reserved are %s, wanted %s", got, want)
	}
	if got := sysctlOf(plan.ForGate(c, plan.GateInput{}, plan.Facts{LocalPorts: local}), name); got != "8000,50000-50002,55107-55108" {
		t.Errorf("once the forwards are gone: %s", got)
	}
	local.Reserved = "what?"
	if got := sysctlOf(plan.ForGate(c, in, plan.Facts{LocalPorts: local}), name); got != "not set" {
		t.Errorf("what is no list is overwritten with %s", got)
	}
}

// Who publishes everything leaves the gate ports for its own connections, and
// none of those that it listens at.
func TestTheGateKeepsPortsForItself(t *testing.T) {
	const name = "net.ipv4.ip_local_reserved_ports"
	c := parseGate(t, "version = 1\n")
	everything := []forward.Grant{{ID: 1, Published: forward.Published{Ports: mustPorts(t, "1024-65535")}}}
	for _, r := range []struct {
		why         string
		first, last uint16
		owners      string
		forwards    []forward.Grant
		want        string
	}{
		{"all ports", 32768, 60999, "", everything, "32768-60487"},
		{"the owner's own are no further", 32768, 60999, "60000-60999", everything, "32768-59487,60000-60999"},
		{"the control channel lies among the last", 54000, 55200, "", everything, "54000-54686,55107-55108"},
		{"a range of few ports", 55000, 55200, "", everything, "55107-55108"},
		{"enough is left", 32768, 60999, "", []forward.Grant{{ID: 1, Published: forward.Published{Ports: mustPorts(t, "1024-60000/tcp")}}}, "32768-60000"},
		{"two homes together", 32768, 60999, "", []forward.Grant{{ID: 1, Published: forward.Published{Ports: mustPorts(t, "1024-60000/tcp")}}, {ID: 2, Published: forward.Published{Ports: mustPorts(t, "60001-65535/udp")}}}, "32768-60487"},
	} {
		local := plan.LocalPorts{Range: forward.Range{First: r.first, Last: r.last}, Reserved: r.owners}
		got := sysctlOf(plan.ForGate(c, plan.GateInput{Forwards: r.forwards}, plan.Facts{LocalPorts: local}), name)
		if got != r.want {
			t.Errorf("%s: reserved are %s, wanted %s", r.why, got, r.want)
		}
	}
}

func mustPorts(t *testing.T, text string) []forward.Ports {
	t.Helper()
	ports, err := forward.ParsePorts(text)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}
