package foreign

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// outcome is what a chain does with a packet.
type outcome int

const (
	pass   outcome = iota // it comes out at the end
	accept                // for this base chain
	drop
	hide
	untrack
	remark
)

// deed is what a verdict does to a packet for certain, if that is to its harm.
func (v verdict) deed() (Deed, bool) {
	deeds := map[outcome]Deed{drop: Drops, hide: Hides, untrack: Untracks, remark: Remarks}
	return deeds[v.kind], v.kind >= drop && !v.doubtful
}

// verdict is an outcome and the rule that it is of. It is doubtful where an
// earlier rule may have accepted the packet, or led it elsewhere.
type verdict struct {
	kind     outcome
	chain    string
	rule     string // handle, in nft(8)'s spelling; "": none
	doubtful bool
	to       netip.AddrPort // where the packet is led; zero: its destination stays
}

// maxDepth bounds jumps: the kernel allows 16 (NFT_JUMP_STACK_SIZE).
const maxDepth = 16

// run takes the packet through the rules of a chain.
func (r *reader) run(name chainName, p Packet, depth int) verdict {
	c := r.load(name)
	if c.opaque || depth > maxDepth {
		return verdict{kind: pass, doubtful: true}
	}
	return follow(c.rules, func(rule *nftables.Rule) (verdict, truth) { return r.apply(name, rule, p, depth) })
}

// follow takes a packet from rule to rule, as apply says what each does.
func follow[R any](rules []R, apply func(R) (verdict, truth)) verdict {
	// A drop that may not come is none; an accept that may come leaves what
	// follows in doubt, and a return that may come what follows in this chain.
	mayAccept, mayReturn := false, false
	for _, rule := range rules {
		v, match := apply(rule)
		switch {
		case match == no:
		case match == maybe:
			mayAccept = mayAccept || v.kind == accept || v.doubtful
			mayReturn = mayReturn || v.chain == returned
		case v.kind != pass:
			v.doubtful = v.doubtful || mayAccept || mayReturn
			return v
		case v.chain == returned:
			return verdict{kind: pass, doubtful: v.doubtful || mayAccept}
		default:
			mayAccept = mayAccept || v.doubtful
		}
	}
	return verdict{kind: pass, doubtful: mayAccept}
}

// returned marks the end of a chain that a rule has asked for.
const returned = "\x00return"

// truth is whether a rule matches.
type truth int

const (
	no truth = iota
	maybe
	yes
)

// apply takes the packet through one rule.
func (r *reader) apply(name chainName, rule *nftables.Rule, p Packet, depth int) (verdict, truth) {
	m := &match{reader: r, name: name, packet: p, regs: map[uint32][]byte{}, ports: map[uint32]bool{}, truth: yes}
	for _, e := range rule.Exprs {
		v, done := m.step(e, depth)
		if m.truth == no {
			return verdict{}, no
		}
		if done {
			if v.kind >= drop && v.rule == "" {
				v.chain, v.rule = name.chain, handle(rule)
			}
			return v, m.truth
		}
	}
	return verdict{kind: pass}, m.truth
}

// match is a rule under evaluation.
type match struct {
	reader *reader
	name   chainName
	packet Packet
	regs   map[uint32][]byte // what is not in it is not known
	ports  map[uint32]bool   // holds both ports, of which the source is not known
	truth  truth
}

func (m *match) and(t truth) { m.truth = min(m.truth, t) }

// step evaluates one expression; done where it ends the rule.
func (m *match) step(e expr.Any, depth int) (v verdict, done bool) {
	switch e := e.(type) {
	case *expr.Meta:
		return m.loadMeta(e)
	case *expr.Ct:
		return m.loadCt(e)
	case *expr.Payload:
		m.set(e.DestRegister, e.OperationType == expr.PayloadWrite, m.payload(e))
		if bothPorts(e) {
			m.ports[e.DestRegister] = true
		}
	case *expr.Fib:
		m.set(e.Register, false, m.fib(e))
	case *expr.Bitwise:
		m.set(e.DestRegister, false, bitwise(m.regs[e.SourceRegister], e))
	case *expr.Cmp:
		if m.ports[e.Register] && m.otherPort(e) {
			m.and(no)
		}
		m.and(compare(m.regs[e.Register], e))
	case *expr.Range:
		m.and(between(m.regs[e.Register], e))
	case *expr.Lookup:
		return m.lookup(e, depth)
	case *expr.Match:
		m.and(m.extension(e))
	case *expr.Target:
		return m.target(e)
	case *expr.Reject:
		return verdict{kind: drop}, true
	case *expr.Verdict:
		return m.verdict(e, depth)
	case *expr.Notrack:
		return m.notrack()
	case *expr.Masq:
		return verdict{kind: hide}, true
	case *expr.NAT:
		return m.translate(e)
	case *expr.Redir:
		return m.ledTo(netip.Addr{}, 0)
	case *expr.Counter, *expr.Log, *expr.Objref:
		// They let every packet pass on.
	case *expr.Immediate:
		m.set(e.Register, false, e.Data)
	default:
		clear(m.regs) // it may have written any
		clear(m.ports)
		m.and(maybe)
	}
	return verdict{}, false
}

func (m *match) set(register uint32, written bool, value []byte) {
	if written {
		return
	}
	delete(m.ports, register)
	if value == nil {
		delete(m.regs, register)
		return
	}
	m.regs[register] = value
}

func native32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// meta returns what is known of the packet beside its contents.
func (m *match) meta(key expr.MetaKey) []byte {
	p := m.packet
	switch key {
	case expr.MetaKeyIIFNAME:
		return interfaceName(p.In)
	case expr.MetaKeyOIFNAME:
		return interfaceName(p.Out)
	case expr.MetaKeyIIF:
		return interfaceIndex(p.In)
	case expr.MetaKeyOIF:
		return interfaceIndex(p.Out)
	case expr.MetaKeyL4PROTO:
		return []byte{p.Protocol}
	case expr.MetaKeyNFPROTO:
		if p.IPv6 {
			return []byte{unix.NFPROTO_IPV6}
		}
		return []byte{unix.NFPROTO_IPV4}
	case expr.MetaKeyMARK:
		return native32(p.Mark)
	case expr.MetaKeyPROTOCOL:
		if p.IPv6 {
			return []byte{0x86, 0xdd}
		}
		return []byte{0x08, 0x00}
	}
	return nil
}

// interfaceName is a name as the kernel compares it: filled up with zeros. That
// of an interface which is not known is nothing.
func interfaceName(name string) []byte {
	if name == "" {
		return nil
	}
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// interfaceIndex is the number of an interface.
func interfaceIndex(name string) []byte {
	i, err := net.InterfaceByName(name)
	if name == "" || err != nil {
		return nil
	}
	return native32(uint32(i.Index))
}

// The bit of a connection whose destination has been translated
// (IPS_DST_NAT in linux/netfilter/nf_conntrack_common.h).
const statusDNAT = 1 << 5

func (m *match) ct(e *expr.Ct) []byte {
	if m.packet.untracked {
		return nil
	}
	switch e.Key {
	case expr.CtKeyMARK:
		if m.packet.Kept != 0 {
			return native32(m.packet.Mark)
		}
	case expr.CtKeySTATE:
		if m.packet.Answer {
			return native32(expr.CtStateBitESTABLISHED)
		}
		return native32(expr.CtStateBitNEW)
	case expr.CtKeySTATUS: // of which rules ask for this bit alone
		if m.packet.DNAT {
			return native32(statusDNAT)
		}
		return native32(0)
	case expr.CtKeyDIRECTION:
		if m.packet.Answer {
			return []byte{1}
		}
		return []byte{0}
	}
	return nil
}

// addressType is that of the packet's destination, as in rtnetlink(7).
func (p Packet) addressType() uint32 {
	if p.Hook == Input || p.Hook == Arrival && !p.DNAT && !p.Answer {
		return unix.RTN_LOCAL
	}
	return unix.RTN_UNICAST
}

func (m *match) fib(e *expr.Fib) []byte {
	if !e.ResultADDRTYPE || e.FlagIIF || e.FlagOIF {
		return nil
	}
	if e.FlagSADDR && !m.packet.Answer {
		return native32(unix.RTN_UNICAST) // no visitor has an address of this machine
	}
	if !e.FlagDADDR {
		return nil
	}
	return native32(m.packet.addressType())
}

// payload returns what is known of the packet's headers.
func (m *match) payload(e *expr.Payload) []byte {
	at := uint32(2) // of the port that is known: the destination
	if m.packet.Answer {
		at = 0
	}
	switch {
	case e.Base == expr.PayloadBaseTransportHeader && e.Offset == at && e.Len == 2 && m.packet.Port != 0:
		return binary.BigEndian.AppendUint16(nil, m.packet.Port)
	case e.Base == expr.PayloadBaseNetworkHeader && m.packet.Dst.Is4() && e.Offset == 16 && e.Len == 4,
		e.Base == expr.PayloadBaseNetworkHeader && m.packet.Dst.Is6() && e.Offset == 24 && e.Len == 16:
		return m.packet.Dst.AsSlice()
	case e.Base == expr.PayloadBaseNetworkHeader && e.Len == 1 && (e.Offset == 9 && !m.packet.IPv6 || e.Offset == 6 && m.packet.IPv6):
		return []byte{m.packet.Protocol}
	}
	return nil
}

// bothPorts reports whether source and destination are read at once, as iptables
// does for --sport with --dport.
func bothPorts(e *expr.Payload) bool {
	return e.Base == expr.PayloadBaseTransportHeader && e.Offset == 0 && e.Len == 4 && e.OperationType != expr.PayloadWrite
}

// otherPort reports whether both ports are compared with a destination that is
// not the packet's.
func (m *match) otherPort(e *expr.Cmp) bool {
	return e.Op == expr.CmpOpEq && len(e.Data) == 4 && !m.packet.Answer && binary.BigEndian.Uint16(e.Data[2:]) != m.packet.Port
}

func bitwise(value []byte, e *expr.Bitwise) []byte {
	if len(value) < len(e.Mask) || len(e.Mask) != len(e.Xor) || len(e.Mask) == 0 {
		return nil
	}
	out := make([]byte, len(e.Mask))
	for i := range out {
		out[i] = value[i]&e.Mask[i] ^ e.Xor[i]
	}
	return out
}

func compare(value []byte, e *expr.Cmp) truth {
	if len(value) < len(e.Data) || value == nil {
		return maybe
	}
	// Data may be shorter: the name of an interface with "*" at its end.
	c := bytes.Compare(value[:len(e.Data)], e.Data)
	switch e.Op {
	case expr.CmpOpEq:
		return is(c == 0)
	case expr.CmpOpNeq:
		return is(c != 0)
	case expr.CmpOpLt:
		return is(c < 0)
	case expr.CmpOpLte:
		return is(c <= 0)
	case expr.CmpOpGt:
		return is(c > 0)
	case expr.CmpOpGte:
		return is(c >= 0)
	}
	return maybe
}

func between(value []byte, e *expr.Range) truth {
	if value == nil || len(value) != len(e.FromData) {
		return maybe
	}
	in := bytes.Compare(value, e.FromData) >= 0 && bytes.Compare(value, e.ToData) <= 0
	return is(in == (e.Op == expr.CmpOpEq))
}

func is(b bool) truth {
	if b {
		return yes
	}
	return no
}

func not(t truth) truth {
	switch t {
	case yes:
		return no
	case no:
		return yes
	}
	return maybe
}

// verdict carries out a verdict, into other chains as well.
func (m *match) verdict(e *expr.Verdict, depth int) (verdict, bool) {
	switch e.Kind {
	case expr.VerdictAccept:
		return verdict{kind: accept}, true
	case expr.VerdictDrop:
		return verdict{kind: drop}, true
	case expr.VerdictReturn:
		return verdict{kind: pass, chain: returned}, true
	case expr.VerdictJump:
		v := m.reader.run(chainName{m.name.family, m.name.table, e.Chain}, m.packet, depth+1)
		return v, true
	case expr.VerdictGoto:
		v := m.reader.run(chainName{m.name.family, m.name.table, e.Chain}, m.packet, depth+1)
		if v.kind == pass {
			v.chain = returned
		}
		return v, true
	}
	return verdict{kind: pass}, true // continue, break
}
