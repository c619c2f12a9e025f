package firewall

import (
	"fmt"
	"slices"
	"strings"
)

// delta is what lies between two documents of one table. It is carried out in
// this order: what refers to something goes before that, and comes after it.
type delta struct {
	table    string
	constant string       // of added rules
	emptied  []string     // chains whose rules go
	gone     []elementsOf // of sets that stay
	sets     []set        // that go
	chains   []string     // that go
	counters []string     // that go
	added    document     // new counters, sets and chains, and new rules of emptied ones
	elements []elementsOf // that come, to sets that stay
}

// elementsOf are some elements of a set.
type elementsOf struct {
	set  set
	list []string
}

// delta returns what makes of a table of this document one of the next, if it
// can be changed so: where the rules that all forwards share have changed, or
// the sets, the table is filled again.
func (d *document) delta(next *document) (*delta, bool) {
	if d.table != next.table || d.schema != next.schema || d.marks != next.marks || !slices.Equal(d.defines, next.defines) ||
		!slices.Equal(d.counters, next.counters) || !slices.EqualFunc(d.chains, next.chains, sameChain) ||
		!slices.EqualFunc(d.sets, next.sets, sameShape) {
		return nil, false
	}
	c := &delta{table: d.table, constant: next.constants()}
	for i, s := range next.sets {
		if !s.outlives() {
			c.change(s, d.sets[i].elements, s.elements)
		}
	}
	c.forwards(d, next)
	if d.mark() != next.mark() {
		c.chains = append(c.chains, d.mark())
		c.added.chains = append(c.added.chains, chain{name: next.mark()})
	}
	return c, true
}

func sameChain(a, b chain) bool {
	return a.name == b.name && a.hook == b.hook && slices.Equal(a.rules, b.rules)
}

// sameShape reports whether sets differ in their elements alone.
func sameShape(a, b set) bool {
	return a.name == b.name && a.key == b.key && a.data == b.data && slices.Equal(a.options, b.options)
}

// change has a set that stays hold other elements.
func (c *delta) change(s set, before, after []string) {
	if slices.Equal(before, after) {
		return
	}
	gone, added := apart(before, after)
	s.elements = nil
	if len(gone) > 0 {
		c.gone = append(c.gone, elementsOf{s, gone})
	}
	if len(added) > 0 {
		c.elements = append(c.elements, elementsOf{s, added})
	}
}

// apart returns what only the first list has, and what only the second.
func apart(before, after []string) (gone, added []string) {
	return without(before, after), without(after, before)
}

func without(list, others []string) []string {
	if len(list) == 0 {
		return nil
	}
	there := make(map[string]bool, len(others))
	for _, o := range others {
		there[o] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return there[s] })
}

// forwards adds what becomes of those that have changed, come or gone.
func (c *delta) forwards(d, next *document) {
	var before, after part
	old, list := d.pieces, next.pieces
	for len(old) > 0 || len(list) > 0 {
		switch {
		case len(old) == 0 || len(list) > 0 && list[0].forward.ID < old[0].forward.ID:
			after.add(newPart(list[0].forward, next.marks))
			list = list[1:]
		case len(list) == 0 || old[0].forward.ID < list[0].forward.ID:
			before.add(newPart(old[0].forward, d.marks))
			old = old[1:]
		default:
			if old[0].sum != list[0].sum {
				before.add(newPart(old[0].forward, d.marks))
				after.add(newPart(list[0].forward, next.marks))
			}
			old, list = old[1:], list[1:]
		}
	}
	c.parts(before, after, next.sets)
}

func (p *part) add(o part) {
	p.elements = append(p.elements, o.elements...)
	p.counters = append(p.counters, o.counters...)
	p.sets = append(p.sets, o.sets...)
	p.chains = append(p.chains, o.chains...)
}

// texts are the elements of one shared set.
func (p part) texts(set string) []string {
	var list []string
	for _, e := range p.elements {
		if e.set == set {
			list = append(list, e.text)
		}
	}
	return list
}

func (c *delta) parts(before, after part, shared []set) {
	if len(before.elements)+len(after.elements) > 0 {
		for _, s := range shared {
			c.change(s, before.texts(s.name), after.texts(s.name))
		}
	}
	c.counters, c.added.counters = apart(before.counters, after.counters)
	c.ownSets(before.sets, after.sets)
	c.ownChains(before.chains, after.chains)
}

func (c *delta) ownSets(before, after []set) {
	old := make(map[string]set, len(before))
	for _, s := range before {
		old[s.name] = s
	}
	for _, s := range after {
		o, stays := old[s.name]
		switch {
		case !stays:
			c.added.sets = append(c.added.sets, s)
		case !s.outlives():
			c.change(s, o.elements, s.elements)
		}
		delete(old, s.name)
	}
	for _, s := range before {
		if _, goes := old[s.name]; goes {
			c.sets = append(c.sets, s)
		}
	}
}

func (c *delta) ownChains(before, after []chain) {
	old := make(map[string]chain, len(before))
	for _, o := range before {
		old[o.name] = o
	}
	for _, n := range after {
		o, stays := old[n.name]
		if !stays || !sameChain(o, n) {
			c.added.chains = append(c.added.chains, n)
		}
		if stays && !sameChain(o, n) {
			c.emptied = append(c.emptied, n.name)
		}
		delete(old, n.name)
	}
	for _, o := range before {
		if _, goes := old[o.name]; goes {
			c.emptied = append(c.emptied, o.name)
			c.chains = append(c.chains, o.name)
		}
	}
}

// text is the delta for nft(8).
func (c *delta) text() string {
	var b strings.Builder
	do := func(verb, kind, name, rest string) {
		fmt.Fprintf(&b, "%s %s inet %s %s%s\n", verb, kind, c.table, name, rest)
	}
	b.WriteString(c.constant)
	for _, name := range c.emptied {
		do("flush", "chain", name, "")
	}
	for _, e := range c.gone {
		do("delete", "element", e.set.name, " { "+strings.Join(e.list, ", ")+" }")
	}
	for _, s := range c.sets {
		do("delete", s.kind(), s.name, "")
	}
	for _, name := range c.chains {
		do("delete", "chain", name, "")
	}
	for _, name := range c.counters {
		do("delete", "counter", name, "")
	}
	fmt.Fprintf(&b, "table inet %s {\n%s}\n", c.table, c.added.body())
	for _, e := range c.elements {
		do("add", "element", e.set.name, " { "+strings.Join(e.list, ", ")+" }")
	}
	return b.String()
}

// kind is nft's word for the set.
func (s set) kind() string {
	if s.data != "" {
		return "map"
	}
	return "set"
}
