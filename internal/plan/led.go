package plan

import (
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// Led is a port of one of this machine's addresses that the rules of others
// lead elsewhere: a container engine's, that publishes a container there.
type Led struct {
	Protocol forward.Protocol
	At       netip.AddrPort
	To       netip.AddrPort
}

// Followed returns the forwards with the targets that they have in the end. Of
// all the chains that translate a packet's destination only the first has its
// way, and that is ours: what it leads to one of this machine's own addresses
// never meets the rules by which others publish a port there. So visitors are
// led at once to where those would have led them.
func Followed(forwards []forward.Forward, facts Facts) []forward.Forward {
	if len(facts.Led) == 0 {
		return forwards
	}
	var list []forward.Forward
	for _, f := range forwards {
		list = append(list, followed(f, facts.Led)...)
	}
	return list
}

// followed takes the ports that others lead elsewhere out of a forward.
func followed(f forward.Forward, led []Led) []forward.Forward {
	rest := f
	rest.Mappings = nil
	var list []forward.Forward
	for _, m := range f.Mappings {
		next := 0
		for _, l := range led {
			i := int(l.At.Port()) - int(m.Local.First)
			if l.Protocol != m.Public.Protocol || l.At.Addr() != f.To || i < next || i >= m.Local.Len() {
				continue
			}
			there := f
			there.To, there.Mappings = l.To.Addr(), part(m, i, i+1)
			there.Mappings[0].Local = forward.Range{First: l.To.Port(), Last: l.To.Port()}
			list = append(list, there)
			rest.Mappings = append(rest.Mappings, part(m, next, i)...)
			next = i + 1
		}
		rest.Mappings = append(rest.Mappings, part(m, next, m.Local.Len())...)
	}
	if len(rest.Mappings) == 0 {
		return list
	}
	return slices.Insert(list, 0, rest)
}

// part is a mapping from its nth port to before another, if there are any.
func part(m forward.Mapping, from, to int) []forward.Mapping {
	if from >= to {
		return nil
	}
	cut := func(r forward.Range) forward.Range {
		return forward.Range{First: r.First + uint16(from), Last: r.First + uint16(to-1)}
	}
	return []forward.Mapping{{Public: forward.Ports{Protocol: m.Public.Protocol, Range: cut(m.Public.Range)}, Local: cut(m.Local)}}
}
