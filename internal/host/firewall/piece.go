package firewall

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// piece is a forward in a document of a gate, by what it adds to the table. That
// itself is not kept: there may be tens of thousands.
type piece struct {
	forward forward.Grant
	sum     [sha256.Size]byte // of its part
}

// part is what one forward adds to the table.
type part struct {
	elements []element // of sets that all forwards share
	counters []string
	sets     []set // of its own, as are the chains
	chains   []chain
}

// element is one of a set that forwards share.
type element struct {
	set   string
	order uint32 // among those of the set
	text  string
}

// sharedSets are those that forwards have elements in. Those of ports say for
// each public port of a family which forward it is and which home it leads to;
// the others are looked up by ct mark once a connection has one.
func sharedSets() []set {
	var sets []set
	for _, fam := range families {
		for _, m := range []struct{ name, data string }{{"marks" + fam.digit, "mark"}, {"homes" + fam.digit, fam.addrType}} {
			maps, _ := portSets(m.name, m.data, nil) // without ports, no two are alike
			sets = append(sets, maps...)
		}
	}
	for _, suffix := range []string{"in", "out", "new"} {
		sets = append(sets, set{name: "count_" + suffix, key: "mark", data: "counter"})
	}
	return append(sets,
		set{name: "masqueraded", key: "mark"},
		set{name: "allowed", key: "mark", data: "verdict"},
		set{name: "limits", key: "mark", data: "verdict"},
	)
}

// addForwards adds what there is per forward. Pieces of the document before, or
// nil, are taken over where their forwards have not changed.
func (d *document) addForwards(before *document, forwards []forward.Grant) error {
	var old []piece
	if before != nil && before.marks == d.marks {
		old = before.pieces
	}
	byNumber := func(a, b forward.Grant) int { return int(a.ID) - int(b.ID) }
	if !slices.IsSortedFunc(forwards, byNumber) {
		forwards = slices.SortedFunc(slices.Values(forwards), byNumber)
	}
	same := func(p piece, f forward.Grant) bool { return sameForward(p.forward, f) }
	if len(old) > 0 && slices.EqualFunc(old, forwards, same) {
		d.pieces, d.sums = old, before.sums
		return nil
	}
	if err := d.addPieces(old, forwards); err != nil {
		return err
	}
	all := sha256.New()
	for _, p := range d.pieces {
		all.Write(p.sum[:])
	}
	d.sums = string(all.Sum(nil))
	return nil
}

func (d *document) addPieces(old []piece, forwards []forward.Grant) error {
	var taken takenPorts
	d.pieces = make([]piece, 0, len(forwards))
	for i, f := range forwards {
		if err := checkForward(f, d.marks); err != nil {
			return err
		}
		if i > 0 && forwards[i-1].ID == f.ID {
			return fmt.Errorf("forward %d is there twice", f.ID)
		}
		if !taken.take(f) {
			return samePorts(forwards)
		}
		for len(old) > 0 && old[0].forward.ID < f.ID {
			old = old[1:]
		}
		if len(old) > 0 && sameForward(old[0].forward, f) {
			d.pieces = append(d.pieces, old[0])
		} else {
			d.pieces = append(d.pieces, newPiece(f, d.marks))
		}
	}
	return nil
}

// newPiece copies what somebody else may change later.
func newPiece(f forward.Grant, m plan.Marks) piece {
	f.Ports, f.Allow = slices.Clone(f.Ports), slices.Clone(f.Allow)
	return piece{f, newPart(f, m).sum()}
}

func sameForward(a, b forward.Grant) bool {
	return a.ID == b.ID && a.Target4 == b.Target4 && a.Target6 == b.Target6 && a.Masquerade == b.Masquerade &&
		a.Limit == b.Limit && slices.Equal(a.Ports, b.Ports) && slices.Equal(a.Allow, b.Allow)
}

func newPart(f forward.Grant, m plan.Marks) part {
	var p part
	mark := forwardMark(m, f.ID)
	for _, fam := range families {
		if target, serves := targetOf(f, fam); serves {
			p.addPorts(f, fam, mark, target)
		}
	}
	add := func(set, text string) { p.elements = append(p.elements, element{set, f.ID, text}) }
	for _, suffix := range []string{"in", "out", "new"} {
		name := counterName(f.ID, suffix)
		add("count_"+suffix, mark+` : "`+name+`"`)
		p.counters = append(p.counters, name)
	}
	if f.Masquerade {
		add("masqueraded", mark)
	}
	if len(f.Allow) > 0 {
		add("allowed", mark+" : jump "+allowChain(f.ID))
	}
	if limited(f) {
		add("limits", mark+" : jump "+limitChain(f.ID))
	}
	if len(f.Allow) > 0 || limited(f) {
		p.counters = append(p.counters, counterName(f.ID, "dropped"))
	}
	p.addAllow(f)
	p.addLimits(f)
	return p
}

func (p *part) addPorts(f forward.Grant, fam family, mark string, target netip.Addr) {
	for _, ports := range forward.NewPortSet(f.Ports...) {
		suffix := fam.digit
		if ports.Range.Len() > 1 {
			suffix += "_ranges"
		}
		order := uint32(ports.Protocol)<<16 | uint32(ports.Range.First)
		p.elements = append(p.elements,
			element{"marks" + suffix, order, entry{ports, mark}.text()},
			element{"homes" + suffix, order, entry{ports, target.String()}.text()})
	}
}

// sum tells parts apart.
func (p part) sum() [sha256.Size]byte {
	var b strings.Builder
	for _, e := range p.elements {
		b.WriteString(e.set + " " + e.text + "\n")
	}
	d := document{counters: p.counters, sets: p.sets, chains: p.chains}
	b.WriteString(d.body())
	return sha256.Sum256([]byte(b.String()))
}

// whole returns the document with the parts of its forwards in their places.
func (d *document) whole() *document {
	if len(d.pieces) == 0 {
		return d
	}
	all := *d
	all.pieces = nil
	all.counters, all.sets, all.chains = slices.Clone(d.counters), slices.Clone(d.sets), slices.Clone(d.chains)
	shared := make(map[string][]element)
	for _, piece := range d.pieces {
		p := newPart(piece.forward, d.marks)
		for _, e := range p.elements {
			shared[e.set] = append(shared[e.set], e)
		}
		all.counters = append(all.counters, p.counters...)
		all.sets = append(all.sets, p.sets...)
		all.chains = append(all.chains, p.chains...)
	}
	for i, s := range all.sets {
		list := shared[s.name]
		slices.SortStableFunc(list, func(a, b element) int { return int(a.order) - int(b.order) })
		for _, e := range list {
			all.sets[i].elements = append(all.sets[i].elements, e.text)
		}
	}
	return &all
}

// takenPorts are the ports of each protocol that forwards have in each family.
type takenPorts [len(families)]map[forward.Protocol]*[1 << 10]uint64

// take reports whether no forward before has one of these ports.
func (t *takenPorts) take(f forward.Grant) bool {
	ports := f.Ports
	if len(ports) > 1 {
		ports = forward.NewPortSet(ports...) // which may overlap
	}
	for i, fam := range families {
		if _, serves := targetOf(f, fam); !serves {
			continue
		}
		for _, p := range ports {
			if !t.takeRange(i, p) {
				return false
			}
		}
	}
	return true
}

func (t *takenPorts) takeRange(family int, p forward.Ports) bool {
	if t[family] == nil {
		t[family] = make(map[forward.Protocol]*[1 << 10]uint64)
	}
	bits := t[family][p.Protocol]
	if bits == nil {
		bits = new([1 << 10]uint64)
		t[family][p.Protocol] = bits
	}
	for port := int(p.Range.First); port <= int(p.Range.Last); port++ {
		if bits[port>>6]&(1<<(port&63)) != 0 {
			return false
		}
		bits[port>>6] |= 1 << (port & 63)
	}
	return true
}

// samePorts says which forwards have a port in common.
func samePorts(forwards []forward.Grant) error {
	for _, fam := range families {
		var entries []entry
		for _, f := range forwards {
			if _, serves := targetOf(f, fam); !serves {
				continue
			}
			for _, p := range forward.NewPortSet(f.Ports...) {
				entries = append(entries, entry{ports: p})
			}
		}
		if _, err := sortEntries(entries); err != nil {
			return err
		}
	}
	return errors.New("two forwards have one port")
}
