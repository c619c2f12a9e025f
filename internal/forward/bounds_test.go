package forward

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func valid() Published {
	return Published{
		Name:     strings.Repeat("a", maxName),
		Ports:    []Ports{{TCP, Range{80, 80}}, {UDP, Range{443, 450}}},
		Families: Families{IPv4: true},
		Allow:    []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")},
		Limit:    Limit{NewConnections: Rate{maxRate, 24 * time.Hour}, Connections: MaxConnections},
	}
}

func TestCheckPublished(t *testing.T) {
	if err := CheckAll([]Published{valid()}); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Published){
		"41 characters":              func(p *Published) { p.Name += "a" },
		"1 to 64 port ranges, not 0": func(p *Published) { p.Ports = nil },
		"not 65":                     func(p *Published) { p.Ports = make([]Ports, MaxPorts+1) },
		"is not a range of TCP":      func(p *Published) { p.Ports[0].Range.First = 0 },
		"80-79/tcp":                  func(p *Published) { p.Ports[0].Range.Last = 79 },
		"protocol 1":                 func(p *Published) { p.Ports[0].Protocol = 1 },
		"an address family":          func(p *Published) { p.Families = Families{} },
		"not 257":                    func(p *Published) { p.Allow = make([]netip.Prefix, MaxAllow+1) },
		"invalid Prefix":             func(p *Published) { p.Allow[0] = netip.Prefix{} },
		"10.0.0.1/8 is not":          func(p *Published) { p.Allow[0] = netip.MustParsePrefix("10.0.0.1/8") },
		"more than 1000000":          func(p *Published) { p.Limit.Connections++ },
		"1000001 in 24h":             func(p *Published) { p.Limit.NewConnections.Count++ },
		"5 in 48h":                   func(p *Published) { p.Limit.NewConnections = Rate{5, 48 * time.Hour} },
		"0 in 1s":                    func(p *Published) { p.Limit.NewConnections = Rate{0, time.Second} },
	} {
		p := valid()
		spoil(&p)
		if err := CheckAll([]Published{p}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		} else if errors.Is(err, ErrTooMany) {
			t.Errorf("%v is said to be about the list", err)
		}
	}
}

func TestCheckAll(t *testing.T) {
	if err := CheckAll([]Published{valid(), valid()}); err == nil || !strings.HasPrefix(err.Error(), "forward 2: the name") {
		t.Errorf("a name twice: %v", err)
	}
	many := make([]Published, MaxForwards)
	for i := range many {
		many[i] = valid()
		many[i].Name = fmt.Sprint("f", i)
	}
	if err := CheckAll(many); err != nil {
		t.Error(err)
	}
	if err := CheckAll(append(many, valid())); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	many[0].Allow = slices.Repeat(many[0].Allow, MaxAllow)
	for i := range many {
		many[i].Allow = many[0].Allow
	}
	if err := CheckAll(many); !errors.Is(err, ErrTooMany) {
		t.Errorf("too large: %v", err)
	}
}
