package firewall

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// six is IPv6: of IPv4, home's router translates the address, so that a visit
// to itself goes round by the gate and comes back from a stranger's.
var six = families[1]

// addHairpin leads this machine's own connections to the gate's public IPv6
// address and a port that is published there to the service itself: round by
// the gate they would come back with this machine's own address, which
// tunnelGuard refuses.
//
// WireGuard's own packets and the doctor's visits are marked; what has the
// tunnel address is an answer. For services of this machine the destination
// becomes the source that the connection has already: a UDP socket bound to any
// address answers from there.
func (d *document) addHairpin(h plan.Hairpin) error {
	if len(h.Gate) == 0 || len(h.Forwards) == 0 {
		return nil
	}
	sets, err := hairpinSets(h)
	if err != nil {
		return err
	}
	d.sets = append(d.sets, sets...)
	d.chains = append(d.chains,
		chain{
			name: "hairpin",
			hook: "type nat hook output priority -101", // before container engines; "dstnat" is no name in this hook
			rules: rules(`
				meta mark and $mask == $outer return
				ip6 daddr @hairpin meta l4proto { tcp, udp } goto to_ourselves
			`),
		},
		chain{name: "to_ourselves", rules: rules(`
			ip6 saddr @own6 return
			meta l4proto . th dport @here dnat ip6 to ip6 saddr
			meta l4proto . th dport @here_ranges dnat ip6 to ip6 saddr
			meta l4proto { tcp, udp } dnat ip6 to ip6 saddr : meta l4proto . th dport map @moved
			meta l4proto { tcp, udp } dnat ip6 to meta l4proto . th dport map @there
			meta l4proto { tcp, udp } dnat ip6 to meta l4proto . th dport map @there_ranges
		`)},
	)
	return nil
}

// hairpinSets are the gate's addresses, and by public port where the service is:
// here with the same port, here with another, or at another address.
func hairpinSets(h plan.Hairpin) ([]set, error) {
	var here, moved []entry
	there := portMaps{family: six, own: netip.IPv6Unspecified()} // which none of these leads to
	for _, f := range h.Forwards {
		public, local := f.Mapping.Public, f.Mapping.Local
		switch {
		case f.To.IsValid():
			if err := there.add(f); err != nil {
				return nil, err
			}
		case !f.Families.IPv6:
		case public.Range == local:
			here = append(here, entry{ports: public})
		default:
			for i := range public.Range.Len() {
				moved = append(moved, entry{single(public.Protocol, public.Range.First+uint16(i)), fmt.Sprint(local.First + uint16(i))})
			}
		}
	}
	same, err := portSets("here", "", here)
	if err != nil {
		return nil, err
	}
	others, err := portSets("moved", "inet_service", moved)
	if err != nil {
		return nil, err
	}
	gate := set{name: "hairpin", key: six.addrType, elements: addresses(six, h.Gate)}
	return slices.Concat([]set{gate}, same, others[:1], there.targets("there", "there")), nil
}
