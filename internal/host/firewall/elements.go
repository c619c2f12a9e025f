package firewall

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// family is one of the two address families, by the digit that ends the names
// of its sets.
type family struct {
	digit    string // "4" or "6"
	addrType string // of set elements
	has      func(netip.Addr) bool
	words    *strings.Replacer // of rules
}

// ip is nft's word for the header of the family.
func (f family) ip() string {
	if f.digit == "4" {
		return "ip"
	}
	return "ip6"
}

// families are both, in the order in which they are written.
var families = [...]family{
	{"4", "ipv4_addr", netip.Addr.Is4, strings.NewReplacer(
		"{n}", "4", "{ip}", "ip", "{icmp}", "icmp",
		"{errors}", "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
	)},
	{"6", "ipv6_addr", netip.Addr.Is6, strings.NewReplacer(
		"{n}", "6", "{ip}", "ip6", "{icmp}", "icmpv6",
		"{errors}", "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
	)},
}

// rules splits text into its lines, one rule each, with the family's own words
// in the places of those in braces.
func (f family) rules(text string) []string { return rules(f.words.Replace(text)) }

// portIs are rules that look a port up in the family's sets of that name.
func (f family) portIs(set, port, verdict string) []string {
	text := "meta l4proto { tcp, udp } meta l4proto . " + port + " @" + set + "{n}"
	return f.rules(text + " " + verdict + "\n" + text + "_ranges " + verdict)
}

// eachFamily are the same rules for both families.
func eachFamily(text string) []string {
	var list []string
	for _, f := range families {
		list = append(list, f.rules(text)...)
	}
	return list
}

// portKey is the key of everything that is looked up by public port.
const portKey = "inet_proto . inet_service"

// interval lets a set hold ranges.
const interval = "flags interval"

// addressSets returns a set for each family: name4 and name6.
func addressSets(name string, addrs []netip.Addr) []set {
	var sets []set
	for _, f := range families {
		sets = append(sets, set{name: name + f.digit, key: f.addrType, elements: addresses(f, addrs)})
	}
	return sets
}

// addresses returns those of one family, sorted, each once, and without zone,
// which nft(8) does not know.
func addresses(f family, addrs []netip.Addr) []string {
	var plain []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap().WithZone(""); f.has(a) {
			plain = append(plain, a)
		}
	}
	slices.SortFunc(plain, netip.Addr.Compare)
	var elements []string
	for _, a := range slices.Compact(plain) {
		elements = append(elements, a.String())
	}
	return elements
}

// prefixSets returns a set for each family: name4 and name6.
func prefixSets(name string, list []netip.Prefix) []set {
	var sets []set
	for _, f := range families {
		sets = append(sets, set{
			name: name + f.digit, key: f.addrType, options: []string{interval},
			elements: prefixes(f, list),
		})
	}
	return sets
}

// prefixes returns those of one family, sorted, without those that lie in
// another: a set of intervals admits no overlap.
func prefixes(f family, list []netip.Prefix) []string {
	var masked []netip.Prefix
	for _, p := range list {
		if f.has(p.Addr()) {
			masked = append(masked, p.Masked())
		}
	}
	slices.SortFunc(masked, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var elements []string
	var last netip.Prefix
	for _, p := range masked {
		if last.IsValid() && last.Contains(p.Addr()) {
			continue
		}
		last = p
		elements = append(elements, p.String())
	}
	return elements
}

// entry is an element whose key is a range of ports of one protocol.
type entry struct {
	ports forward.Ports
	data  string // "": of a set, not of a map
}

// portSets returns the entries as two sets, or with data as two maps: name with
// single ports, and name_ranges with ranges. They are apart because filling a
// set of concatenated intervals takes the kernel a time that grows with the
// square of their number, and there may be tens of thousands of single ports.
func portSets(name, data string, entries []entry) ([]set, error) {
	sorted, err := sortEntries(entries)
	if err != nil {
		return nil, err
	}
	ports := set{name: name, key: portKey, data: data}
	ranges := set{name: name + "_ranges", key: portKey, data: data, options: []string{interval}}
	for _, e := range sorted {
		s := &ports
		if e.ports.Range.Len() > 1 {
			s = &ranges
		}
		s.elements = append(s.elements, e.text())
	}
	return []set{ports, ranges}, nil
}

// sortEntries sorts by protocol and port. Two for one port are an error: one of
// them would silently lose.
func sortEntries(entries []entry) ([]entry, error) {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b entry) int {
		return cmp.Or(
			cmp.Compare(a.ports.Protocol, b.ports.Protocol),
			cmp.Compare(a.ports.Range.First, b.ports.Range.First),
		)
	})
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1].ports, sorted[i].ports; a.Overlaps(b) {
			return nil, fmt.Errorf("%s and %s are two forwards for one port", a, b)
		}
	}
	return sorted, nil
}

func (e entry) text() string {
	if e.data == "" {
		return portText(e.ports)
	}
	return portText(e.ports) + " : " + e.data
}

func portText(p forward.Ports) string {
	return p.Protocol.String() + " . " + p.Range.String() // there may be 60,000
}

// portSet returns a set of ports of both families.
func portSet(name string, ports forward.PortSet) set {
	s := set{name: name, key: portKey, options: []string{interval}}
	for _, p := range forward.NewPortSet(ports...) {
		s.elements = append(s.elements, portText(p))
	}
	return s
}

// protocolSet returns a set of IP protocols. They are numbers, as nft(8) has
// names for those that it finds in /etc/protocols alone.
func protocolSet(name string, list []forward.Protocol) set {
	s := set{name: name, key: "inet_proto"}
	for _, p := range list {
		s.elements = append(s.elements, fmt.Sprint(uint8(p)))
	}
	return s
}

// single returns the set of one port.
func single(p forward.Protocol, port uint16) forward.Ports {
	return forward.Ports{Protocol: p, Range: forward.Range{First: port, Last: port}}
}
