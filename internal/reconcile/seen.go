package reconcile

import (
	"context"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Seen is what a look at the machine has found. What could not be found out is a
// problem, not the end of it.
type Seen struct {
	At       time.Time // of the last look at the tunnel; the counters may be older
	Observed plan.Observed
	Counted  host.Counters
	Drift    []plan.Step
	Problems []string
	peers    map[key.Public]status.Peer // what is known of each; see tally
	visited  map[uint32]time.Time       // when forwards were last visited, by their numbers
}

// Look looks at the whole machine, which takes a while where much is published.
// It is for the doctor: a report is made from what the last round has left.
func Look(ctx context.Context, m host.Machine, want plan.State) Seen {
	s := Seen{At: time.Now(), Problems: host.SavedGuards(want.Firewall.Table)}
	observed, err := m.Observe(ctx, want)
	if err != nil {
		s.Problems = append(s.Problems, err.Error())
		return s
	}
	s.Observed, s.Drift = observed, plan.Diff(observed, want)
	return s
}

// Counters returns what was counted, for a report.
func (s Seen) Counters() status.Counters {
	t := s.Counted.Totals
	return status.Counters{
		Closed: t.Closed.Packets, Invalid: t.Invalid.Packets, Spoofed: t.Spoofed.Packets,
		Tunnel: t.Tunnel.Packets, Leaked: t.Leaked.Packets, Full: t.Full.Packets, Local: t.Local.Packets,
	}
}

// Count fills in what passed through the forward of that number.
func (s Seen) Count(f *status.Forward) {
	c, ok := s.Counted.Forwards[f.ID]
	if !ok {
		return
	}
	f.In = &status.Traffic{Packets: c.In.Packets, Bytes: c.In.Bytes}
	f.Out = &status.Traffic{Packets: c.Out.Packets, Bytes: c.Out.Bytes}
	f.Connections, f.Limited, f.LastConnection = c.NewConnections, c.Dropped.Packets, s.visited[f.ID]
}

// Tunnel returns the interface's part of a report.
func (s Seen) Tunnel(name string, own key.Public, kind plan.Kind, why string) status.Tunnel {
	t := status.Tunnel{
		Interface: name, Device: string(kind), DeviceWhy: why, PublicKey: own,
		Up:         s.Observed.WireGuard.Present && s.Observed.Routing.LinkUp,
		ListenPort: s.Observed.WireGuard.ListenPort,
		MTU:        s.Observed.Routing.MTU,
	}
	for _, p := range s.Observed.Routing.Addresses {
		t.Addresses = append(t.Addresses, p.Addr())
	}
	return t
}

// Published returns a forward's part of a report: what a home asks for.
func Published(p forward.Published) status.Forward {
	s := status.Forward{Name: p.Name, Families: p.Families.String(), Source: forward.Preserve.String(), Limit: p.Limit.String()}
	if p.Masquerade {
		s.Source = forward.Masquerade.String()
	}
	for _, q := range p.Ports {
		s.Ports = append(s.Ports, q.String())
	}
	for _, a := range p.Allow {
		s.Allow = append(s.Allow, a.String())
	}
	return s
}

// Wanted returns a forward's part of a report on a home, which knows more of it than
// its gate.
func Wanted(f forward.Forward, facts plan.Facts) status.Forward {
	s := Published(f.Published())
	s.Source, s.Ports = plan.ResolveSource(f, facts).String(), nil
	for _, m := range f.Mappings {
		s.Ports = append(s.Ports, m.String())
	}
	if f.To.IsValid() {
		s.To = f.To.String()
	}
	return s
}

// Texts returns steps in words.
func Texts(steps []plan.Step) []string {
	list := []string{}
	for _, s := range steps {
		list = append(list, s.String())
	}
	return list
}
