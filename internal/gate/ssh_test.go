package gate

import (
	"slices"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// The next start finds the ports before an sshd listens there, if the disk has
// taken them, and it is asked to as soon as there is one more.
func TestPortsOfSSHDAreOnDisk(t *testing.T) {
	g := newTestMemory(t)
	for _, ports := range [][]uint16{{2222}, {2022, 2222}, {2022, 2222}} {
		if err := g.review(plan.Facts{SSHPorts: ports}); err != nil {
			t.Fatal(err)
		}
		later, err := newMemory(g.paths, g.state.Config, g.store, g.events)
		if err != nil {
			t.Fatal(err)
		}
		if got := later.everSSH(nil); !slices.Equal(got, ports) {
			t.Errorf("the next start knows of %v, not %v", got, ports)
		}
		reserved := func(r registry.Reserved) bool {
			return r.Ports.Contains(forward.Ports{Protocol: forward.TCP, Range: forward.Range{First: ports[0], Last: ports[0]}})
		}
		if !slices.ContainsFunc(later.state.Reserved(), reserved) {
			t.Errorf("port %d is a home's at the next start", ports[0])
		}
	}
}

// A port is forgotten when the owner says so.
func TestPortsOfSSHDAreForgotten(t *testing.T) {
	g := newTestMemory(t)
	g.state.Facts.SSHPorts = []uint16{22, 2222}
	for _, c := range []struct {
		again bool
		now   []uint16
		want  []uint16
	}{
		{false, nil, []uint16{22, 2222}},
		{false, []uint16{2022}, []uint16{22, 2022, 2222}},
		{true, []uint16{2022}, []uint16{2022}},
		{false, []uint16{2022}, []uint16{2022}},
	} {
		g.ssh.again = g.ssh.again || c.again
		if got := g.notice(plan.Facts{SSHPorts: c.now}).SSHPorts; !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for port := range uint16(1000) {
		g.notice(plan.Facts{SSHPorts: []uint16{port + 1}})
	}
	if n := len(g.state.Facts.SSHPorts); n > maxSSHPorts || !slices.Contains(g.state.Facts.SSHPorts, 1000) {
		t.Errorf("%d ports are remembered, %v", n, g.state.Facts.SSHPorts)
	}
}
