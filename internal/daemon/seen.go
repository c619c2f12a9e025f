package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// seen is what a look at the machine has found, for a report. What could not
// be found out is a problem of the report, not its end.
type seen struct {
	observed plan.Observed
	counted  host.Counters
	drift    []string
	problems []string
}

func look(ctx context.Context, h *host.Host, want plan.State) seen {
	s := seen{drift: []string{}, problems: host.SavedGuards(want.Firewall.Table)}
	observed, err := h.Observe(ctx, want)
	if err != nil {
		s.problems = append(s.problems, err.Error())
		return s
	}
	s.observed = observed
	for _, c := range plan.Diff(observed, want) {
		s.drift = append(s.drift, c.String())
	}
	if !observed.Firewall.Present {
		return s
	}
	if s.counted, err = h.Counters(ctx, want.Firewall.Table); err != nil {
		s.problems = append(s.problems, err.Error())
	}
	return s
}

func (s seen) peer(k key.Public) plan.ObservedPeer {
	peers := s.observed.WireGuard.Peers
	i := slices.IndexFunc(peers, func(p plan.ObservedPeer) bool { return p.PublicKey == k })
	if i < 0 {
		return plan.ObservedPeer{PublicKey: k}
	}
	return peers[i]
}

func (s seen) counters() status.Counters {
	t := s.counted.Totals
	return status.Counters{
		Closed: t.Closed.Packets, Invalid: t.Invalid.Packets, Spoofed: t.Spoofed.Packets,
		Tunnel: t.Tunnel.Packets, Leaked: t.Leaked.Packets, Full: t.Full.Packets, Local: t.Local.Packets,
	}
}

// count fills in what passed through a forward.
func (s seen) count(f *status.Forward) {
	c, ok := s.counted.Forwards[f.ID]
	if !ok {
		return
	}
	f.In = &status.Traffic{Packets: c.In.Packets, Bytes: c.In.Bytes}
	f.Out = &status.Traffic{Packets: c.Out.Packets, Bytes: c.Out.Bytes}
	f.Connections, f.Limited = c.NewConnections, c.Dropped.Packets
}

func limitText(l forward.Limit) string {
	text := l.NewConnections.String()
	if l.Connections == 0 {
		return text
	}
	if text != "" {
		text += ", "
	}
	return text + fmt.Sprintf("%d connections", l.Connections)
}

func texts(changes []plan.Change) []string {
	list := []string{}
	for _, c := range changes {
		list = append(list, c.String())
	}
	return list
}

func logChanges(log *slog.Logger, changes []plan.Change) {
	for _, c := range changes {
		log.Info("changed", "what", c.String())
	}
}
