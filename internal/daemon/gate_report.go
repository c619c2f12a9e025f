package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Report implements role.
func (g *gate) Report(ctx context.Context) status.Report {
	g.mu.Lock()
	facts, r := g.facts, g.registry.Clone()
	problems := slices.Clone(g.problems)
	input := g.inputStatus()
	g.mu.Unlock()
	want := g.want(facts)
	seen := look(ctx, g.host, want)
	letThrough, letErr := agreedTexts(g.opts.Paths)
	if letErr != nil {
		problems = append(problems, letErr.Error())
	}
	report := status.Report{
		Role:       string(plan.Gate),
		Version:    g.opts.Version,
		Running:    true,
		Since:      g.since,
		Tunnel:     g.tunnel(want, seen),
		Input:      input,
		Forwards:   []status.Forward{},
		Counters:   seen.counters(),
		LetThrough: letThrough,
		Drift:      seen.drift,
		Problems:   slices.Concat(problems, g.twins(r.Homes), g.others.last(), seen.problems),
	}
	for _, h := range r.Homes {
		report.Homes = append(report.Homes, homeStatus(h, seen.peer(h.PublicKey), time.Now()))
		report.Forwards = append(report.Forwards, g.forwards(h, seen)...)
	}
	for _, v := range r.Invites {
		if v.Open(time.Now()) {
			report.Invites = append(report.Invites, status.Invite{Name: v.Name, Expires: v.Expires})
		}
	}
	return report
}

func (g *gate) tunnel(want plan.State, seen seen) status.Tunnel {
	return status.Tunnel{
		Interface:  want.Routing.Interface,
		Up:         seen.observed.WireGuard.Present && seen.observed.Routing.LinkUp,
		Device:     string(g.host.Device()),
		DeviceWhy:  g.host.DeviceWhy(),
		PublicKey:  want.WireGuard.PrivateKey.Public(),
		ListenPort: seen.observed.WireGuard.ListenPort,
		MTU:        seen.observed.Routing.MTU,
		Addresses:  bare(seen.observed.Routing.Addresses),
		Public:     g.public(),
	}
}

// twins names the homes that run on several machines.
func (g *gate) twins(homes []registry.Home) []string {
	var problems []string
	for _, h := range homes {
		if g.runs.Several(h.Address4) {
			problems = append(problems, fmt.Sprintf("two machines use the key of home %s: the one that was started last has the tunnel; run gatelodge down on the other, or give it an invite of its own", h.Name))
		}
	}
	return problems
}

func (g *gate) forwards(h registry.Home, seen seen) []status.Forward {
	var list []status.Forward
	for _, f := range h.Forwards {
		s := publishedStatus(f.Wanted)
		s.Home, s.State, s.Reason = h.Name, status.Refused, f.Reason
		if f.Granted {
			s.State, s.ID = status.Granted, f.ID
			s.Families = f.Families.String()
			seen.count(&s)
		}
		list = append(list, s)
	}
	return list
}

// publishedStatus shows what a home asked for.
func publishedStatus(p forward.Published) status.Forward {
	s := status.Forward{Name: p.Name, Families: p.Families.String(), Source: forward.Preserve.String(), Limit: limitText(p.Limit)}
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

// silence is after how long without a handshake a peer counts as gone: the
// time after which WireGuard itself gives up a session (REJECT_AFTER_TIME in
// the WireGuard paper).
const silence = 3 * time.Minute

func homeStatus(h registry.Home, p plan.ObservedPeer, now time.Time) status.Home {
	s := status.Home{
		Name:       h.Name,
		PublicKey:  h.PublicKey,
		Addresses:  addresses(h.Address4, h.Address6),
		Enrolled:   h.Enrolled,
		Connected:  !p.LatestHandshake.IsZero() && now.Sub(p.LatestHandshake) < silence,
		Peer:       peerStatus(p),
		Generation: h.Generation,
	}
	for _, f := range h.Forwards {
		if f.Granted {
			s.Forwards++
		} else {
			s.Refused++
		}
	}
	return s
}

func peerStatus(p plan.ObservedPeer) status.Peer {
	return status.Peer{
		PublicKey:       p.PublicKey,
		Endpoint:        p.Endpoint,
		LatestHandshake: p.LatestHandshake,
		ReceivedBytes:   p.ReceivedBytes,
		SentBytes:       p.SentBytes,
	}
}

func bare(prefixes []netip.Prefix) []netip.Addr {
	addrs := []netip.Addr{}
	for _, p := range prefixes {
		addrs = append(addrs, p.Addr())
	}
	return addrs
}
