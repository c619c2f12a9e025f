package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// build turns what is wanted into a document.
func build(want plan.Firewall) (*document, error) { return buildAfter(nil, want) }

// buildAfter does the same, and takes from a document that was built before, or
// nil, what is alike in both: of 10,000 forwards those that have changed are
// written, and no other.
func buildAfter(before *document, want plan.Firewall) (*document, error) {
	if err := checkTableName(want.Table); err != nil {
		return nil, err
	}
	if (want.Gate == nil) == (want.Home == nil) {
		return nil, errors.New("a table is either that of a gate or that of a home")
	}
	if before != nil && before.gate != (want.Gate != nil) {
		before = nil
	}
	d, err := buildRole(before, want)
	if err != nil {
		return nil, fmt.Errorf("cannot write the table %s: %w", want.Table, err)
	}
	d.table, d.gate = want.Table, want.Gate != nil
	d.contents = fingerprint(d.lasting() + d.sums)
	if before != nil {
		d.schema = before.schema
		return d, nil
	}
	d.schema, err = schema(want)
	return d, err
}

func buildRole(before *document, want plan.Firewall) (*document, error) {
	if want.Gate != nil {
		return buildGate(before, *want.Gate)
	}
	return buildHome(*want.Home)
}

// schema is the fingerprint of the shape that this version of the program
// gives to tables of a role. It is taken from an example that has all there
// can be, so that it does not depend on which forwards there are: those come
// and go while the table stands.
func schema(want plan.Firewall) (string, error) {
	example := plan.Firewall{Home: &plan.HomeFirewall{
		Interface: "tunnel",
		Addresses: []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()},
		Hairpin:   plan.Hairpin{Gate: []netip.Addr{netip.IPv6Unspecified()}, Forwards: make([]plan.HomeForward, 1)},
	}}
	if want.Gate != nil {
		example = plan.Firewall{Gate: &plan.GateFirewall{
			Interface:   "tunnel",
			Public:      []netip.Addr{netip.IPv4Unspecified(), netip.IPv4Unspecified().Next()},
			Input:       plan.InputPolicy{Protect: true},
			Connections: 1,
			Trial:       &plan.Trial{},
			Forwards:    exampleForwards(),
		}}
	}
	d, err := buildRole(nil, example)
	if err != nil {
		return "", err
	}
	return fingerprint(d.whole().shape()), nil
}

// exampleForwards are of two homes.
func exampleForwards() []forward.Grant {
	first := forward.Grant{
		ID:        1,
		Target4:   netip.IPv4Unspecified(),
		Target6:   netip.IPv6Unspecified(),
		Published: forward.Published{Allow: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}, Limit: forward.Limit{NewConnections: forward.Rate{Count: 1, Per: time.Second}, Connections: 1}},
	}
	second := forward.Grant{ID: 2, Target4: first.Target4.Next(), Target6: first.Target6.Next()}
	return []forward.Grant{first, second}
}

// common are the constants that the rules of both roles use.
func common(tunnel string, m plan.Marks) []define {
	return []define{
		{"tunnel", `"` + tunnel + `"`},
		{"mask", hex32(m.Mask)},
		{"accepted", hex32(m.AcceptedBit)},
	}
}

func hex32(n uint32) string { return fmt.Sprintf("0x%08x", n) }

// The counters of packets dropped, by why; see Totals.
const (
	countInvalid = "total_invalid"
	countClosed  = "total_closed"
	countTunnel  = "total_tunnel"
	countSpoofed = "total_spoofed"
	countLeaked  = "total_leaked"
	countFull    = "total_full"
	countLocal   = "total_local"
)

func totals() []string {
	return []string{countInvalid, countClosed, countTunnel, countSpoofed, countLeaked}
}
