package control

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/gatelodge/gatelodge/internal/forward"
)

const (
	ipv4 = "ipv4"
	ipv6 = "ipv6"
)

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
	if err := forward.CheckCount(len(r.Forwards)); err != nil {
		return nil, refuse(TooLarge, "%v", err)
	}
	list := make([]forward.Published, len(r.Forwards))
	for i, f := range r.Forwards {
		var err error
		if list[i], err = f.Published(); err != nil {
			return nil, refuse(Malformed, "forward %d: %s", i+1, plain(err.Error()))
		}
	}
	err := forward.CheckAll(list)
	if errors.Is(err, forward.ErrTooMany) {
		return nil, refuse(TooLarge, "%v", err)
	}
	if err != nil {
		return nil, refuse(Malformed, "%s", plain(err.Error()))
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
	p.Limit.Connections = f.Connections
	if f.NewConnections != "" {
		if p.Limit.NewConnections, err = forward.ParseRate(f.NewConnections); err != nil {
			return forward.Published{}, err
		}
	}
	if err := p.Check(); err != nil {
		return forward.Published{}, err
	}
	return p, nil
}

func parsePorts(text []string) ([]forward.Ports, error) {
	if err := forward.CheckPortCount(len(text)); err != nil {
		return nil, err
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
	if err := forward.CheckAllowCount(len(text)); err != nil {
		return nil, err
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
