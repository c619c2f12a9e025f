// Package forward holds the nouns of the field: protocols, port ranges, port
// mappings, forwards, and what it means for two of them to conflict.
//
// It does no I/O and knows no other package of this module.
package forward

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// A Forward is one published service as its home's owner wrote it: public
// ports at the gate, and a target at home.
type Forward struct {
	Name     string
	Mappings []Mapping
	To       netip.Addr // the target; the zero Addr is the home host itself
	Source   Source
	Allow    []netip.Prefix // visitors let in; none means everyone
	Limit    Limit
}

// Families reports the address families in which visitors can reach the
// forward: both for a service of the home host, the target's own otherwise.
func (f Forward) Families() Families {
	if !f.To.IsValid() {
		return Families{IPv4: true, IPv6: true}
	}
	return Families{IPv4: f.To.Is4(), IPv6: f.To.Is6()}
}

// Published returns the half of the forward that concerns the gate. Local
// ports and targets stay at home: home does the remapping.
func (f Forward) Published() Published {
	ports := make([]Ports, len(f.Mappings))
	for i, m := range f.Mappings {
		ports[i] = m.Public
	}
	return Published{
		Name:     f.Name,
		Ports:    ports,
		Families: f.Families(),
		// Towards a device of the LAN home itself masquerades, so that the
		// gate always hands over the visitor's own address there.
		Masquerade: f.Source == Masquerade && !f.To.IsValid(),
		Allow:      f.Allow,
		Limit:      f.Limit,
	}
}

// MaxID is the highest number that a gate gives to a forward: the number is
// part of connection marks, and has 24 bits of them.
const MaxID = 0x00ffffff

// Published is what a gate knows of a forward: which public ports, for whom,
// and within which limits. It never holds a home's local ports or targets.
type Published struct {
	Name       string
	Ports      []Ports
	Families   Families
	Masquerade bool // the service sees the gate's tunnel address, not the visitor's
	Allow      []netip.Prefix
	Limit      Limit
}

// Grant is a forward as its gate carries it out. Its families are those that
// are granted.
type Grant struct {
	Published
	Home string
	// ID identifies the forward in ct marks, counters and identifiers of the
	// gate's table; 1 to MaxID. It is never taken by another forward while
	// connections of the old one may live.
	ID      uint32
	Target4 netip.Addr // the home's tunnel address; zero: no IPv4 visitors
	Target6 netip.Addr
}

// Families is a set of address families.
type Families struct {
	IPv4 bool
	IPv6 bool
}

// String returns "IPv4", "IPv6", "IPv4 and IPv6" or "no address family".
func (f Families) String() string {
	switch {
	case f.IPv4 && f.IPv6:
		return "IPv4 and IPv6"
	case f.IPv4:
		return "IPv4"
	case f.IPv6:
		return "IPv6"
	default:
		return "no address family"
	}
}

// Source says which address a service sees as the source of a visitor.
type Source uint8

const (
	// Auto preserves the source wherever answers find their way back by
	// themselves, and masquerades towards devices of the LAN, whose answers
	// would leave by the router instead.
	Auto Source = iota
	// Preserve shows the service the visitor's own address.
	Preserve
	// Masquerade shows the service an address of ours.
	Masquerade
)

// String returns the word used in home.toml.
func (s Source) String() string {
	switch s {
	case Preserve:
		return "preserve"
	case Masquerade:
		return "masquerade"
	default:
		return "auto"
	}
}

// ParseSource reads "auto", "preserve" or "masquerade".
func ParseSource(s string) (Source, error) {
	switch s {
	case "auto":
		return Auto, nil
	case "preserve":
		return Preserve, nil
	case "masquerade":
		return Masquerade, nil
	default:
		return Auto, fmt.Errorf("source %.40q is not one of auto, preserve, masquerade", s)
	}
}

// Limit bounds what one visitor address may do to a forward. An IPv6 visitor
// counts as its /64. The zero Limit bounds nothing.
type Limit struct {
	NewConnections Rate
	Connections    uint32 // at the same time; 0 means no bound
}

// Rate is a number of events in a unit of time.
type Rate struct {
	Count uint32 // 0 means no bound
	Per   time.Duration
}

// String returns the bounds in words, or "" for none.
func (l Limit) String() string {
	text := l.NewConnections.String()
	if l.Connections == 0 {
		return text
	}
	if text != "" {
		text += ", "
	}
	return text + fmt.Sprintf("%d connections", l.Connections)
}

type rateUnit struct {
	name string
	d    time.Duration
}

// rateUnits are the units nft(8) knows for a rate.
var rateUnits = []rateUnit{
	{"second", time.Second},
	{"minute", time.Minute},
	{"hour", time.Hour},
	{"day", 24 * time.Hour},
}

// String returns the form used in home.toml and by nft(8), such as
// "20/second", or "" for no bound.
func (r Rate) String() string {
	if r.Count == 0 {
		return ""
	}
	for _, u := range rateUnits {
		if u.d == r.Per {
			return fmt.Sprintf("%d/%s", r.Count, u.name)
		}
	}
	return fmt.Sprintf("%d/%s", r.Count, r.Per)
}

// maxRate is the largest count of a rate: far above what a home serves, far
// below where nft's arithmetic would overflow.
const maxRate = 1_000_000

// ParseRate reads a rate such as "20/second"; the units are second, minute,
// hour and day.
func ParseRate(s string) (Rate, error) {
	count, unit, found := strings.Cut(s, "/")
	if found {
		n, err := parseDecimal(count, maxRate)
		for _, u := range rateUnits {
			if err == nil && n > 0 && u.name == unit {
				return Rate{Count: n, Per: u.d}, nil
			}
		}
	}
	return Rate{}, fmt.Errorf("rate %.40q is not of the form NUMBER/UNIT, such as 20/second (second, minute, hour or day; at most %d)", s, maxRate)
}

// maxName bounds a forward's or a home's name.
const maxName = 40

// CheckName reports why name cannot name a forward or a home: it must be 1 to
// 40 lower-case letters, digits and inner hyphens.
func CheckName(name string) error {
	if name == "" {
		return fmt.Errorf("a name must not be empty")
	}
	if len(name) > maxName {
		return fmt.Errorf("name %.12q… has %d characters; at most %d are allowed", name, len(name), maxName)
	}
	for i, r := range name {
		inner := i > 0 && i < len(name)-1
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' && inner {
			continue
		}
		return fmt.Errorf("name %q: character %q at place %d is not allowed; use lower-case letters, digits and inner hyphens", name, r, i+1)
	}
	return nil
}

// Count says how many forwards there are.
func Count(n int) string {
	if n == 1 {
		return "1 forward"
	}
	return fmt.Sprintf("%d forwards", n)
}
