package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// What linux/netfilter/nfnetlink_conntrack.h calls the same, less the prefixes.
const (
	ctGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	ctaTupleOrig = 1
	ctaMark      = 8
	ctaID        = 12
	ctaZone      = 18
	ctaMarkMask  = 21

	ctaTupleIP      = 1
	ctaTupleProto   = 2
	ctaIPv4Dst      = 2
	ctaIPv6Dst      = 4
	ctaProtoNum     = 1
	ctaProtoDstPort = 3
)

// mostWalks bounds how often the kernel goes through its conntrack table to
// delete by mark. Beyond it is cheaper to read the table once.
const mostWalks = 16

// DeleteForwards cuts all connections of the gate's forwards of these numbers,
// of both families. Visitors then get what the gate answers to strangers. The
// forwards of the numbers in living keep theirs, and nothing else is touched:
// connections are told apart by their mark.
//
// What that costs does not grow with the number of forwards: numbers are given
// out one after the other, so few blocks of them hold all that are gone, and
// the kernel deletes a block in one walk. Where they are too scattered for that,
// the table is read once.
func DeleteForwards(marks plan.Marks, gone, living []uint32) error {
	// Without a mark the kernel would take the message to mean every
	// connection there is.
	if marks.Forward == 0 || slices.Contains(gone, 0) {
		return fmt.Errorf("forwards %d with mark %s: all must be other than 0", gone, hex32(marks.Forward))
	}
	blocks := cover(gone, living)
	if len(blocks) == 0 {
		return nil
	}
	conn, err := connectNetfilter()
	if err != nil {
		return err
	}
	defer conn.Close()
	if len(blocks) > mostWalks {
		return deleteOneByOne(conn, marks, gone)
	}
	for _, b := range blocks {
		if err := b.delete(conn, marks); err != nil {
			return err
		}
	}
	return nil
}

// deleteOneByOne reads our connections once and deletes those of some forwards.
func deleteOneByOne(conn *netlink.Conn, marks plan.Marks, gone []uint32) error {
	set := make(map[uint32]bool, len(gone))
	for _, id := range gone {
		set[marks.Forward|id] = true
	}
	return deleteFlows(conn, marks.Forward, marks.Mask, func(f flow) bool { return set[f.mark] })
}

// DeleteUnforwarded forgets UDP flows to public addresses and ports that are
// not a forward's. A visitor whose packets were coming before the forward was
// there then reaches it with the next: translation is decided with the first
// packet of what conntrack takes for one connection. TCP needs no help: who
// tries again begins a new connection, and one that stands is somebody's.
//
// All forwards that are new are dealt with at once, and the kernel leaves our
// own connections out, of which there may be very many.
func DeleteUnforwarded(marks plan.Marks, ports forward.PortSet, public []netip.Addr) error {
	if !slices.ContainsFunc(ports, func(p forward.Ports) bool { return p.Protocol == forward.UDP }) {
		return nil
	}
	conn, err := connectNetfilter()
	if err != nil {
		return err
	}
	defer conn.Close()
	others := func(f flow) bool {
		return f.port.Protocol == forward.UDP && ports.Contains(f.port) && slices.Contains(public, f.dst)
	}
	var failed []error
	// A mark is none of ours if it differs from ours in one of these bits.
	for rest := marks.Mask; rest != 0; rest &= rest - 1 {
		bit := rest & -rest
		failed = append(failed, deleteFlows(conn, ^marks.Forward&bit, bit, others))
	}
	return errors.Join(failed...)
}

// deleteFlows deletes those of the flows with a mark that are meant.
func deleteFlows(conn *netlink.Conn, mark, mask uint32, meant func(flow) bool) error {
	var flows []flow
	err := eachFlow(conn, mark, mask, func(f flow) {
		if meant(f) {
			flows = append(flows, f)
		}
	})
	if err != nil {
		return fmt.Errorf("cannot list connections: %w", err)
	}
	var failed []error
	for _, f := range flows {
		failed = append(failed, f.delete(conn))
	}
	return errors.Join(failed...)
}

// block is all numbers of forwards that begin with the same bits.
type block struct{ first, mask uint32 }

// delete deletes the connections of the forwards in the block, in one message.
func (b block) delete(conn *netlink.Conn, marks plan.Marks) error {
	data, err := markAttributes(marks.Forward|b.first, b.mask)
	if err != nil {
		return err
	}
	// In a message of version 0 the kernel reads AF_UNSPEC: both families.
	if _, err := conn.Execute(message(ctDelete, netlink.Acknowledge, unix.AF_UNSPEC, data)); err != nil {
		return fmt.Errorf("cannot delete the connections of forwards %d to %d: %w", b.first, b.first|^b.mask, err)
	}
	return nil
}

// cover returns blocks that hold all numbers that are gone and none that lives.
// What else they hold are numbers of nobody's.
func cover(gone, living []uint32) []block {
	return block{0, ^uint32(forward.MaxID)}.cover(gone, living)
}

func (b block) cover(gone, living []uint32) []block {
	gone, living = b.within(gone), b.within(living)
	switch {
	case len(gone) == 0:
		return nil
	case len(living) == 0:
		return []block{b}
	case b.mask == ^uint32(0): // one that is gone and lives is alive
		return nil
	}
	low := block{b.first, b.mask>>1 | 1<<31}
	high := block{b.first | (b.mask ^ low.mask), low.mask}
	return append(low.cover(gone, living), high.cover(gone, living)...)
}

// within returns those of the numbers that are in the block.
func (b block) within(ids []uint32) []uint32 {
	var in []uint32
	for _, id := range ids {
		if id&b.mask == b.first {
			in = append(in, id)
		}
	}
	return in
}

// flow is a connection in conntrack, as its first packet had it.
type flow struct {
	dst  netip.Addr
	port forward.Ports // of the destination
	mark uint32
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

// eachFlow goes through the flows with a mark, one after the other: a table may
// be larger than what we want to hold of it.
func eachFlow(conn *netlink.Conn, mark, mask uint32, do func(flow)) error {
	data, err := markAttributes(mark, mask)
	if err != nil {
		return err
	}
	if _, err := conn.Send(message(ctGet, netlink.Dump, unix.AF_UNSPEC, data)); err != nil {
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
func parseFlow(data []byte) (flow, error) {
	d, err := messageDecoder(data)
	if err != nil {
		return flow{}, err
	}
	var f flow
	for d.Next() {
		switch d.Type() {
		case ctaTupleOrig:
			f.tuple = d.Bytes()
			d.Nested(f.parseTuple)
		case ctaMark:
			f.mark = d.Uint32()
		case ctaID:
			f.number = d.Bytes()
		case ctaZone:
			f.zone = d.Bytes()
		}
	}
	return f, d.Err()
}

func (f *flow) parseTuple(d *netlink.AttributeDecoder) error {
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

func (f *flow) parseAddresses(d *netlink.AttributeDecoder) error {
	for d.Next() {
		if t := d.Type(); t == ctaIPv4Dst || t == ctaIPv6Dst {
			f.dst, _ = netip.AddrFromSlice(d.Bytes()) // else the zero Addr, which is no public one
		}
	}
	return d.Err()
}

func (f *flow) parsePorts(d *netlink.AttributeDecoder) error {
	for d.Next() {
		switch d.Type() {
		case ctaProtoNum:
			f.port.Protocol = forward.Protocol(d.Uint8())
		case ctaProtoDstPort:
			port := d.Uint16()
			f.port.Range = forward.Range{First: port, Last: port}
		}
	}
	return d.Err()
}

// delete removes the flow; one that has ended by itself is no error.
func (f flow) delete(conn *netlink.Conn) error {
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
	if f.dst.Is6() {
		family = unix.AF_INET6
	}
	_, err = conn.Execute(message(ctDelete, netlink.Acknowledge, family, data))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cannot delete a connection to port %s of %s: %w", f.port, f.dst, err)
	}
	return nil
}
