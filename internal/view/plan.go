package view

import (
	"fmt"
	"strings"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// tones are how the kinds of change are meant.
var tones = map[plan.ChangeKind]Tone{plan.Added: Good, plan.Altered: Warning, plan.Removed: Bad}

// Changes shows what an owner has changed, and after it what that takes on the
// machine.
func Changes(list []plan.Change, s Style) []string {
	if len(list) == 0 {
		return []string{"nothing to change"}
	}
	var lines, steps []string
	for _, c := range list {
		if c.Machine {
			steps = append(steps, indented(c, Dim, s)...)
		} else {
			lines = append(lines, indented(c, tones[c.Kind], s)...)
		}
	}
	if len(lines) > 0 && len(steps) > 0 {
		lines = append(lines, s.Dim("on this machine:"))
	}
	return append(lines, steps...)
}

func indented(c plan.Change, t Tone, s Style) []string {
	lines := Wrap(clean(c.String()), room(s.Columns, 4))
	for i, l := range lines {
		lead := "  "
		if i > 0 {
			lead = "    "
		}
		lines[i] = lead + s.Paint(t, l)
	}
	return lines
}

// Sum counts what an owner has changed; where that is nothing, what of the machine
// is not as it should be.
func Sum(list []plan.Change) string {
	n := Count(list)
	if n.Add+n.Change+n.Remove > 0 {
		return fmt.Sprintf("%d to add, %d to change, %d to remove", n.Add, n.Change, n.Remove)
	}
	if n.Machine == 1 {
		return "the file is as it was; 1 thing on this machine is not as it says"
	}
	return fmt.Sprintf("the file is as it was; %d things on this machine are not as it says", n.Machine)
}

// Counts are how many changes of each kind there are.
type Counts struct {
	Add     int `json:"add"`
	Change  int `json:"change"`
	Remove  int `json:"remove"`
	Machine int `json:"machine"` // steps on the machine
}

// Count counts changes. Several properties of one subject are one change.
func Count(list []plan.Change) Counts {
	var n Counts
	seen := map[string]bool{}
	for _, c := range list {
		switch {
		case c.Machine:
			n.Machine++
		case c.Kind == plan.Added:
			n.Add++
		case c.Kind == plan.Removed:
			n.Remove++
		case !seen[c.Subject]:
			seen[c.Subject] = true
			n.Change++
		}
	}
	return n
}

// Ends says what is published no longer after a change, a line each, but no more
// than most; 0: all.
func Ends(list []plan.Ending, most int, s Style) []string {
	var lines []string
	for i, e := range list {
		if i == most && most > 0 {
			return append(lines, fmt.Sprintf("and ends %d more", len(list)-most))
		}
		for j, l := range Wrap(clean(e.String()), room(s.Columns, 2)) {
			if j > 0 {
				l = "  " + l
			}
			lines = append(lines, s.Paint(Bad, l))
		}
	}
	return lines
}

// Risks says that a change is on trial first, and why.
func Risks(closes []string) string {
	return "on trial until it is confirmed, because it closes " + strings.Join(closes, ", ")
}
