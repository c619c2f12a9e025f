package foreign

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// target is an extension of iptables that decides.
func (m *match) target(e *expr.Target) (verdict, bool) {
	switch e.Name {
	case "REJECT":
		return verdict{kind: drop}, true
	case "MASQUERADE", "SNAT":
		return verdict{kind: hide}, true
	case "DNAT":
		return m.dnatTarget(e.Info)
	case "NOTRACK":
		return m.notrack()
	case "CT":
		return untracking(m, e.Info)
	case "MARK", "CONNMARK":
		return marking(m, e.Name, e.Info)
	case "LOG", "NFLOG", "TCPMSS":
		return verdict{}, false
	}
	// What it does is not known: it may accept.
	m.and(maybe)
	return verdict{kind: accept}, true
}

// The flags of xt_conntrack.h, and its bits of states: the kernel's number of a
// state plus one (XT_CONNTRACK_STATE_BIT).
const (
	xtState       = 1 << 0
	xtStatus      = 1 << 6
	xtEstablished = 1 << 1
	xtNew         = 1 << 3
)

// extension is a match of iptables.
func (m *match) extension(e *expr.Match) truth {
	switch info := e.Info.(type) {
	case *xt.Comment:
		return yes
	case *xt.Tcp:
		if info.InvFlags != 0 {
			return maybe
		}
		known := info.FlagsMask == 0 && info.Option == 0 && everyPort(info.SrcPorts)
		return min(m.portIn(unix.IPPROTO_TCP, info.DstPorts), atLeast(known))
	case *xt.Udp:
		if info.InvFlags != 0 {
			return maybe
		}
		return min(m.portIn(unix.IPPROTO_UDP, info.DstPorts), atLeast(everyPort(info.SrcPorts)))
	case *xt.AddrType:
		return m.destination(info.Source, info.Dest, info.InvertDest)
	case *xt.AddrTypeV1:
		const invertDest, others = 2, 4 | 8
		if info.Flags&others != 0 {
			return maybe
		}
		return m.destination(info.Source, info.Dest, info.Flags&invertDest != 0)
	case *xt.ConntrackMtinfo1:
		return m.conntrack(info.ConntrackMtinfoBase, uint16(info.StateMask), uint16(info.StatusMask))
	case *xt.ConntrackMtinfo2:
		return m.conntrack(info.ConntrackMtinfoBase, info.StateMask, info.StatusMask)
	case *xt.ConntrackMtinfo3:
		return m.conntrack(info.ConntrackMtinfoBase, info.StateMask, info.StatusMask)
	case *xt.Unknown:
		return m.unknownExtension(e.Name, *info)
	}
	return maybe
}

// unknownExtension reads those that the library does not.
func (m *match) unknownExtension(name string, info []byte) truth {
	switch {
	case name == "comment":
		return yes
	case name == "multiport":
		return m.multiport(info)
	case name == "mark" && len(info) >= 9: // struct xt_mark_mtinfo1
		mark, mask := binary.NativeEndian.Uint32(info), binary.NativeEndian.Uint32(info[4:])
		return is((m.packet.Mark&mask == mark) == (info[8] == 0))
	}
	return maybe
}

// destination looks for the type of the packet's destination in a mask of types.
func (m *match) destination(source, dest uint16, invert bool) truth {
	if source != 0 {
		return maybe
	}
	return inverted(is(dest&(1<<m.packet.addressType()) != 0), invert)
}

// atLeast is what a condition adds that is met, or of which nothing is known.
func atLeast(met bool) truth {
	if met {
		return yes
	}
	return maybe
}

func everyPort(r [2]uint16) bool { return r[0] == 0 && r[1] == 0xffff }

func (m *match) portIn(protocol uint8, r [2]uint16) truth {
	switch {
	case m.packet.Protocol != protocol:
		return no
	case everyPort(r):
		return yes
	case m.packet.Answer:
		return maybe
	}
	return is(r[0] <= m.packet.Port && m.packet.Port <= r[1])
}

func (m *match) conntrack(base xt.ConntrackMtinfoBase, states, status uint16) truth {
	result := yes
	if base.MatchFlags&^(xtState|xtStatus|uint16(xt.ConntrackStateAlias)) != 0 {
		result = maybe
	}
	if base.MatchFlags&xtState != 0 {
		state := uint16(xtNew)
		if m.packet.Answer {
			state = xtEstablished
		}
		result = min(result, inverted(is(states&state != 0 || m.packet.DNAT && states&(1<<7) != 0), base.InvertFlags&xtState != 0))
	}
	if base.MatchFlags&xtStatus != 0 {
		t := maybe
		if status == statusDNAT {
			t = is(m.packet.DNAT)
		}
		result = min(result, inverted(t, base.InvertFlags&xtStatus != 0))
	}
	return result
}

func inverted(t truth, invert bool) truth {
	if invert {
		return not(t)
	}
	return t
}
