package control

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
)

const (
	ipv4 = "ipv4"
	ipv6 = "ipv6"
)

// maxConnections is the largest bound on connections that makes sense: more
// than a port has.
const maxConnections = 1_000_000

// NewForward returns a published forward as it travels.
func NewForward(p forward.Published) Forward {
	f := Forward{
		Name:           p.Name,
		Ports:          []string{},
		Families:       []string{},
		Masquerade:     p.Masquerade,
		NewConnections: p.Limit.NewConnections.String(),
		Connections:    p.Limit.Connections,
	}
	for _, q := range forward.NewPortSet(p.Ports...) {
		f.Ports = append(f.Ports, q.String())
	}
	if p.Families.IPv4 {
		f.Families = append(f.Families, ipv4)
	}
	if p.Families.IPv6 {
		f.Families = append(f.Families, ipv6)
	}
	for _, a := range p.Allow {
		f.Allow = append(f.Allow, a.String())
	}
	return f
}

// newForwards converts a whole list.
func newForwards(published []forward.Published) []Forward {
	list := make([]Forward, len(published))
	for i, p := range published {
		list[i] = NewForward(p)
	}
	return list
}

// Digest tells two lists of forwards apart. Both sides compute it, to find
// out whether the gate still holds what the home last pushed.
func Digest(published []forward.Published) string {
	text, err := json.Marshal(newForwards(published))
	if err != nil {
		panic("control: strings and numbers did not marshal: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// published validates a push and returns its forwards as the rest of the
// program knows them.
func (r PushRequest) published() ([]forward.Published, error) {
	if len(r.Forwards) > MaxForwards {
		return nil, refuse(TooLarge, "%d forwards are more than the %d that fit into a push; join ports into ranges", len(r.Forwards), MaxForwards)
	}
	list := make([]forward.Published, len(r.Forwards))
	names := make(map[string]bool, len(r.Forwards))
	for i, f := range r.Forwards {
		p, err := f.Published()
		if err == nil && names[p.Name] {
			err = fmt.Errorf("the name %q is taken by another forward", p.Name)
		}
		if err != nil {
			return nil, refuse(Malformed, "forward %d: %s", i+1, plain(err.Error()))
		}
		names[p.Name] = true
		list[i] = p
	}
	return list, nil
}

// Published validates a forward from the wire.
func (f Forward) Published() (forward.Published, error) {
	p := forward.Published{Name: f.Name, Masquerade: f.Masquerade}
	if err := forward.CheckName(f.Name); err != nil {
		return forward.Published{}, err
	}
	var err error
	if p.Ports, err = parsePorts(f.Ports); err != nil {
		return forward.Published{}, err
	}
	if p.Families, err = parseFamilies(f.Families); err != nil {
		return forward.Published{}, err
	}
	if p.Allow, err = parseAllow(f.Allow); err != nil {
		return forward.Published{}, err
	}
	if p.Limit, err = f.limit(); err != nil {
		return forward.Published{}, err
	}
	return p, nil
}

func parsePorts(text []string) ([]forward.Ports, error) {
	if len(text) == 0 || len(text) > MaxPorts {
		return nil, fmt.Errorf("a forward has 1 to %d port ranges, not %d", MaxPorts, len(text))
	}
	var all []forward.Ports
	for _, s := range text {
		p, err := forward.ParsePorts(s)
		if err != nil {
			return nil, err
		}
		if len(p) != 1 || p[0].String() != s {
			return nil, fmt.Errorf("ports %.40q are not written like 80/tcp or 80-90/udp", s)
		}
		all = append(all, p[0])
	}
	set := forward.NewPortSet(all...)
	if !slices.Equal(set, all) {
		return nil, fmt.Errorf("ports must be sorted and joined: %s", set)
	}
	return all, nil
}

func parseFamilies(text []string) (forward.Families, error) {
	switch {
	case slices.Equal(text, []string{ipv4, ipv6}):
		return forward.Families{IPv4: true, IPv6: true}, nil
	case slices.Equal(text, []string{ipv4}):
		return forward.Families{IPv4: true}, nil
	case slices.Equal(text, []string{ipv6}):
		return forward.Families{IPv6: true}, nil
	default:
		return forward.Families{}, fmt.Errorf("address families must be %s, %s or both in this order", ipv4, ipv6)
	}
}

func parseAllow(text []string) ([]netip.Prefix, error) {
	if len(text) > MaxAllow {
		return nil, fmt.Errorf("a forward has at most %d allowed prefixes, not %d; join them", MaxAllow, len(text))
	}
	var all []netip.Prefix
	for _, s := range text {
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%.60q is not a network prefix", s)
		}
		if p.Masked().String() != s {
			return nil, fmt.Errorf("prefix %q has bits beyond its length; write %s", p, p.Masked())
		}
		all = append(all, p)
	}
	return all, nil
}

func (f Forward) limit() (forward.Limit, error) {
	if f.Connections > maxConnections {
		return forward.Limit{}, fmt.Errorf("a limit of %d connections is more than %d; leave it out for no limit", f.Connections, maxConnections)
	}
	l := forward.Limit{Connections: f.Connections}
	if f.NewConnections == "" {
		return l, nil
	}
	var err error
	l.NewConnections, err = forward.ParseRate(f.NewConnections)
	return l, err
}
