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

// ListFlows returns the flows with such a mark, and whether these are all: it ends
// once there are more than so many.
func ListFlows(mark, mask uint32, most int) (flows []Flow, all bool, err error) {
	conn, err := Dial()
	if err != nil {
		return nil, false, err
	}
	all = true
	err = EachFlow(conn, mark, mask, func(f Flow) {
		if len(flows) < most {
			flows = append(flows, f)
		} else if all {
			all = false
			_ = conn.Close() // or else the kernel would list the others
		}
	})
	if !all {
		return flows, false, nil
	}
	return flows, true, errors.Join(err, conn.Close())
}

// parseFlow reads a flow, of which it leaves out what it does not know. The
// library's decoder would take most of the time that a large table takes.
func parseFlow(data []byte) (Flow, error) {
	var f Flow
	if len(data) < headerLength {
		return f, fmt.Errorf("netlink message of %d bytes, without header", len(data))
	}
	l := list{rest: data[headerLength:]}
	for l.next() {
		switch l.kind {
		case ctaTupleOrig:
			f.tuple = l.value
			l.bad = !f.parseTuple(l.value)
		case ctaStatus:
			f.Answered = bits(l.value)&seenReply != 0
		case ctaMark:
			f.Mark = bits(l.value)
		case ctaID:
			f.number = l.value
		case ctaZone:
			f.zone = l.value
		}
	}
	if l.bad {
		return f, errors.New("a flow in the conntrack table that cannot be read")
	}
	return f, nil
}

func (f *Flow) parseTuple(data []byte) bool {
	l := list{rest: data}
	for l.next() {
		inner := list{rest: l.value}
		for inner.next() {
			switch l.kind {
			case ctaTupleIP:
				f.takeAddress(inner)
			case ctaTupleProto:
				f.takePort(inner)
			}
		}
		l.bad = l.bad || inner.bad
	}
	return !l.bad
}

// takeAddress leaves what is no address the zero Addr, which is nobody's.
func (f *Flow) takeAddress(a list) {
	switch a.kind {
	case ctaIPv4Src, ctaIPv6Src:
		f.Src, _ = netip.AddrFromSlice(a.value)
	case ctaIPv4Dst, ctaIPv6Dst:
		f.Dst, _ = netip.AddrFromSlice(a.value)
	}
}

func (f *Flow) takePort(a list) {
	switch a.kind {
	case ctaProtoNum:
		f.Port.Protocol = forward.Protocol(bits(a.value))
	case ctaProtoSrcPort:
		f.From = uint16(bits(a.value))
	case ctaProtoDstPort:
		port := uint16(bits(a.value))
		f.Port.Range = forward.Range{First: port, Last: port}
	}
}

// list goes through netlink's attributes.
type list struct {
	rest  []byte
	kind  uint16
	value []byte
	bad   bool // these are no attributes
}

// next reads the next one, and reports whether there is one.
func (l *list) next() bool {
	const header, flags = unix.NLA_HDRLEN, netlink.Nested | netlink.NetByteOrder
	if l.bad || len(l.rest) < header {
		return false
	}
	length := int(binary.NativeEndian.Uint16(l.rest))
	if length < header || length > len(l.rest) {
		l.bad = true
		return false
	}
	l.kind = binary.NativeEndian.Uint16(l.rest[2:]) &^ flags
	l.value = l.rest[header:length]
	l.rest = l.rest[min(len(l.rest), (length+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
	return true
}

// bits are a number of up to four bytes in the network's order.
func bits(value []byte) uint32 {
	var n uint32
	for _, b := range value {
		n = n<<8 | uint32(b)
	}
	return n
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
