package firewall

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// expression is a step of a rule, as nf_tables takes it
// (linux/netfilter/nf_tables.h). All of ours use one register.
type expression struct {
	name string
	data func(*netlink.AttributeEncoder)
}

const register = unix.NFT_REG_1

// Verdicts of linux/netfilter.h.
const (
	verdictDrop   = 0
	verdictAccept = 1
)

func (x expression) encode(e *netlink.AttributeEncoder) {
	e.Nested(unix.NFTA_LIST_ELEM, func(e *netlink.AttributeEncoder) error {
		e.String(unix.NFTA_EXPR_NAME, x.name)
		e.Nested(unix.NFTA_EXPR_DATA, func(e *netlink.AttributeEncoder) error {
			x.data(e)
			return nil
		})
		return nil
	})
}

// loadMeta puts something about the packet into the register.
func loadMeta(key uint32) expression {
	return expression{"meta", func(e *netlink.AttributeEncoder) {
		e.Uint32(unix.NFTA_META_KEY, key)
		e.Uint32(unix.NFTA_META_DREG, register)
	}}
}

// setMark makes the register the packet's mark.
func setMark() expression {
	return expression{"meta", func(e *netlink.AttributeEncoder) {
		e.Uint32(unix.NFTA_META_KEY, unix.NFT_META_MARK)
		e.Uint32(unix.NFTA_META_SREG, register)
	}}
}

// keepBits clears all other bits of the register.
func keepBits(mask uint32) expression {
	return expression{"bitwise", func(e *netlink.AttributeEncoder) {
		e.Uint32(unix.NFTA_BITWISE_SREG, register)
		e.Uint32(unix.NFTA_BITWISE_DREG, register)
		e.Uint32(unix.NFTA_BITWISE_LEN, 4)
		dataValue(e, unix.NFTA_BITWISE_MASK, binary.NativeEndian.AppendUint32(nil, mask))
		dataValue(e, unix.NFTA_BITWISE_XOR, make([]byte, 4))
	}}
}

// equals and differs go on if the register holds the data, or does not.
func equals(data []byte) expression  { return compare(unix.NFT_CMP_EQ, data) }
func differs(data []byte) expression { return compare(unix.NFT_CMP_NEQ, data) }

func compare(operator uint32, data []byte) expression {
	return expression{"cmp", func(e *netlink.AttributeEncoder) {
		e.Uint32(unix.NFTA_CMP_SREG, register)
		e.Uint32(unix.NFTA_CMP_OP, operator)
		dataValue(e, unix.NFTA_CMP_DATA, data)
	}}
}

func dataValue(e *netlink.AttributeEncoder, attribute uint16, data []byte) {
	e.Nested(attribute, func(e *netlink.AttributeEncoder) error {
		e.Bytes(unix.NFTA_DATA_VALUE, data)
		return nil
	})
}

// interfaceName is a name as the kernel compares it.
func interfaceName(name string) []byte {
	return append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)
}

// hasSource goes on if the packet's source is the address.
func hasSource(a netip.Addr) []expression {
	family, offset := byte(unix.NFPROTO_IPV4), uint32(12)
	if a.Is6() {
		family, offset = unix.NFPROTO_IPV6, 8
	}
	source := expression{"payload", func(e *netlink.AttributeEncoder) {
		e.Uint32(unix.NFTA_PAYLOAD_DREG, register)
		e.Uint32(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_NETWORK_HEADER)
		e.Uint32(unix.NFTA_PAYLOAD_OFFSET, offset)
		e.Uint32(unix.NFTA_PAYLOAD_LEN, uint32(a.BitLen()/8))
	}}
	return []expression{loadMeta(unix.NFT_META_NFPROTO), equals([]byte{family}), source, equals(a.AsSlice())}
}

// answersFor goes on if the packet answers a connection that was made to the
// address, before translation. Packets of the other family have no such address.
func answersFor(a netip.Addr) []expression {
	const original, reply = 0, 1 // IP_CT_DIR_*
	direction := expression{"ct", func(e *netlink.AttributeEncoder) {
		e.Uint32(unix.NFTA_CT_KEY, unix.NFT_CT_DIRECTION)
		e.Uint32(unix.NFTA_CT_DREG, register)
	}}
	destination := expression{"ct", func(e *netlink.AttributeEncoder) {
		key := uint32(unix.NFT_CT_DST_IP)
		if a.Is6() {
			key = unix.NFT_CT_DST_IP6
		}
		e.Uint32(unix.NFTA_CT_KEY, key)
		e.Uint8(unix.NFTA_CT_DIRECTION, original)
		e.Uint32(unix.NFTA_CT_DREG, register)
	}}
	return []expression{direction, equals([]byte{reply}), destination, equals(a.AsSlice())}
}

// dropCounted ends a rule.
func dropCounted(counter string) []expression {
	count := expression{"objref", func(e *netlink.AttributeEncoder) {
		e.Uint32(unix.NFTA_OBJREF_IMM_TYPE, unix.NFT_OBJECT_COUNTER)
		e.String(unix.NFTA_OBJREF_IMM_NAME, counter)
	}}
	drop := expression{"immediate", func(e *netlink.AttributeEncoder) {
		e.Uint32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
		e.Nested(unix.NFTA_IMMEDIATE_DATA, func(e *netlink.AttributeEncoder) error {
			e.Nested(unix.NFTA_DATA_VERDICT, func(e *netlink.AttributeEncoder) error {
				e.Uint32(unix.NFTA_VERDICT_CODE, verdictDrop)
				return nil
			})
			return nil
		})
	}}
	return []expression{count, drop}
}
