package foreign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
)

// layout says where things are in a rule of one family: struct ipt_entry, struct
// ip6t_entry.
type layout struct {
	addr       int // size of an address
	interfaces int // four names: in, out and their masks
	protocol   int
	flags      int
	targetAt   int // where the target's offset is, before that of the next rule
	rule       int // size of what comes before the matches
	proto6     bool
}

var (
	layout4 = layout{addr: 4, interfaces: 16, protocol: 80, flags: 82, targetAt: 88, rule: 112}
	layout6 = layout{addr: 16, interfaces: 64, protocol: 128, flags: 131, targetAt: 140, rule: 168, proto6: true}
)

// layouts are those of the families.
var layouts = map[string]layout{"ip": layout4, "ip6": layout6}

// legacyChains is a table of iptables-legacy, chain by chain.
type legacyChains struct {
	family, name string
	priority     int32
	bases        map[Hook]string
	policies     map[string]bool // of the base chains: whether they drop
	rules        map[string][]legacyRule
	starts       map[uint32]string // chains, by the place of their first rule
}

// legacyRule is one rule. Its matches and its target are the ones of
// iptables-nft, which the library reads.
type legacyRule struct {
	number  int // in its chain, as iptables -L --line-numbers counts
	header  []byte
	matches []*expr.Match
	target  *expr.Target
	verdict int32 // of a standard target: below 0 a verdict, else where to jump
	text    string
}

// The verdicts of a standard target (linux/netfilter/x_tables.h), and the flag of
// a rule that does not come back.
const (
	legacyDrop   = -1
	legacyAccept = -2
	legacyReturn = -5
	flagGoto     = 2
)

// Its base chains bear the names that iptables gives them.
var legacyBases = map[Hook]string{Arrival: "PREROUTING", Input: "INPUT", Forward: "FORWARD", Output: "OUTPUT", Leaving: "POSTROUTING"}

var errBadTable = errors.New("the kernel's answer cannot be read")

// parseLegacy takes a table apart. It is one list of rules: a chain of the owner
// begins with a rule that bears its name, and ends as that of a hook does, with
// its policy.
func parseLegacy(t netfilter.LegacyTable, l layout) (legacyChains, error) {
	c := legacyChains{
		family: t.Family, name: t.Name, priority: legacyPriorities[t.Name],
		bases: map[Hook]string{}, policies: map[string]bool{}, rules: map[string][]legacyRule{}, starts: map[uint32]string{},
	}
	policies := map[uint32]bool{}
	data := t.Rules
	for number, at := range t.Heads {
		hook := hookOrder[number]
		c.bases[hook], c.starts[at], policies[t.Ends[number]] = legacyBases[hook], legacyBases[hook], true
	}
	chain := ""
	for at := uint32(0); at < uint32(len(data)); {
		r, next, err := parseLegacyRule(data[at:], l)
		if err != nil {
			return c, err
		}
		if name, begins := c.starts[at]; begins {
			chain = name
		}
		switch {
		case r.target.Name == errorTarget:
			chain = r.text
			c.starts[at+next] = chain
		case policies[at]:
			c.policies[chain] = r.verdict == legacyDrop
		default:
			r.number = len(c.rules[chain]) + 1
			r.text = r.describe(l)
			c.rules[chain] = append(c.rules[chain], r)
		}
		at += next
	}
	return c, nil
}

// errorTarget is that of the rule before a chain of the owner, and of the last
// one of all.
const errorTarget = "ERROR"

// Sizes of struct xt_entry_match, and of its name.
const (
	extensionHead = 32
	extensionName = 29
)

func parseLegacyRule(b []byte, l layout) (legacyRule, uint32, error) {
	if len(b) < l.rule {
		return legacyRule{}, 0, errBadTable
	}
	target, next := int(binary.NativeEndian.Uint16(b[l.targetAt:])), int(binary.NativeEndian.Uint16(b[l.targetAt+2:]))
	if target < l.rule || next < target+extensionHead || next > len(b) {
		return legacyRule{}, 0, errBadTable
	}
	r := legacyRule{header: b[:l.rule]}
	for at := l.rule; at < target; {
		name, rev, info, size, err := extensionAt(b[at:target])
		if err != nil {
			return r, 0, err
		}
		r.matches = append(r.matches, &expr.Match{Name: name, Rev: rev, Info: readInfo(name, l, rev, info)})
		at += size
	}
	name, rev, info, _, err := extensionAt(b[target:next])
	if err != nil {
		return r, 0, err
	}
	r.target = &expr.Target{Name: name, Rev: rev, Info: readInfo(name, l, rev, info)}
	switch {
	case name == errorTarget:
		r.text = text(info)
	case name == "" && len(info) >= 4:
		r.verdict = int32(binary.NativeEndian.Uint32(info))
	}
	return r, uint32(next), nil
}

func extensionAt(b []byte) (name string, rev uint32, info []byte, size int, err error) {
	if len(b) < extensionHead {
		return "", 0, nil, 0, errBadTable
	}
	size = int(binary.NativeEndian.Uint16(b))
	if size < extensionHead || size > len(b) {
		return "", 0, nil, 0, errBadTable
	}
	return text(b[2 : 2+extensionName]), uint32(b[extensionHead-1]), b[extensionHead:size], size, nil
}

func readInfo(name string, l layout, rev uint32, data []byte) xt.InfoAny {
	family := xt.TableFamily(unix.NFPROTO_IPV4)
	if l.proto6 {
		family = unix.NFPROTO_IPV6
	}
	info, err := xt.Unmarshal(name, family, rev, data)
	if err != nil {
		unknown := xt.Unknown(data)
		return &unknown
	}
	return info
}

// The conditions of a rule's header that may be turned round.
const (
	notIn, notOut, notSource, notDestination, notProtocol = 1, 2, 8, 16, 64
)

// address returns one of the two addresses of the header, as a prefix.
func (r legacyRule) address(l layout, destination bool) (netip.Prefix, bool) {
	at := 0
	if destination {
		at = l.addr
	}
	a, _ := netip.AddrFromSlice(r.header[at : at+l.addr]) // it has the size of one
	bits := 0
	for _, b := range r.header[2*l.addr+at : 2*l.addr+at+l.addr] {
		for ; b&0x80 != 0; b <<= 1 {
			bits++
		}
	}
	return netip.PrefixFrom(a, bits), bits > 0
}

// name returns one of the two interfaces of the header. It is whole if nothing may
// follow it; "+" at its end stands for anything.
func (r legacyRule) name(l layout, out bool) (name string, whole, is bool) {
	const size = unix.IFNAMSIZ
	at := l.interfaces
	if out {
		at += size
	}
	name, mask := text(r.header[at:at+size]), text(r.header[at+2*size:at+3*size])
	return name[:min(len(name), len(mask))], len(mask) > len(name), mask != ""
}

// protocolOf returns the protocol of the header; 0 stands for any.
func (r legacyRule) protocolOf(l layout) byte { return r.header[l.protocol] }

func (r legacyRule) inverts(l layout, what byte) bool { return r.header[l.flags+1]&what != 0 }

func (r legacyRule) goes(l layout) bool { return r.header[l.flags]&flagGoto != 0 }

// describe writes the rule as iptables-save would, as far as one needs to find
// it.
func (r legacyRule) describe(l layout) string {
	var words []string
	add := func(invert byte, option, value string, is bool) {
		if is && r.inverts(l, invert) {
			words = append(words, "!")
		}
		if is {
			words = append(words, option, value)
		}
	}
	source, hasSource := r.address(l, false)
	destination, hasDestination := r.address(l, true)
	add(notSource, "-s", source.String(), hasSource)
	add(notDestination, "-d", destination.String(), hasDestination)
	in, wholeIn, hasIn := r.name(l, false)
	out, wholeOut, hasOut := r.name(l, true)
	add(notIn, "-i", in+plus(wholeIn), hasIn)
	add(notOut, "-o", out+plus(wholeOut), hasOut)
	protocols := map[byte]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}
	if p := r.protocolOf(l); p != 0 {
		name, known := protocols[p]
		if !known {
			name = fmt.Sprint(p)
		}
		add(notProtocol, "-p", name, true)
	}
	for _, m := range r.matches {
		words = append(words, "-m", m.Name)
	}
	verdicts := map[int32]string{legacyDrop: "DROP", legacyAccept: "ACCEPT", legacyReturn: "RETURN"}
	if name := r.target.Name; name != "" {
		words = append(words, "-j", name)
	} else if verdict, known := verdicts[r.verdict]; known {
		words = append(words, "-j", verdict)
	}
	return fmt.Sprintf("rule %d: %s", r.number, strings.Join(words, " "))
}

// plus is how iptables shows that only the start of a name counts.
func plus(whole bool) string {
	if whole {
		return ""
	}
	return "+"
}
