package foreign

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// overwrites reports whether a mark, once set, has lost the part by which
// answers of ours are known. A value that is not known may have kept it.
func (m *match) overwrites(mark []byte) bool {
	p := m.packet
	return p.Kept != 0 && len(mark) >= 4 && binary.NativeEndian.Uint32(mark)&p.Kept != p.Mark&p.Kept
}

// loadMeta reads what is known of the packet, or sets it.
func (m *match) loadMeta(e *expr.Meta) (verdict, bool) {
	if e.SourceRegister && e.Key == expr.MetaKeyMARK && m.overwrites(m.regs[e.Register]) {
		return verdict{kind: remark}, true
	}
	m.set(e.Register, e.SourceRegister, m.meta(e.Key))
	return verdict{}, false
}

// loadCt reads what conntrack knows, or sets it: then the library does not say
// from which register, and nft(8) takes the first.
func (m *match) loadCt(e *expr.Ct) (verdict, bool) {
	const none, first = 0, 1 // NFT_REG_1
	if e.Register != none {
		m.set(e.Register, false, m.ct(e))
	} else if e.Key == expr.CtKeyMARK && m.overwrites(m.regs[first]) {
		return verdict{kind: remark}, true
	}
	return verdict{}, false
}

// notrack ends the matter only where it comes before conntrack.
func (m *match) notrack() (verdict, bool) {
	if m.packet.untracked {
		return verdict{kind: untrack}, true
	}
	return verdict{}, false
}

// translate is snat or dnat.
func (m *match) translate(e *expr.NAT) (verdict, bool) {
	if e.Type == expr.NATTypeSourceNAT {
		return verdict{kind: hide}, true
	}
	return m.dnat(e)
}

// marking is the target MARK, or CONNMARK, of iptables (xt_mark.h,
// xt_connmark.h): bits that are cleared, and then changed. Only what sets a mark
// is read, not what copies it.
func marking(m *match, name string, info xt.InfoAny) (verdict, bool) {
	raw, ok := info.(*xt.Unknown)
	if !ok || len(*raw) < 8 {
		return verdict{}, false
	}
	const setMode = 12 // where struct xt_connmark_tginfo1 says what is done: 0 sets
	if name == "CONNMARK" && (len(*raw) <= setMode || (*raw)[setMode] != 0) {
		return verdict{}, false
	}
	mark, mask := binary.NativeEndian.Uint32(*raw), binary.NativeEndian.Uint32((*raw)[4:])
	if m.overwrites(native32(m.packet.Mark&^mask ^ mark)) {
		return verdict{kind: remark}, true
	}
	return verdict{}, false
}

// untracking is the target CT of iptables: its first bit is --notrack
// (xt_CT.h).
func untracking(m *match, info xt.InfoAny) (verdict, bool) {
	raw, ok := info.(*xt.Unknown)
	if ok && len(*raw) >= 2 && binary.NativeEndian.Uint16(*raw)&1 != 0 {
		return m.notrack()
	}
	return verdict{}, false
}
