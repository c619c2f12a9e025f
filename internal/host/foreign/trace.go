package foreign

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// Trace hears what the kernel tells of packets that a rule has marked for that
// (nft(8), "meta nftrace set"): each rule and each policy that decides about
// them, of whichever table.
type Trace struct {
	conn *netlink.Conn
}

// Numbers of linux/netfilter/nfnetlink.h and nf_tables.h that the libraries do
// not have.
const (
	groupTrace   = 9                                 // NFNLGRP_NFTRACE
	messageTrace = unix.NFNL_SUBSYS_NFTABLES<<8 | 17 // NFT_MSG_TRACE

	traceTable     = 1
	traceChain     = 2
	traceHandle    = 3
	traceType      = 4
	traceVerdict   = 5
	traceID        = 6
	traceTransport = 9
	tracePolicy    = 16

	verdictCode = 1

	typePolicy = 1
	typeRule   = 3
)

// Hear begins to listen. What is traced from now on waits until End.
func Hear() (*Trace, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for traced packets: %w", err)
	}
	if err := conn.JoinGroup(groupTrace); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot listen for traced packets: %w", err), conn.Close())
	}
	return &Trace{conn}, nil
}

// Close stops listening, and forgets what was heard.
func (t *Trace) Close() error { return t.conn.Close() }

// event is what the kernel tells of one packet at one rule.
type event struct {
	packet uint32
	port   uint16 // destination, if the packet's header was told with it
	family nftables.TableFamily
	table  string
	chain  string
	handle uint64 // of the rule; 0: the policy of the chain
	drops  bool
}

// mostEvents bounds what is heard: far more than a few visits meet. Of each drop
// nft(8) is asked how its rule is written, so those told of are few, and
// different ones.
const (
	mostEvents = 10000
	mostTold   = 16
)

// End stops listening. It returns the ports of the packets that arrived, and
// for each of those that were dropped where and by whom: what holds of all of
// them, such as the tunnel's interface, is taken from like.
func (t *Trace) End(ctx context.Context, like Packet) (arrived []uint16, drops []Drop, err error) {
	events, err := t.drain()
	if err = errors.Join(err, t.Close()); err != nil {
		return nil, nil, fmt.Errorf("cannot read what was traced: %w", err)
	}
	ports := map[uint32]uint16{}
	for _, e := range events {
		if e.port != 0 && ports[e.packet] == 0 {
			ports[e.packet] = e.port
			if !slices.Contains(arrived, e.port) {
				arrived = append(arrived, e.port)
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
	told := map[event]bool{}
	for i, e := range events {
		at := e // whichever packet it was
		at.packet, at.port = 0, ports[e.packet]
		if !e.drops || told[at] || len(told) == mostTold {
			continue
		}
		told[at] = true
		like.Port = at.port
		drops = append(drops, r.traced(ctx, e, events[:i+1], bases, like))
	}
	return arrived, drops, nil
}

// traced describes a drop that was seen.
func (r *reader) traced(ctx context.Context, e event, before []event, bases []*nftables.Chain, p Packet) Drop {
	d := Drop{Family: familyText(e.family), Table: e.table, Base: e.chain, Chain: e.chain}
	if e.handle != 0 {
		d.Rule = fmt.Sprintf("# handle %d", e.handle)
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
func lastBase(e event, before []event, bases []*nftables.Chain) *nftables.Chain {
	for _, o := range slices.Backward(before) {
		if o.packet != e.packet || o.family != e.family || o.table != e.table {
			continue
		}
		i := slices.IndexFunc(bases, func(b *nftables.Chain) bool {
			return b.Table.Family == o.family && b.Table.Name == o.table && b.Name == o.chain
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

// drain reads what waits.
func (t *Trace) drain() ([]event, error) {
	var events []event
	if err := t.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		return nil, err
	}
	for len(events) < mostEvents {
		messages, err := t.conn.Receive()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if errors.Is(err, unix.ENOBUFS) {
			continue // some were lost: more came than there was room for
		}
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if e, ok := readEvent(m); ok {
				events = append(events, e)
			}
		}
	}
	return events, nil
}

// readEvent reads one message of the kernel. What it does not understand is no
// event.
func readEvent(m netlink.Message) (event, bool) {
	const header = 4 // struct nfgenmsg
	if m.Header.Type != messageTrace || len(m.Data) < header {
		return event{}, false
	}
	e := event{family: nftables.TableFamily(m.Data[0])}
	ad, err := netlink.NewAttributeDecoder(m.Data[header:])
	if err != nil {
		return event{}, false
	}
	ad.ByteOrder = binary.BigEndian
	const accept = 1
	kind, verdict, policy := uint32(0), uint32(accept), uint32(accept)
	for ad.Next() {
		switch ad.Type() {
		case traceTable:
			e.table = ad.String()
		case traceChain:
			e.chain = ad.String()
		case traceHandle:
			e.handle = ad.Uint64()
		case traceType:
			kind = ad.Uint32()
		case traceID:
			e.packet = ad.Uint32()
		case tracePolicy:
			policy = ad.Uint32()
		case traceTransport:
			if h := ad.Bytes(); len(h) >= 4 {
				e.port = binary.BigEndian.Uint16(h[2:])
			}
		case traceVerdict:
			ad.Nested(func(n *netlink.AttributeDecoder) error {
				n.ByteOrder = binary.BigEndian
				for n.Next() {
					if n.Type() == verdictCode {
						verdict = n.Uint32()
					}
				}
				return nil
			})
		}
	}
	const dropped = 0 // NF_DROP
	e.drops = kind == typeRule && verdict == dropped || kind == typePolicy && policy == dropped
	if kind != typeRule {
		e.handle = 0
	}
	return e, ad.Err() == nil
}
