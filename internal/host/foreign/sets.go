package foreign

import (
	"bytes"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

type setName struct {
	family nftables.TableFamily
	table  string
	set    string
}

// set is a set or a map, if it could be read.
type set struct {
	opaque    bool
	intervals bool
	elements  []nftables.SetElement
}

// mostElements is how many elements of a set are read.
const mostElements = 20000

func (r *reader) loadSet(name setName) *set {
	if s, ok := r.sets[name]; ok {
		return s
	}
	s := &set{}
	r.sets[name] = s
	found, err := r.conn.GetSetByName(&nftables.Table{Family: name.family, Name: name.table}, name.set)
	if err != nil || found.Concatenation && found.Interval {
		s.opaque = true
		return s
	}
	s.intervals = found.Interval
	s.elements, err = r.conn.GetSetElements(found)
	if err != nil || len(s.elements) > mostElements {
		*s = set{opaque: true}
	}
	return s
}

// find returns the element that holds the key; found is maybe where that
// cannot be told.
func (s *set) find(key []byte) (nftables.SetElement, truth) {
	if s.opaque || key == nil {
		return nftables.SetElement{}, maybe
	}
	if s.intervals {
		return s.findInterval(key)
	}
	for _, e := range s.elements {
		if len(e.Key) > len(key) {
			return nftables.SetElement{}, maybe // a key of several parts
		}
		if bytes.Equal(e.Key, key[:len(e.Key)]) {
			return e, yes
		}
	}
	return nftables.SetElement{}, no
}

// findInterval looks for the last start that is not beyond the key: an element
// ends where the next one, or the mark of an end, begins.
func (s *set) findInterval(key []byte) (nftables.SetElement, truth) {
	var last nftables.SetElement
	found := false
	for _, e := range s.elements {
		if len(e.Key) > len(key) {
			return nftables.SetElement{}, maybe
		}
		if bytes.Compare(e.Key, key[:len(e.Key)]) > 0 {
			continue
		}
		if !found || bytes.Compare(e.Key, last.Key) > 0 || bytes.Equal(e.Key, last.Key) && last.IntervalEnd {
			last, found = e, true
		}
	}
	return last, is(found && !last.IntervalEnd)
}

// lookup looks a value up, in a map of verdicts as well.
func (m *match) lookup(e *expr.Lookup, depth int) (verdict, bool) {
	s := m.reader.loadSet(setName{m.name.family, m.name.table, e.SetName})
	element, found := s.find(m.regs[e.SourceRegister])
	if !e.IsDestRegSet {
		m.and(inverted(found, e.Invert))
		return verdict{}, false
	}
	m.and(found)
	if found == maybe {
		return verdict{kind: accept}, true // one of its verdicts, or none
	}
	if found == yes && element.VerdictData != nil {
		return m.verdict(element.VerdictData, depth)
	}
	if found == yes {
		m.set(e.DestRegister, false, element.Val)
	}
	return verdict{}, false
}

func handle(rule *nftables.Rule) string { return fmt.Sprintf("# handle %d", rule.Handle) }
