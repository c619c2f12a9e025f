// Package view is what people see in a terminal: pure functions from values to
// lines of text that fit a Style.
package view

import (
	"strings"
	"unicode/utf8"

	"github.com/gatelodge/gatelodge/internal/printable"
)

// Style says how text is written to one stream. The zero value suits a file: no
// colours, and lines as long as they come.
type Style struct {
	Columns int // of the terminal; 0: lines are as long as they come
	Colour  bool
}

// Tone is how a text is meant, which a terminal shows by colour and weight.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Warning
	Bad
	Dim
	Bold
)

// codes are those of ECMA-48, in the order of the tones.
var codes = [...]string{"", "32", "33", "31", "2", "1"}

// Paint writes a text in a tone. Colour alone never says anything: who cannot see
// it misses nothing.
func (s Style) Paint(t Tone, text string) string {
	if !s.Colour || t == Plain || text == "" {
		return text
	}
	return "\x1b[" + codes[t] + "m" + text + "\x1b[0m"
}

// Good writes what is well.
func (s Style) Good(text string) string { return s.Paint(Good, text) }

// Warn writes what somebody should look at.
func (s Style) Warn(text string) string { return s.Paint(Warning, text) }

// Bad writes what does not work.
func (s Style) Bad(text string) string { return s.Paint(Bad, text) }

// Dim writes what matters less than its neighbours.
func (s Style) Dim(text string) string { return s.Paint(Dim, text) }

// Bold writes what matters more than its neighbours.
func (s Style) Bold(text string) string { return s.Paint(Bold, text) }

// Mark is the sign at the beginning of a line of that tone.
func (t Tone) Mark() string {
	switch t {
	case Good:
		return "✓"
	case Warning:
		return "!"
	case Bad:
		return "✗"
	default:
		return " "
	}
}

// Marked writes a text behind the mark of its tone; further lines of it are
// indented as far.
func (s Style) Marked(t Tone, text string) []string {
	lines := Wrap(clean(text), room(s.Columns, 2))
	for i, l := range lines {
		lead := s.Paint(t, t.Mark()) + " "
		if i > 0 {
			lead = "  "
		}
		lines[i] = lead + s.Paint(t, l)
	}
	return lines
}

// Pair is a text with its label.
type Pair struct {
	Label, Text string
	Tone        Tone // of the text
}

// Pairs writes labelled texts below each other, each within its own column.
func (s Style) Pairs(list []Pair) []string {
	label := 0
	for _, p := range list {
		label = max(label, utf8.RuneCountInString(p.Label))
	}
	var lines []string
	for _, p := range list {
		for i, l := range Wrap(clean(p.Text), room(s.Columns, label+gap)) {
			lead := pad(p.Label, label)
			if i > 0 {
				lead = strings.Repeat(" ", label)
			}
			lines = append(lines, s.Dim(lead)+strings.Repeat(" ", gap)+s.Paint(p.Tone, l))
		}
	}
	return lines
}

// room returns what a lead leaves of a line; 0: all that is needed.
func room(columns, lead int) int {
	const least = 16 // nobody reads less
	if columns == 0 {
		return 0
	}
	return max(columns-lead, least)
}

// Wrap breaks a text at spaces into lines of that many columns at most; 0: it stays
// one. A word that is longer stays whole: it may be a command to copy.
func Wrap(text string, columns int) []string {
	if columns == 0 || utf8.RuneCountInString(text) <= columns {
		return []string{text}
	}
	var lines []string
	line, length := "", 0
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		if length > 0 && length+1+n > columns {
			lines = append(lines, line)
			line, length = "", 0
		}
		if length > 0 {
			line, length = line+" ", length+1
		}
		line, length = line+word, length+n
	}
	return append(lines, line)
}

// clean makes a text one line that moves no cursor, no matter who has written it.
func clean(text string) string {
	const most = 4000 // bytes
	return printable.Line(text, most)
}
