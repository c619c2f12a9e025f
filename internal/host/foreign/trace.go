package foreign

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// Trace hears which rule of whose table decides about packets that a rule has
// marked for that.
type Trace struct {
	heard *netfilter.Traces
}

// Hear begins to listen. What is traced from now on waits until End.
func Hear() (*Trace, error) {
	heard, err := netfilter.HearTraces()
	if err != nil {
		return nil, err
	}
	return &Trace{heard}, nil
}

// Close stops listening, and forgets what was heard.
func (t *Trace) Close() error { return t.heard.Close() }

// mostTold bounds how many drops are told of: of each, nft(8) is asked how its
// rule is written.
const mostTold = 16

// End stops listening. It returns the ports of the packets that arrived, and
// for each of those that were dropped where and by whom: what holds of all of
// them, such as the tunnel's interface, is taken from like.
func (t *Trace) End(ctx context.Context, like Packet) (arrived []uint16, drops []Drop, err error) {
	events, err := t.heard.Drain()
	if err = errors.Join(err, t.Close()); err != nil {
		return nil, nil, fmt.Errorf("cannot read what was traced: %w", err)
	}
	ports := map[uint32]uint16{}
	for _, e := range events {
		if e.Port != 0 && ports[e.Packet] == 0 {
			ports[e.Packet] = e.Port
			if !slices.Contains(arrived, e.Port) {
				arrived = append(arrived, e.Port)
			}
		}
	}
	conn, err := netfilter.Open()
	if err != nil {
		return nil, nil, err
	}
	defer conn.CloseLasting()
	r := &reader{conn: conn, chains: map[chainName]*chain{}, sets: map[setName]*set{}}
	bases, err := r.baseChains(nil)
	if err != nil {
		return nil, nil, err
	}
	told := map[netfilter.TraceEvent]bool{}
	for i, e := range events {
		at := e // whichever packet it was
		at.Packet, at.Port = 0, ports[e.Packet]
		if !e.Drops || told[at] || len(told) == mostTold {
			continue
		}
		told[at] = true
		like.Port = at.Port
		drops = append(drops, r.traced(ctx, e, events[:i+1], bases, like))
	}
	return arrived, drops, nil
}

// traced describes a drop that was seen.
func (r *reader) traced(ctx context.Context, e netfilter.TraceEvent, before []netfilter.TraceEvent, bases []*nftables.Chain, p Packet) Drop {
	d := Drop{Family: familyText(e.Family), Table: e.Table, Base: e.Chain, Chain: e.Chain}
	if e.Handle != 0 {
		d.Rule = fmt.Sprintf("# handle %d", e.Handle)
	}
	if b := lastBase(e, before, bases); b != nil {
		d.Base, p.Hook = b.Name, hookOf(b)
		p = p.at(int32(*b.Priority))
	}
	d.Packet = p
	d.Deed, d.Rule, d.Owner = Drops, ruleText(ctx, d), r.owner(d)
	d.Remedy = d.remedy()
	return d
}

// lastBase finds the chain that hangs at a hook by which the packet came to
// where it was dropped: the last one of that table that it has met.
func lastBase(e netfilter.TraceEvent, before []netfilter.TraceEvent, bases []*nftables.Chain) *nftables.Chain {
	for _, o := range slices.Backward(before) {
		if o.Packet != e.Packet || o.Family != e.Family || o.Table != e.Table {
			continue
		}
		i := slices.IndexFunc(bases, func(b *nftables.Chain) bool {
			return b.Table.Family == o.Family && b.Table.Name == o.Table && b.Name == o.Chain
		})
		if i >= 0 {
			return bases[i]
		}
	}
	return nil
}

func hookOf(c *nftables.Chain) Hook {
	switch *c.Hooknum {
	case *nftables.ChainHookInput:
		return Input
	case *nftables.ChainHookPrerouting:
		return Arrival
	}
	return Forward
}
