package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// errNeedsNft reports a delta that only nft(8) can make a transaction of: it has
// rules, or elements of a kind that are not written here.
var errNeedsNft = errors.New("only nft(8) writes this")

// mostElements bounds those of one message: the list that they are in has a
// length of 16 bits.
const mostElements = 256

// messages are the delta for the kernel itself. nft(8) would first read the
// names of all that is in the table.
func (c *delta) messages() ([]netlink.Message, error) {
	if len(c.added.sets) > 0 || slices.ContainsFunc(c.added.chains, func(n chain) bool { return len(n.rules) > 0 }) {
		return nil, errNeedsNft
	}
	var t transaction
	for _, name := range c.emptied {
		t.names(unix.NFT_MSG_DELRULE, unix.NFTA_RULE_TABLE, c.table, unix.NFTA_RULE_CHAIN, name)
	}
	for _, e := range c.gone {
		t.elements(unix.NFT_MSG_DELSETELEM, c.table, e)
	}
	for _, s := range c.sets {
		t.names(unix.NFT_MSG_DELSET, unix.NFTA_SET_TABLE, c.table, unix.NFTA_SET_NAME, s.name)
	}
	for _, name := range c.chains {
		t.names(unix.NFT_MSG_DELCHAIN, unix.NFTA_CHAIN_TABLE, c.table, unix.NFTA_CHAIN_NAME, name)
	}
	for _, name := range c.counters {
		t.do(unix.NFT_MSG_DELOBJ, 0, func(e *netlink.AttributeEncoder) {
			e.String(unix.NFTA_OBJ_TABLE, c.table)
			e.String(unix.NFTA_OBJ_NAME, name)
			e.Uint32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER)
		})
	}
	for _, name := range c.added.counters {
		t.do(unix.NFT_MSG_NEWOBJ, netlink.Create|netlink.Excl, newCounter(c.table, name).data)
	}
	for _, e := range c.elements {
		t.elements(unix.NFT_MSG_NEWSETELEM, c.table, e)
	}
	for _, n := range c.added.chains {
		t.names(unix.NFT_MSG_NEWCHAIN, unix.NFTA_CHAIN_TABLE, c.table, unix.NFTA_CHAIN_NAME, n.name)
	}
	return t.list, t.err
}

// transaction collects messages that the kernel carries out together.
type transaction struct {
	list []netlink.Message
	err  error
}

func (t *transaction) do(kind netlink.HeaderType, flags netlink.HeaderFlags, data func(*netlink.AttributeEncoder)) {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	data(e)
	text, err := e.Encode()
	t.err = errors.Join(t.err, err)
	t.list = append(t.list, netfilter.Message(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags, unix.NFPROTO_INET, text))
}

// names adds a message about something of a table that its name says all of.
func (t *transaction) names(kind netlink.HeaderType, tableAttribute uint16, table string, attribute uint16, name string) {
	var flags netlink.HeaderFlags
	if kind == unix.NFT_MSG_NEWCHAIN {
		flags = netlink.Create | netlink.Excl
	}
	t.do(kind, flags, func(e *netlink.AttributeEncoder) {
		e.String(tableAttribute, table)
		e.String(attribute, name)
	})
}

func (t *transaction) elements(kind netlink.HeaderType, table string, list elementsOf) {
	var flags netlink.HeaderFlags
	if kind == unix.NFT_MSG_NEWSETELEM {
		flags = netlink.Create | netlink.Excl
	}
	for some := range slices.Chunk(list.list, mostElements) {
		t.do(kind, flags, func(e *netlink.AttributeEncoder) {
			e.String(unix.NFTA_SET_ELEM_LIST_TABLE, table)
			e.String(unix.NFTA_SET_ELEM_LIST_SET, list.set.name)
			e.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(e *netlink.AttributeEncoder) error {
				for _, text := range some {
					if err := addElement(e, list.set, text, kind == unix.NFT_MSG_NEWSETELEM); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// addElement writes what nft(8) would make of the text of an element. To delete
// one, its key is enough.
func addElement(list *netlink.AttributeEncoder, s set, text string, withData bool) error {
	key, data, _ := strings.Cut(text, " : ")
	first, last, err := encode(s.key, key)
	if err != nil {
		return err
	}
	ranges := slices.Contains(s.options, interval)
	if ranges != strings.Contains(s.key, " . ") && ranges {
		return fmt.Errorf("intervals of %s: %w", s.key, errNeedsNft) // which are written otherwise
	}
	list.Nested(unix.NFTA_LIST_ELEM, func(e *netlink.AttributeEncoder) error {
		dataValue(e, unix.NFTA_SET_ELEM_KEY, first)
		if ranges {
			dataValue(e, setElemKeyEnd, last)
		}
		if withData {
			return addData(e, s.data, data)
		}
		return nil
	})
	return nil
}

// setElemKeyEnd is NFTA_SET_ELEM_KEY_END.
const setElemKeyEnd = 10

func addData(e *netlink.AttributeEncoder, kind, text string) error {
	switch kind {
	case "":
	case "counter":
		e.String(unix.NFTA_SET_ELEM_OBJREF, strings.Trim(text, `"`))
	case "verdict":
		to, jumps := strings.CutPrefix(text, "jump ")
		if !jumps {
			return fmt.Errorf("verdict %s: %w", text, errNeedsNft)
		}
		e.Nested(unix.NFTA_SET_ELEM_DATA, func(e *netlink.AttributeEncoder) error {
			e.Nested(unix.NFTA_DATA_VERDICT, func(e *netlink.AttributeEncoder) error {
				e.Int32(unix.NFTA_VERDICT_CODE, unix.NFT_JUMP)
				e.String(unix.NFTA_VERDICT_CHAIN, to)
				return nil
			})
			return nil
		})
	default:
		data, _, err := encode(kind, text)
		if err != nil {
			return err
		}
		dataValue(e, unix.NFTA_SET_ELEM_DATA, data)
	}
	return nil
}

// encode returns the first and the last value of a key or of data in the
// kernel's form. Each field of a concatenation fills whole registers.
func encode(types, text string) (first, last []byte, err error) {
	kinds, values := strings.Split(types, " . "), strings.Split(text, " . ")
	if len(kinds) != len(values) {
		return nil, nil, fmt.Errorf("%s as %s: %w", text, types, errNeedsNft)
	}
	for i, kind := range kinds {
		a, b, err := encodeField(kind, values[i])
		if err != nil {
			return nil, nil, fmt.Errorf("%s as %s: %w", text, types, err)
		}
		first, last = append(first, a...), append(last, b...)
		for len(kinds) > 1 && len(first)%4 != 0 {
			first, last = append(first, 0), append(last, 0)
		}
	}
	return first, last, nil
}

func encodeField(kind, text string) (first, last []byte, err error) {
	switch kind {
	case "ipv4_addr", "ipv6_addr":
		a, err := netip.ParseAddr(text)
		if err != nil || a.Is4() != (kind == "ipv4_addr") {
			return nil, nil, errNeedsNft
		}
		return a.AsSlice(), a.AsSlice(), nil
	case "mark":
		n, err := strconv.ParseUint(text, 0, 32)
		data := binary.NativeEndian.AppendUint32(nil, uint32(n))
		return data, data, err
	case "inet_proto":
		p, err := forward.ParseProtocol(text)
		if n, numberErr := strconv.ParseUint(text, 10, 8); numberErr == nil {
			p, err = forward.Protocol(n), nil
		}
		return []byte{byte(p)}, []byte{byte(p)}, err
	case "inet_service":
		from, to, isRange := strings.Cut(text, "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.ParseUint(from, 10, 16)
		b, errB := strconv.ParseUint(to, 10, 16)
		return binary.BigEndian.AppendUint16(nil, uint16(a)), binary.BigEndian.AppendUint16(nil, uint16(b)), errors.Join(errA, errB)
	default:
		return nil, nil, errNeedsNft
	}
}
