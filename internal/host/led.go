package host

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/foreign"
	"github.com/gatelodge/gatelodge/internal/host/routing"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// mostFollowed bounds for how many ports others' rules are asked in each round.
const mostFollowed = 1000

// Led finds out which of the forwards' targets at addresses of this machine
// others lead elsewhere: see plan.Followed. It is cheap where there are none.
func Led(forwards []forward.Forward, facts plan.Facts, tunnel string) ([]plan.Led, error) {
	asked := ownTargets(forwards, facts)
	if len(asked) == 0 {
		return nil, nil
	}
	packets := make([]foreign.Packet, len(asked))
	for i, l := range asked {
		packets[i] = foreign.Packet{
			Hook: foreign.Arrival, In: tunnel, Tunnel: tunnel, IPv6: l.At.Addr().Is6(),
			Protocol: ipProtocol(l.Protocol), Dst: l.At.Addr(), Port: l.At.Port(),
		}
	}
	targets, err := foreign.Leads(packets, tunnel, firewall.GuardTable(tunnel))
	if err != nil {
		return nil, err
	}
	var led []plan.Led
	for i, to := range targets {
		if l := asked[i]; to != l.At && reachable(l.At.Addr(), to.Addr()) {
			l.To = to
			led = append(led, l)
		}
	}
	return led, nil
}

// PublishedAt returns those of this machine's addresses at which the rules of
// others publish a port that a mapping leads to.
func PublishedAt(m forward.Mapping, tunnel string) ([]netip.Addr, error) {
	own, err := routing.Addresses()
	if err != nil {
		return nil, err
	}
	m.Local.Last = m.Local.First // the first stands for all, so that every address is asked
	var forwards []forward.Forward
	for _, a := range own {
		forwards = append(forwards, forward.Forward{To: a, Mappings: []forward.Mapping{m}})
	}
	led, err := Led(forwards, plan.Facts{Own: own}, tunnel)
	var at []netip.Addr
	for _, l := range led {
		at = append(at, l.At.Addr())
	}
	return at, err
}

// ownTargets lists the ports of this machine's addresses that forwards name, in
// order.
func ownTargets(forwards []forward.Forward, facts plan.Facts) []plan.Led {
	var list []plan.Led
	for _, f := range forwards {
		if !f.To.IsValid() || !slices.Contains(facts.Own, f.To) {
			continue
		}
		for _, m := range f.Mappings {
			for i := range min(m.Local.Len(), mostFollowed-len(list)) {
				at := netip.AddrPortFrom(f.To, m.Local.First+uint16(i))
				list = append(list, plan.Led{Protocol: m.Public.Protocol, At: at})
			}
		}
	}
	slices.SortFunc(list, func(a, b plan.Led) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.At.Compare(b.At))
	})
	return slices.Compact(list)
}

// reachable reports whether a visitor's packet for one address may be led to the
// other: the kernel lets none from outside on to loopback.
func reachable(at, to netip.Addr) bool {
	return to.IsValid() && to.Is4() == at.Is4() && !to.IsLoopback() && !to.IsUnspecified() && !to.IsMulticast() && !to.IsLinkLocalUnicast()
}
