// Package foreign reads what other firewalls of this machine would do to
// packets of ours: it finds the chain and the rule that drop them, and knows by
// which tool's own door they are let through. It changes nothing, unless it is
// told to carry such a remedy out.
//
// A packet is judged in three values. What cannot be told without a real
// packet, such as whether its source is in somebody's set, may match or may
// not; only what drops a packet whatever that is counts as a finding, so that a
// ban of a few addresses is none.
package foreign

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"

	"github.com/gatelodge/gatelodge/internal/host/netfilter"
	"github.com/gatelodge/gatelodge/internal/host/remedy"
)

// Hook is where in the kernel a chain sees packets.
type Hook string

// The hooks at which a verdict can defeat ours.
const (
	Input   Hook = "input"
	Forward Hook = "forward"
	Arrival Hook = "prerouting"
	Output  Hook = "output"
	Leaving Hook = "postrouting"
)

// numbers are those of the hooks in the kernel.
var numbers = map[Hook]nftables.ChainHook{
	Input: *nftables.ChainHookInput, Forward: *nftables.ChainHookForward, Arrival: *nftables.ChainHookPrerouting,
	Output: *nftables.ChainHookOutput, Leaving: *nftables.ChainHookPostrouting,
}

// Deed is what others do to a packet of ours that it must not suffer.
type Deed string

// The deeds of others.
const (
	Drops    Deed = "drops"
	Hides    Deed = "hides"    // it gets another source than the visitor's address
	Untracks Deed = "untracks" // conntrack never sees it, so that nothing translates it
	Remarks  Deed = "remarks"  // the mark by which its answer finds back is overwritten
)

// Packet is a packet of ours, as far as it is known.
type Packet struct {
	What     string // in words, such as "new visitors of web"
	Hook     Hook
	IPv6     bool
	In, Out  string     // names of the interfaces; "": any that is not the tunnel's
	Tunnel   string     // the tunnel's interface
	Protocol uint8      // of IP: 6 or 17
	Port     uint16     // of the service: the destination, or of an Answer the source
	Dst      netip.Addr // zero: not known
	Answer   bool       // of an established connection, not the first packet
	DNAT     bool       // its destination has been translated
	// Mark is the bits that our chains have set on it, and Priority where.
	Mark     uint32
	Priority int32
	// Kept is the part of the mark that has to stay as it is from Priority on;
	// zero: none.
	Kept uint32
	// Settled is set where our own chain of nat of priority SettledAt leaves
	// nothing to those after it.
	Settled   bool
	SettledAt int32

	untracked bool // conntrack has not seen it yet
}

// Drop is what somebody else does to a packet of ours: most drop it.
type Drop struct {
	Packet Packet
	Deed   Deed
	Family string // of the table: "ip", "ip6" or "inet"
	Table  string
	Base   string        // the chain that hangs at the hook
	Chain  string        // the one that drops, which may be another
	Rule   string        // as nft(8) shows it; "": the policy of the chain
	Owner  string        // "ufw", "firewalld", "Docker" …; "": not known
	Legacy bool          // it is iptables-legacy's, which nft(8) does not show
	Remedy remedy.Remedy // what lets the packet through; zero: not known
}

// mostRules is how many rules of one chain are read. Longer ones are lists of
// addresses, not policies; what they do is not known.
const mostRules = 5000

// Find returns, for each of the packets, the first rule of others that does it
// harm, of nftables and of iptables-legacy. Tables with one of the given names
// are ours. With an error it returns what it could find out all the same.
func Find(ctx context.Context, packets []Packet, ours ...string) ([]Drop, error) {
	conn, err := netfilter.Open()
	if err != nil {
		return nil, err
	}
	defer conn.CloseLasting()
	r := &reader{conn: conn, chains: map[chainName]*chain{}, sets: map[setName]*set{}}
	bases, err := r.baseChains(ours)
	if err != nil {
		return nil, err
	}
	old, oldErr := readLegacy()
	var found []Drop
	for _, p := range packets {
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		if d, drops := r.first(bases, p); drops {
			d.Rule, d.Owner = ruleText(ctx, d), r.owner(d)
			d.Remedy = d.remedy()
			found = append(found, d)
		}
		if d, drops := firstLegacy(old, p); drops {
			d.Remedy = d.remedy()
			found = append(found, d)
		}
	}
	return found, oldErr
}

// reader reads chains and sets once, when a packet comes by them.
type reader struct {
	conn   *nftables.Conn
	chains map[chainName]*chain
	sets   map[setName]*set
	names  map[string][]string // of the chains of each table
}

type chainName struct {
	family nftables.TableFamily
	table  string
	chain  string
}

// baseChains returns the chains of others that hang at a hook, in the order in
// which packets meet them.
func (r *reader) baseChains(ours []string) ([]*nftables.Chain, error) {
	all, err := r.conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("cannot list the kernel's chains: %w", err)
	}
	var bases []*nftables.Chain
	r.names = map[string][]string{}
	for _, c := range all {
		key := tableText(c.Table)
		r.names[key] = append(r.names[key], c.Name)
		if c.Hooknum == nil || c.Priority == nil {
			continue
		}
		if c.Table.Family == nftables.TableFamilyINet && slices.Contains(ours, c.Table.Name) {
			continue
		}
		bases = append(bases, c)
	}
	slices.SortStableFunc(bases, func(a, b *nftables.Chain) int { return cmp.Compare(*a.Priority, *b.Priority) })
	return bases, nil
}

// first returns the first deed that is certain.
func (r *reader) first(bases []*nftables.Chain, p Packet) (Drop, bool) {
	for _, c := range bases {
		if !p.meets(c) {
			continue
		}
		v := r.walk(c, p)
		if deed, does := v.deed(); does {
			return Drop{Packet: p.at(int32(*c.Priority)), Deed: deed, Family: familyText(c.Table.Family), Table: c.Table.Name, Base: c.Name, Chain: v.chain, Rule: v.rule}, true
		}
	}
	return Drop{}, false
}

// meets reports whether the packet comes by a base chain. Of the chains that
// translate, only those matter that change its source, and of a connection they
// see the first packet alone.
func (p Packet) meets(c *nftables.Chain) bool {
	if *c.Hooknum != numbers[p.Hook] {
		return false
	}
	if c.Type == nftables.ChainTypeNAT && (p.Hook != Leaving || p.Answer || p.Settled && int32(*c.Priority) >= p.SettledAt) {
		return false
	}
	return p.of(c.Table.Family)
}

// of reports whether tables of a family see the packet.
func (p Packet) of(family nftables.TableFamily) bool {
	switch family {
	case nftables.TableFamilyINet:
		return true
	case nftables.TableFamilyIPv4:
		return !p.IPv6
	case nftables.TableFamilyIPv6:
		return p.IPv6
	}
	return false
}

// Where conntrack first sees a packet, and where destinations are translated
// (linux/netfilter_ipv4.h).
const (
	conntrackPriority = -200
	dnatPriority      = -100
)

// at is the packet as a chain of some priority meets it: what our own chains, and
// the kernel, have done to it depends on that.
func (p Packet) at(priority int32) Packet {
	if priority < p.Priority || priority == p.Priority && p.Kept == 0 {
		p.Mark, p.Kept = 0, 0
	}
	if p.Hook == Arrival && !p.Answer && priority >= dnatPriority {
		p.DNAT, p.Dst = true, netip.Addr{}
	}
	p.untracked = (p.Hook == Arrival || p.Hook == Output) && priority < conntrackPriority
	return p
}

// walk takes the packet through a base chain.
func (r *reader) walk(c *nftables.Chain, p Packet) verdict {
	p = p.at(int32(*c.Priority))
	if p.Hook == Output && c.Type != nftables.ChainTypeRoute {
		p.Kept = 0 // its way has been chosen, and the mark is not asked for again
	}
	v := r.run(chainName{c.Table.Family, c.Table.Name, c.Name}, p, 0)
	if v.kind != pass {
		return v
	}
	if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
		return verdict{kind: drop, chain: c.Name, doubtful: v.doubtful}
	}
	return verdict{kind: accept}
}

// chain is a chain with its rules, if they could be read.
type chain struct {
	rules  []*nftables.Rule
	opaque bool
}

// load reads the rules of a chain. The library gives up on what it does not
// know: such a chain is opaque, and so is one that is too long.
func (r *reader) load(name chainName) *chain {
	if c, ok := r.chains[name]; ok {
		return c
	}
	table := &nftables.Table{Family: name.family, Name: name.table}
	c := &chain{}
	var err error
	c.rules, err = r.conn.GetRules(table, &nftables.Chain{Table: table, Name: name.chain})
	if err != nil || len(c.rules) > mostRules {
		*c = chain{opaque: true}
	}
	r.chains[name] = c
	return c
}

func familyText(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	}
	return "inet"
}

func tableText(t *nftables.Table) string { return familyText(t.Family) + " " + t.Name }
