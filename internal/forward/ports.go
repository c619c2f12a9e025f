package forward

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Protocol is a transport protocol by its IANA number.
type Protocol uint8

// The protocols that can be forwarded.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

// String returns "tcp" or "udp".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	default:
		return fmt.Sprintf("protocol %d", uint8(p))
	}
}

// ParseProtocol reads "tcp" or "udp".
func ParseProtocol(s string) (Protocol, error) {
	switch s {
	case "tcp":
		return TCP, nil
	case "udp":
		return UDP, nil
	default:
		return 0, fmt.Errorf("protocol %.40q is not tcp or udp", s)
	}
}

// A Range is a run of ports, both ends included. A valid one has
// 1 ≤ First ≤ Last.
type Range struct {
	First uint16
	Last  uint16
}

// String returns "80" or "80-90".
func (r Range) String() string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Len returns the number of ports in the range.
func (r Range) Len() int { return int(r.Last) - int(r.First) + 1 }

// Overlaps reports whether the two ranges share a port.
func (r Range) Overlaps(o Range) bool { return r.First <= o.Last && o.First <= r.Last }

// Contains reports whether port is in the range.
func (r Range) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// ParseRange reads "80" or "80-90".
func ParseRange(s string) (Range, error) {
	first, last, isRange := strings.Cut(s, "-")
	lo, err := parsePort(first)
	if err != nil {
		return Range{}, err
	}
	if !isRange {
		return Range{lo, lo}, nil
	}
	hi, err := parsePort(last)
	if err != nil {
		return Range{}, err
	}
	if lo > hi {
		return Range{}, fmt.Errorf("port range %.40q runs backwards; write %d-%d", s, hi, lo)
	}
	return Range{lo, hi}, nil
}

// Ports is a range of ports of one protocol.
type Ports struct {
	Protocol Protocol
	Range    Range
}

// String returns a form that ParsePorts reads, such as "80/tcp".
func (p Ports) String() string { return p.Range.String() + "/" + p.Protocol.String() }

// Overlaps reports whether the two share a port.
func (p Ports) Overlaps(o Ports) bool {
	return p.Protocol == o.Protocol && p.Range.Overlaps(o.Range)
}

// ParsePorts reads "80/tcp", "25565-25570/udp", or, for both protocols,
// "443".
func ParsePorts(s string) ([]Ports, error) {
	ports, protocols, err := cutProtocol(s)
	if err != nil {
		return nil, err
	}
	r, err := ParseRange(ports)
	if err != nil {
		return nil, err
	}
	var all []Ports
	for _, p := range protocols {
		all = append(all, Ports{p, r})
	}
	return all, nil
}

// A Mapping publishes ports at the gate and says which ports of the target
// they are: ranges of the same length, mapped one to one.
type Mapping struct {
	Public Ports
	Local  Range
}

// String returns a form that ParseMapping reads, such as "2222:22/tcp".
func (m Mapping) String() string {
	if m.Public.Range == m.Local {
		return m.Public.String()
	}
	return m.Public.Range.String() + ":" + m.Local.String() + "/" + m.Public.Protocol.String()
}

// ParseMapping reads PUBLIC[:LOCAL][/PROTOCOL]: "443" (tcp and udp),
// "25565-25570/udp", "2222:22/tcp", "8000-8009:9000-9009/tcp".
func ParseMapping(s string) ([]Mapping, error) {
	ports, protocols, err := cutProtocol(s)
	if err != nil {
		return nil, err
	}
	publicText, localText, remapped := strings.Cut(ports, ":")
	public, err := ParseRange(publicText)
	if err != nil {
		return nil, err
	}
	local := public
	if remapped {
		if local, err = ParseRange(localText); err != nil {
			return nil, err
		}
	}
	if public.Len() != local.Len() {
		return nil, fmt.Errorf("ports %.40q map %d public ports to %d local ones; both ranges must have the same length", s, public.Len(), local.Len())
	}
	var all []Mapping
	for _, p := range protocols {
		all = append(all, Mapping{Public: Ports{p, public}, Local: local})
	}
	return all, nil
}

func cutProtocol(s string) (ports string, protocols []Protocol, err error) {
	ports, name, found := strings.Cut(s, "/")
	if !found {
		return ports, []Protocol{TCP, UDP}, nil
	}
	p, err := ParseProtocol(name)
	if err != nil {
		return "", nil, fmt.Errorf("ports %.40q: %w", s, err)
	}
	return ports, []Protocol{p}, nil
}

func parsePort(s string) (uint16, error) {
	n, err := parseDecimal(s, 65535)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a port: write a number from 1 to 65535", s)
	}
	if n == 0 {
		return 0, errors.New("port 0 does not exist: ports go from 1 to 65535")
	}
	return uint16(n), nil
}

// parseDecimal reads plain digits without sign or leading zero, so that every
// number has one spelling.
func parseDecimal(s string, limit uint32) (uint32, error) {
	var n uint32
	if s == "" || len(s) > 9 || len(s) > 1 && s[0] == '0' {
		return 0, errors.New("not a plain number")
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, errors.New("not a plain number")
		}
		n = n*10 + uint32(c-'0')
	}
	if n > limit {
		return 0, fmt.Errorf("more than %d", limit)
	}
	return n, nil
}

// A PortSet is a set of ports: sorted by protocol and port, without overlap
// and without two ranges that touch. Build one with NewPortSet.
type PortSet []Ports

// NewPortSet returns the union of ports.
func NewPortSet(ports ...Ports) PortSet {
	sorted := slices.Clone(ports)
	slices.SortFunc(sorted, func(a, b Ports) int {
		if a.Protocol != b.Protocol {
			return int(a.Protocol) - int(b.Protocol)
		}
		return int(a.Range.First) - int(b.Range.First)
	})
	var set PortSet
	for _, p := range sorted {
		if last := len(set) - 1; last >= 0 && set[last].Protocol == p.Protocol && int(p.Range.First) <= int(set[last].Range.Last)+1 {
			set[last].Range.Last = max(set[last].Range.Last, p.Range.Last)
			continue
		}
		set = append(set, p)
	}
	return set
}

// Union returns the ports that are in either set.
func (s PortSet) Union(o PortSet) PortSet { return NewPortSet(append(slices.Clone(s), o...)...) }

// Contains reports whether every one of the given ports is in the set.
func (s PortSet) Contains(p Ports) bool {
	return slices.ContainsFunc(s, func(q Ports) bool {
		return q.Protocol == p.Protocol && q.Range.First <= p.Range.First && p.Range.Last <= q.Range.Last
	})
}

// Intersect returns those of the given ports that are in the set.
func (s PortSet) Intersect(p Ports) PortSet {
	var in PortSet
	for _, q := range s {
		if q.Overlaps(p) {
			in = append(in, Ports{p.Protocol, Range{max(p.Range.First, q.Range.First), min(p.Range.Last, q.Range.Last)}})
		}
	}
	return in
}

// Without returns the set without the ports of o.
func (s PortSet) Without(o PortSet) PortSet {
	var left PortSet
	for _, p := range s {
		rest := []Ports{p}
		for _, q := range o {
			rest = cut(rest, q)
		}
		left = append(left, rest...)
	}
	return left
}

func cut(from []Ports, q Ports) []Ports {
	var left []Ports
	for _, p := range from {
		if !p.Overlaps(q) {
			left = append(left, p)
			continue
		}
		if p.Range.First < q.Range.First {
			left = append(left, Ports{p.Protocol, Range{p.Range.First, q.Range.First - 1}})
		}
		if q.Range.Last < p.Range.Last {
			left = append(left, Ports{p.Protocol, Range{q.Range.Last + 1, p.Range.Last}})
		}
	}
	return left
}

// String lists the ports, separated by commas.
func (s PortSet) String() string {
	text := make([]string, len(s))
	for i, p := range s {
		text[i] = p.String()
	}
	return strings.Join(text, ", ")
}
