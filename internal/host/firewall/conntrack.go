package firewall

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

// flow is a connection in conntrack, as its first packet had it.
type flow struct {
	src  netip.Addr
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
		// What is no address is left the zero Addr, which is nobody's.
		switch d.Type() {
		case ctaIPv4Src, ctaIPv6Src:
			f.src, _ = netip.AddrFromSlice(d.Bytes())
		case ctaIPv4Dst, ctaIPv6Dst:
			f.dst, _ = netip.AddrFromSlice(d.Bytes())
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
