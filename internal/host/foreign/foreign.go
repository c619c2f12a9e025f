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
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

// Hook is where in the kernel a chain sees packets.
type Hook string

// The hooks at which a verdict can defeat ours.
const (
	Input   Hook = "input"
	Forward Hook = "forward"
	Arrival Hook = "prerouting" // only seen in a Trace
)

// Packet is a packet of ours, as far as it is known.
type Packet struct {
	What     string // in words, such as "new visitors of web"
	Hook     Hook
	IPv6     bool
	In, Out  string // names of the interfaces; "": any that is not the tunnel's
	Tunnel   string // the tunnel's interface
	Protocol uint8  // of IP: 6 or 17
	Port     uint16 // destination
	Answer   bool   // of an established connection, not the first packet
	DNAT     bool   // its destination has been translated
	// Mark is the bit that our chains have set on it, and Priority where.
	Mark     uint32
	Priority int32
}

// Drop is a verdict of somebody else that drops a packet of ours.
type Drop struct {
	Packet Packet
	Family string // of the table: "ip", "ip6" or "inet"
	Table  string
	Base   string // the chain that hangs at the hook
	Chain  string // the one that drops, which may be another
	Rule   string // as nft(8) shows it; "": the policy of the chain
	Owner  string // "ufw", "firewalld", "Docker" …; "": not known
	Remedy Remedy // what lets the packet through; zero: not known
}

// mostRules is how many rules of one chain are read. Longer ones are lists of
// addresses, not policies; what they do is not known.
const mostRules = 5000

// Find returns, for each of the packets that others drop, the first verdict
// that does. Tables with one of the given names are ours.
func Find(ctx context.Context, packets []Packet, ours ...string) ([]Drop, error) {
	conn, err := connect()
	if err != nil {
		return nil, err
	}
	defer conn.CloseLasting()
	r := &reader{conn: conn, chains: map[chainName]*chain{}, sets: map[setName]*set{}}
	bases, err := r.baseChains(ours)
	if err != nil {
		return nil, err
	}
	var found []Drop
	for _, p := range packets {
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		if d, drops := r.first(bases, p); drops {
			found = append(found, d)
		}
	}
	for i := range found {
		found[i].Rule = ruleText(ctx, found[i])
		found[i].Owner = r.owner(found[i])
		found[i].Remedy = found[i].remedy()
	}
	return found, nil
}

// readTime bounds how long the kernel's rules are read. The library waits for
// ever where a signal interrupts its sending.
const readTime = 15 * time.Second

func connect() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return c.SetDeadline(time.Now().Add(readTime))
	}))
	if err != nil {
		return nil, fmt.Errorf("cannot ask the kernel for its rules: %w", err)
	}
	return conn, nil
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

// baseChains returns the chains of others that hang at a hook and filter, in the
// order in which packets meet them.
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
		if c.Hooknum == nil || c.Priority == nil || c.Type != nftables.ChainTypeFilter {
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

// first returns the first verdict that drops the packet for certain.
func (r *reader) first(bases []*nftables.Chain, p Packet) (Drop, bool) {
	for _, c := range bases {
		if !p.meets(c) {
			continue
		}
		if v := r.walk(c, p); v.kind == drop && !v.doubtful {
			return Drop{Packet: p, Family: familyText(c.Table.Family), Table: c.Table.Name, Base: c.Name, Chain: v.chain, Rule: v.rule}, true
		}
	}
	return Drop{}, false
}

// meets reports whether the packet comes by a base chain.
func (p Packet) meets(c *nftables.Chain) bool {
	hook := nftables.ChainHookInput
	if p.Hook == Forward {
		hook = nftables.ChainHookForward
	}
	if *c.Hooknum != *hook {
		return false
	}
	switch c.Table.Family {
	case nftables.TableFamilyINet:
		return true
	case nftables.TableFamilyIPv4:
		return !p.IPv6
	case nftables.TableFamilyIPv6:
		return p.IPv6
	}
	return false
}

// walk takes the packet through a base chain. What our chains, which come
// before or after, have set on it depends on the priority.
func (r *reader) walk(c *nftables.Chain, p Packet) verdict {
	if int32(*c.Priority) <= p.Priority {
		p.Mark = 0
	}
	name := chainName{c.Table.Family, c.Table.Name, c.Name}
	v := r.run(name, p, 0)
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
