package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/internal/status"
)

// forwards are a table of them, and what its sums are of.
func (p page) forwards() []string {
	if len(p.Report.Forwards) == 0 {
		if p.Role == "gate" {
			return []string{"no forwards yet: homes publish with: gatelodge expose PORT"}
		}
		return []string{"no forwards yet: gatelodge expose PORT"}
	}
	t := Table{Columns: []Column{
		{}, {Title: "HOME"}, {Title: "FORWARD"}, {Title: "PORTS", Wrap: true}, {Title: "TARGET", Drop: 2}, {Title: "SOURCE", Drop: 1},
		{Title: "ALLOW", Wrap: true, Drop: 5}, {Title: "LIMIT", Wrap: true, Drop: 4}, {Title: "KEPT OUT", Right: true, Drop: 3},
		{Title: "VISITS", Right: true}, {Title: "LAST", Right: true, Drop: 6}, {Title: "IN", Right: true, Drop: 7}, {Title: "OUT", Right: true, Drop: 7}, {Title: "STATE", Wrap: true},
	}}
	for _, f := range p.Report.Forwards {
		t.Rows = append(t.Rows, p.forward(f))
	}
	lines := t.Lines(p.style)
	if slices.ContainsFunc(p.Report.Forwards, func(f status.Forward) bool { return f.In != nil }) {
		for _, l := range Wrap("visits are connections; all sums are since the gate's firewall was set up", p.style.Columns) {
			lines = append(lines, p.style.Dim(l))
		}
	}
	return lines
}

func (p page) forward(f status.Forward) []Cell {
	tone, state := p.state(f)
	cells := []Cell{
		{tone.Mark(), tone}, Text(f.Home), {f.Name, Bold}, Text(strings.Join(f.Ports, " ")), Text(p.target(f)), Text(p.source(f)),
		Text(strings.Join(f.Allow, " ")), Text(f.Limit), {}, {}, {}, {}, {}, {state, tone},
	}
	if f.Limited > 0 {
		cells[8] = Text(fmt.Sprint(f.Limited))
	}
	if f.In != nil && f.Out != nil {
		cells[9], cells[11], cells[12] = Text(fmt.Sprint(f.Connections)), Text(bytes(f.In.Bytes)), Text(bytes(f.Out.Bytes))
	}
	if !f.LastConnection.IsZero() {
		cells[10] = Text(p.ago(f.LastConnection))
	}
	return cells
}

// state says how a forward stands. What a gate has granted that no longer answers is
// out of reach.
func (p page) state(f status.Forward) (Tone, string) {
	with := func(text string) string {
		if f.Reason != "" {
			text += ": " + f.Reason
		}
		return text
	}
	switch {
	case f.State == status.Refused && p.Role == "gate": // as its owner means it to be
		return Warning, with("refused")
	case f.State == status.Refused:
		return Bad, with("refused")
	case f.State == status.Pending:
		return Warning, with("pending")
	case p.isSilent(f):
		return Bad, "out of reach"
	default:
		return Good, with(string(f.State))
	}
}

// isSilent reports whether the other end of a forward's tunnel is silent.
func (p page) isSilent(f status.Forward) bool {
	return slices.ContainsFunc(p.Gates, func(l status.Link) bool { return l.Name == f.Gate && !l.Connected && !l.Carries }) ||
		slices.ContainsFunc(p.Report.Homes, func(h status.Home) bool { return h.Name == f.Home && !h.Connected })
}

func (p page) target(f status.Forward) string {
	switch {
	case p.Role == "gate":
		return ""
	case f.To != "":
		return f.To
	default:
		return "this host"
	}
}

// source is left out on a gate where the gate leaves visitors as they are: what its
// home does with them it does not know.
func (p page) source(f status.Forward) string {
	if p.Role == "gate" && f.Source == "preserve" {
		return ""
	}
	return f.Source
}
