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

// DeleteForward cuts all connections of a gate's forward, of both families, in
// one message. Visitors then get what the gate answers to strangers. Nothing
// else is touched: connections are told apart by their mark, in the kernel.
func DeleteForward(marks plan.Marks, id uint32) error {
	// Without a mark the kernel would take the message to mean every
	// connection there is.
	if id == 0 || marks.Forward == 0 {
		return fmt.Errorf("forward %d with mark %s: both must be other than 0", id, hex32(marks.Forward))
	}
	conn, err := connectNetfilter()
	if err != nil {
		return err
	}
	defer conn.Close()
	data, err := markAttributes(marks.Forward|id, ^uint32(0))
	if err != nil {
		return err
	}
	// In a message of version 0 the kernel reads AF_UNSPEC: both families.
	if _, err := conn.Execute(message(ctDelete, netlink.Acknowledge, unix.AF_UNSPEC, data)); err != nil {
		return fmt.Errorf("cannot delete connections of forward %d: %w", id, err)
	}
	return nil
}

// DeleteUnforwarded forgets connections to public addresses and ports that
// are not a forward's. A visitor whose UDP packets were coming before the
// forward was there then reaches it with the next: translation is decided with
// the first packet of what conntrack takes for one connection.
func DeleteUnforwarded(marks plan.Marks, ports []forward.Ports, public []netip.Addr) error {
	conn, err := connectNetfilter()
	if err != nil {
		return err
	}
	defer conn.Close()
	flows, err := listFlows(conn)
	if err != nil {
		return fmt.Errorf("cannot list connections: %w", err)
	}
	set := forward.NewPortSet(ports...)
	var failed []error
	for _, f := range flows {
		if f.mark&marks.Mask == marks.Forward || !slices.Contains(public, f.dst) || !set.Contains(f.port) {
			continue
		}
		failed = append(failed, f.delete(conn))
	}
	return errors.Join(failed...)
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

func listFlows(conn *netlink.Conn) ([]flow, error) {
	answers, err := conn.Execute(message(ctGet, netlink.Dump, unix.AF_UNSPEC, nil))
	if err != nil {
		return nil, err
	}
	var flows []flow
	for _, m := range answers {
		f, err := parseFlow(m.Data)
		if err != nil {
			return nil, err
		}
		flows = append(flows, f)
	}
	return flows, nil
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
