package config

import "fmt"

// forwardBits of a connection mark number the forwards.
const forwardBits = 0x00ffffff

// marksField reads the [marks] table.
func (d *decoder) marksField(to *Marks) field {
	return d.tableField("marks", func(t *table) {
		d.fields(t, "[marks]",
			parsed(d, "mask", &to.Mask, parseMark),
			parsed(d, "answer", &to.Answer, parseMark),
			parsed(d, "outer", &to.Outer, parseMark),
			parsed(d, "forward", &to.Forward, parseMark),
			parsed(d, "accepted", &to.Accepted, parseMark),
		)
		d.checkMarks(to)
	})
}

// checkMarks judges the marks together, those of the file with the defaults
// of the rest.
func (d *decoder) checkMarks(m *Marks) {
	if at := d.place(&m.Mask); m.Mask == 0 || m.Mask&forwardBits != 0 {
		d.add(at, problem{fmt.Sprintf("mask 0x%08x is not made of the highest 8 bits", m.Mask), "the low 24 bits number the forwards; take some of 0xff000000"})
		return
	}
	within := []struct {
		name string
		mark *uint32
	}{{"answer", &m.Answer}, {"outer", &m.Outer}, {"forward", &m.Forward}}
	for i, w := range within {
		at := d.place(w.mark, &m.Mask)
		if *w.mark == 0 || *w.mark&^m.Mask != 0 {
			d.addf(at, "%s is 0x%08x; it must have bits of the mask 0x%08x only, and at least one", w.name, *w.mark, m.Mask)
			continue
		}
		for _, o := range within[:i] {
			if *o.mark == *w.mark {
				d.addf(at, "%s and %s are both 0x%08x; they must differ", o.name, w.name, *w.mark)
			}
		}
	}
	if a := m.Accepted; a == 0 || a&(a-1) != 0 || a&m.Mask != 0 {
		d.addf(d.place(&m.Accepted, &m.Mask), "accepted is 0x%08x; it must be a single bit outside the mask 0x%08x", a, m.Mask)
	}
}
