package host_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// forwardings is what forwards on a machine, but for the tunnel.
func (m *machine) forwardings(t testing.TB) string {
	t.Helper()
	text := m.run(t, "", "sh", "-c", `grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv?/conf/*/forwarding | grep -v /gatelodge/`)
	return strings.ReplaceAll(text, "/proc/sys/net/", "")
}

// passesOn makes sure that visitors' packets and the answers are passed on.
func (m *machine) passesOn(t testing.TB) {
	t.Helper()
	for _, name := range []string{"eth0", "gatelodge"} {
		if got := m.run(t, "", "cat", "/proc/sys/net/ipv4/conf/"+name+"/forwarding"); got != "1\n" {
			t.Errorf("%s does not forward", name)
		}
	}
}

// Each interface forwards or does not, whatever is set for all: what passes on
// visitors' packets does, and all are as they were in the end.
func TestEachInterfaceForwardsAsItDidBefore(t *testing.T) {
	tests := []struct {
		name     string
		settings [][2]string
	}{
		{"nothing forwards", nil},
		{"everything does", [][2]string{{"net/ipv4/ip_forward", "1"}, {"net/ipv6/conf/all/forwarding", "1"}}},
		{"one does", [][2]string{{"net/ipv4/conf/docker0/forwarding", "1"}, {"net/ipv6/conf/docker0/forwarding", "1"}}},
		{"the uplink does not", [][2]string{{"net/ipv4/ip_forward", "1"}, {"net/ipv4/conf/eth0/forwarding", "0"}}},
		{"new ones do not", [][2]string{{"net/ipv4/ip_forward", "1"}, {"net/ipv4/conf/default/forwarding", "0"}}},
		{"only the uplink does", [][2]string{{"net/ipv4/conf/eth0/forwarding", "1"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			m.run(t, "link add docker0 type bridge\nlink set docker0 up", "ip", "-batch", "-")
			for _, s := range tt.settings {
				m.sysctl(t, s[0], s[1])
			}
			before := m.forwardings(t)
			want := m.gate(t, "[tunnel]\nprefix6 = \"fd99::/64\"\n")
			bad := want
			bad.Routing.Sysctls = append(slices.Clone(bad.Routing.Sysctls), plan.Sysctl{Name: "net.ipv4.conf.all.rp_filter", Value: "nonsense"})
			if _, err := m.apply(t, m.host, bad); err == nil {
				t.Fatal("a setting has taken nonsense")
			}
			if got := m.forwardings(t); got != before {
				t.Errorf("after a failed step:\n%s\nbefore:\n%s", got, before)
			}
			m.bring(t, want)
			m.passesOn(t)
			must(t, m.host.Close())
			m.remove(t, "gatelodge")
			if got := m.forwardings(t); got != before {
				t.Errorf("after down:\n%s\nbefore:\n%s", got, before)
			}
		})
	}
}

// What somebody switches off for one interface is a difference, and is as they have
// left it in the end.
func TestForwardingSwitchedOffForOneInterface(t *testing.T) {
	m := newMachine(t)
	m.sysctl(t, "net/ipv4/ip_forward", "1")
	want := m.gate(t, "")
	m.bring(t, want)
	for _, name := range []string{"eth0", "gatelodge"} {
		m.sysctl(t, "net/ipv4/conf/"+name+"/forwarding", "0") // as systemd-networkd does
		changes, err := m.apply(t, m.host, want)
		must(t, err)
		if len(changes) != 1 || !strings.Contains(changes[0].String(), name+".forwarding: 0 → 1") {
			t.Errorf("changes %v", changes)
		}
		m.passesOn(t)
	}
	must(t, m.host.Close())
	m.remove(t, "gatelodge")
	if got := m.run(t, "", "cat", "/proc/sys/net/ipv4/conf/eth0/forwarding"); got != "0\n" {
		t.Errorf("after down it is %s", got)
	}
}
