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
		mark, text := tonesOfHops[w.State].Mark(), clean(w.Text)
		if w.State == doctor.Unseen {
			mark, text = "-", "not looked at: "+text
		}
		for i, l := range Wrap(text, room(s.Columns, label+4)) {
			lead := s.Paint(tonesOfHops[w.State], mark) + " " + pad(string(w.Hop), label)
			if i > 0 {
				lead = "  " + pad("", label)
			}
			lines = append(lines, lead+"  "+l)
		}
	}
	return lines
}
