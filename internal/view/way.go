package view

import (
	"github.com/gatelodge/gatelodge/internal/doctor"
)

// tonesOfHops are how the states of a hop are meant.
var tonesOfHops = map[doctor.State]Tone{doctor.Sound: Good, doctor.Worrying: Warning, doctor.Defective: Bad, doctor.Unseen: Dim}

// Way shows the hops of a visitor's way, one each.
func Way(way []doctor.Walked, s Style) []string {
	label := 0
	for _, w := range way {
		label = max(label, len(w.Hop))
	}
	var lines []string
	for _, w := range way {
		mark := tonesOfHops[w.State].Mark()
		if w.State == doctor.Unseen {
			mark = "-"
		}
		for i, l := range Wrap(clean(w.Text), room(s.Columns, label+4)) {
			lead := s.Paint(tonesOfHops[w.State], mark) + " " + pad(string(w.Hop), label)
			if i > 0 {
				lead = "  " + pad("", label)
			}
			if w.State == doctor.Unseen && i == 0 {
				l = "not looked at: " + l
			}
			lines = append(lines, lead+"  "+l)
		}
	}
	return lines
}
