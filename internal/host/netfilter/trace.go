package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Traces hears what the kernel tells of packets that a rule has marked for that
// (nft(8), "meta nftrace set"): each rule and each policy that decides about
// them, of whichever table.
type Traces struct {
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

// HearTraces begins to listen. What is traced from now on waits until Drain.
func HearTraces() (*Traces, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for traced packets: %w", err)
	}
	if err := conn.JoinGroup(groupTrace); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot listen for traced packets: %w", err), conn.Close())
	}
	return &Traces{conn}, nil
}

// Close stops listening, and forgets what was heard.
func (t *Traces) Close() error { return t.conn.Close() }

// TraceEvent is what the kernel tells of one packet at one rule.
type TraceEvent struct {
	Packet uint32
	Port   uint16 // destination, if the packet's header was told with it
	Family nftables.TableFamily
	Table  string
	Chain  string
	Handle uint64 // of the rule; 0: the policy of the chain
	Drops  bool
}

// mostEvents bounds what is heard: far more than a few visits meet.
const mostEvents = 10000

// Drain reads what waits.
func (t *Traces) Drain() ([]TraceEvent, error) {
	var events []TraceEvent
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
func readEvent(m netlink.Message) (TraceEvent, bool) {
	const header = 4 // struct nfgenmsg
	if m.Header.Type != messageTrace || len(m.Data) < header {
		return TraceEvent{}, false
	}
	e := TraceEvent{Family: nftables.TableFamily(m.Data[0])}
	ad, err := netlink.NewAttributeDecoder(m.Data[header:])
	if err != nil {
		return TraceEvent{}, false
	}
	ad.ByteOrder = binary.BigEndian
	const accept = 1
	kind, verdict, policy := uint32(0), uint32(accept), uint32(accept)
	for ad.Next() {
		switch ad.Type() {
		case traceTable:
			e.Table = ad.String()
		case traceChain:
			e.Chain = ad.String()
		case traceHandle:
			e.Handle = ad.Uint64()
		case traceType:
			kind = ad.Uint32()
		case traceID:
			e.Packet = ad.Uint32()
		case tracePolicy:
			policy = ad.Uint32()
		case traceTransport:
			if h := ad.Bytes(); len(h) >= 4 {
				e.Port = binary.BigEndian.Uint16(h[2:])
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
	e.Drops = kind == typeRule && verdict == dropped || kind == typePolicy && policy == dropped
	if kind != typeRule {
		e.Handle = 0
	}
	return e, ad.Err() == nil
}
