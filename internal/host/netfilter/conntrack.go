package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// What linux/netfilter/nfnetlink_conntrack.h calls the same, less the prefixes.
const (
	ctGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	ctaTupleOrig = 1
	ctaStatus    = 3
	ctaMark      = 8
	ctaID        = 12
	ctaZone      = 18
	ctaMarkMask  = 21

	ctaTupleIP      = 1
	ctaTupleProto   = 2
	ctaIPv4Src      = 1
	ctaIPv4Dst      = 2
	ctaIPv6Src      = 3
	ctaIPv6Dst      = 4
	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3

	seenReply = 1 << 1 // IPS_SEEN_REPLY in nf_conntrack_common.h
)

// Flow is a connection in the conntrack table, as its first packet had it.
// Addresses and ports that the kernel does not tell are zero.
type Flow struct {
	Src      netip.Addr
	Dst      netip.Addr
	From     uint16        // port of the source
	Port     forward.Ports // of the destination
	Mark     uint32
	Answered bool // a packet has come back
	// The kernel's own words for which it is, handed back to delete it. The
	// number tells it from a later one between the same ends.
	tuple, zone, number []byte
}

func markAttributes(mark, mask uint32) ([]byte, error) {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Uint32(ctaMark, mark)
	e.Uint32(ctaMarkMask, mask)
	return e.Encode()
}

// EachFlow goes through the flows whose mark is the given one in the bits of the
// mask, one after the other: a table may be larger than what we want to hold of
// it. Mark 0 with mask 0 are all.
func EachFlow(conn *netlink.Conn, mark, mask uint32, do func(Flow)) error {
	data, err := markAttributes(mark, mask)
	if err != nil {
		return err
	}
	if _, err := conn.Send(Message(ctGet, netlink.Dump, unix.AF_UNSPEC, data)); err != nil {
		return err
	}
	for m, err := range conn.ReceiveIter() {
		if err != nil {
			return err
		}
		f, err := parseFlow(m.Data)
		if err != nil {
			return err
		}
		do(f)
	}
	return nil
}

// parseFlow reads a flow, of which it leaves out what it does not know.
func parseFlow(data []byte) (Flow, error) {
	d, err := attributes(data)
	if err != nil {
		return Flow{}, err
	}
	var f Flow
	for d.Next() {
		switch d.Type() {
		case ctaTupleOrig:
			f.tuple = d.Bytes()
			d.Nested(f.parseTuple)
		case ctaStatus:
			f.Answered = d.Uint32()&seenReply != 0
		case ctaMark:
			f.Mark = d.Uint32()
		case ctaID:
			f.number = d.Bytes()
		case ctaZone:
			f.zone = d.Bytes()
		}
	}
	return f, d.Err()
}

func (f *Flow) parseTuple(d *netlink.AttributeDecoder) error {
	for d.Next() {
		switch d.Type() {
		case ctaTupleIP:
			d.Nested(f.parseAddresses)
		case ctaTupleProto:
			d.Nested(f.parsePorts)
		}
	}
	return d.Err()
}

func (f *Flow) parseAddresses(d *netlink.AttributeDecoder) error {
	for d.Next() {
		// What is no address is left the zero Addr, which is nobody's.
		switch d.Type() {
		case ctaIPv4Src, ctaIPv6Src:
			f.Src, _ = netip.AddrFromSlice(d.Bytes())
		case ctaIPv4Dst, ctaIPv6Dst:
			f.Dst, _ = netip.AddrFromSlice(d.Bytes())
		}
	}
	return d.Err()
}

func (f *Flow) parsePorts(d *netlink.AttributeDecoder) error {
	for d.Next() {
		switch d.Type() {
		case ctaProtoNum:
			f.Port.Protocol = forward.Protocol(d.Uint8())
		case ctaProtoSrcPort:
			f.From = d.Uint16()
		case ctaProtoDstPort:
			port := d.Uint16()
			f.Port.Range = forward.Range{First: port, Last: port}
		}
	}
	return d.Err()
}

// Delete removes the flow; one that has ended by itself is no error.
func (f Flow) Delete(conn *netlink.Conn) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(ctaTupleOrig|netlink.Nested, f.tuple)
	e.Bytes(ctaID, f.number)
	if f.zone != nil {
		e.Bytes(ctaZone, f.zone)
	}
	data, err := e.Encode()
	if err != nil {
		return err
	}
	family := byte(unix.AF_INET) // which the kernel needs to read a tuple
	if f.Dst.Is6() {
		family = unix.AF_INET6
	}
	_, err = conn.Execute(Message(ctDelete, netlink.Acknowledge, family, data))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cannot delete a connection to port %s of %s: %w", f.Port, f.Dst, err)
	}
	return nil
}

// DeleteMarked removes all flows with a mark, of both families, in one walk of
// the kernel's. Mark and mask must not be 0: that is every connection there is,
// and an error.
func DeleteMarked(conn *netlink.Conn, mark, mask uint32) error {
	if mark == 0 || mask == 0 {
		return fmt.Errorf("mark %#x with mask %#x would be every connection", mark, mask)
	}
	data, err := markAttributes(mark, mask)
	if err != nil {
		return err
	}
	// In a message of version 0 the kernel reads AF_UNSPEC: both families.
	_, err = conn.Execute(Message(ctDelete, netlink.Acknowledge, unix.AF_UNSPEC, data))
	return err
}
