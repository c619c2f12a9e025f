package firewall

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// homePorts returns the sets and maps of what is published, for each family.
func homePorts(h plan.HomeFirewall) ([]set, error) {
	var sets []set
	for _, fam := range families {
		p := portMaps{family: fam}
		if i := slices.IndexFunc(h.Addresses, fam.has); i >= 0 {
			p.own = h.Addresses[i]
		}
		for _, f := range h.Forwards {
			if err := p.add(f); err != nil {
				return nil, err
			}
		}
		list, err := p.sets()
		if err != nil {
			return nil, err
		}
		sets = append(sets, list...)
	}
	return sets, nil
}

// portMaps collects what is published in one family.
type portMaps struct {
	family      family
	own         netip.Addr // this machine's in the tunnel
	published   []entry
	masqueraded []entry
	hidden      []entry // by the gate
	ports       []entry // one by one
	ranges      []entry // of other machines, where ports stay the same
}

func (p *portMaps) add(f plan.HomeForward) error {
	target := f.To
	if !target.IsValid() {
		target = p.own
	}
	served := p.family.has(netip.IPv4Unspecified()) && f.Families.IPv4 || p.family.has(netip.IPv6Unspecified()) && f.Families.IPv6
	if !served || !p.own.IsValid() {
		return nil
	}
	if !p.family.has(target) || target.Zone() != "" {
		return fmt.Errorf("%s cannot lead to %s: wrong address family, or a zone", f.Mapping, target)
	}
	public, local := f.Mapping.Public, f.Mapping.Local
	if public.Range.Len() != local.Len() {
		return fmt.Errorf("%s maps ranges of unequal length", f.Mapping)
	}
	p.published = append(p.published, entry{ports: public})
	if f.Masquerade {
		p.masqueraded = append(p.masqueraded, entry{ports: public})
	}
	if f.Hidden {
		p.hidden = append(p.hidden, entry{ports: public})
	}
	switch {
	case public.Range != local || f.To.IsValid() && local.Len() == 1:
		p.ports = append(p.ports, remapped(public, target, local.First)...)
	case f.To.IsValid():
		p.ranges = append(p.ranges, entry{public, target.String()})
	}
	return nil
}

// remapped returns an element for each port of the range.
func remapped(public forward.Ports, target netip.Addr, first uint16) []entry {
	var entries []entry
	for i := range public.Range.Len() {
		entries = append(entries, entry{
			ports: single(public.Protocol, public.Range.First+uint16(i)),
			data:  fmt.Sprintf("%s . %d", target, first+uint16(i)),
		})
	}
	return entries
}

func (p *portMaps) sets() ([]set, error) {
	digit := p.family.digit
	published, err := portSets("published"+digit, "", p.published)
	if err != nil {
		return nil, err
	}
	// These hold parts of what is published: no port is there twice.
	masqueraded, _ := portSets("masqueraded"+digit, "", p.masqueraded)
	hidden, _ := portSets("hidden"+digit, "", p.hidden)
	return slices.Concat(published, masqueraded, hidden, p.targets("ports"+digit, "targets"+digit)), nil
}

// targets returns the maps of where ports lead, one by one and as ranges.
func (p *portMaps) targets(ports, ranges string) []set {
	single, _ := portSets(ports, p.family.addrType+" . inet_service", p.ports)
	wide, _ := portSets(ranges, p.family.addrType, p.ranges)
	return []set{single[0], wide[1]}
}
