package view

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Column is one of a table.
type Column struct {
	Title string
	Right bool // for numbers
	// Drop says which columns go where the table is too wide for its terminal: 1
	// first, 0 never. Those of one number go together.
	Drop int
	// Wrap breaks texts at spaces, below each other. Those of other columns are cut
	// at their end, with …, and only where there is nothing left to drop.
	Wrap bool
}

// Cell is a text in a table.
type Cell struct {
	Text string
	Tone Tone
}

// Text returns a plain cell.
func Text(text string) Cell { return Cell{Text: text} }

// Table is a table. A column in which no row says anything is not shown.
type Table struct {
	Columns []Column
	Rows    [][]Cell // each as long as Columns
}

const (
	gap       = 2  // between two columns
	leastCut  = 6  // columns to which a text may be cut
	leastWrap = 16 // columns in which texts may be broken
)

// Lines writes the table, its head first, no wider than the terminal.
func (t Table) Lines(s Style) []string {
	if len(t.Rows) == 0 {
		return nil
	}
	t = t.cleaned()
	shown := t.fit(s.Columns)
	lines := t.row(s, shown, t.head())
	for _, r := range t.Rows {
		lines = append(lines, t.row(s, shown, r)...)
	}
	return lines
}

// shown is a column as it fits.
type shown struct {
	index, width int
	narrow       int // how narrow it may be without a word that is cut
	least        int // to how little it is cut where nothing else helps
}

func (t Table) cleaned() Table {
	rows := make([][]Cell, len(t.Rows))
	for i, r := range t.Rows {
		rows[i] = slices.Clone(r)
		for j := range r {
			rows[i][j].Text = clean(r[j].Text)
		}
	}
	return Table{Columns: t.Columns, Rows: rows}
}

func (t Table) head() []Cell {
	cells := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		cells[i] = Cell{c.Title, Dim}
	}
	return cells
}

// fit decides which columns are shown, and how wide: by dropping some, then by
// breaking texts, then by cutting the widest.
func (t Table) fit(columns int) []shown {
	list := t.natural()
	if columns == 0 {
		return list
	}
	for over(list, columns) > elastic(list) {
		next := t.nextToDrop(list)
		if next == 0 {
			break
		}
		list = slices.DeleteFunc(list, func(c shown) bool { return t.Columns[c.index].Drop == next })
	}
	shrink(list, over(list, columns), func(c shown) int { return c.narrow })
	shrink(list, over(list, columns), func(c shown) int { return c.least })
	return list
}

// natural returns all columns that say something, as wide as their texts.
func (t Table) natural() []shown {
	var list []shown
	for i, c := range t.Columns {
		widest, word := 0, 0
		for _, r := range t.Rows {
			widest = max(widest, utf8.RuneCountInString(r[i].Text))
			if c.Wrap {
				word = max(word, longestWord(r[i].Text))
			}
		}
		if widest > 0 {
			list = append(list, c.shown(i, max(widest, utf8.RuneCountInString(c.Title)), word))
		}
	}
	return list
}

// shown is the column as wide as it likes to be. Numbers are whole or not there.
func (c Column) shown(index, width, word int) shown {
	is := shown{index, width, width, width}
	switch {
	case c.Wrap:
		is.narrow, is.least = min(width, max(word, leastWrap)), min(width, leastWrap)
	case !c.Right:
		is.least = min(width, leastCut)
	}
	return is
}

func longestWord(text string) int {
	longest := 0
	for word := range strings.FieldsSeq(text) {
		longest = max(longest, utf8.RuneCountInString(word))
	}
	return longest
}

// over returns by how much the columns are too wide together.
func over(list []shown, columns int) int {
	sum := -gap
	for _, c := range list {
		sum += c.width + gap
	}
	return max(sum-columns, 0)
}

// elastic returns by how much breaking texts makes the columns narrower.
func elastic(list []shown) int {
	sum := 0
	for _, c := range list {
		sum += c.width - c.narrow
	}
	return sum
}

// nextToDrop returns the lowest Drop of the columns; 0: all have to stay.
func (t Table) nextToDrop(list []shown) int {
	next := 0
	for _, c := range list {
		if n := t.Columns[c.index].Drop; n > 0 && (next == 0 || n < next) {
			next = n
		}
	}
	return next
}

// shrink takes so much from the widest columns, as far as least allows.
func shrink(list []shown, much int, least func(shown) int) {
	for ; much > 0; much-- {
		widest := -1
		for i, c := range list {
			if c.width > least(c) && (widest < 0 || c.width > list[widest].width) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		list[widest].width--
	}
}

// row writes one row, of several lines where texts are broken.
func (t Table) row(s Style, list []shown, cells []Cell) []string {
	texts, height := make([][]string, len(list)), 1
	for i, c := range list {
		texts[i] = []string{cells[c.index].Text}
		if t.Columns[c.index].Wrap {
			texts[i] = Wrap(cells[c.index].Text, c.width)
		}
		height = max(height, len(texts[i]))
	}
	lines := make([]string, height)
	for n := range lines {
		var line strings.Builder
		blank := 0 // columns that are owed: no line ends with spaces
		for i, c := range list {
			text := ""
			if n < len(texts[i]) {
				text = Cut(texts[i][n], c.width)
			}
			left, right := margins(text, c.width, t.Columns[c.index].Right)
			if text != "" {
				line.WriteString(strings.Repeat(" ", blank+left) + s.Paint(cells[c.index].Tone, text))
				blank = right + gap
			} else {
				blank += c.width + gap
			}
		}
		lines[n] = line.String()
	}
	return lines
}

// margins returns how many columns a text leaves to its left and to its right.
func margins(text string, width int, right bool) (before, after int) {
	rest := max(width-utf8.RuneCountInString(text), 0)
	if right {
		return rest, 0
	}
	return 0, rest
}

// Cut shortens a text to so many columns, and shows that it did.
func Cut(text string, columns int) string {
	if utf8.RuneCountInString(text) <= columns {
		return text
	}
	return string([]rune(text)[:max(columns-1, 0)]) + "…"
}

func pad(text string, width int) string {
	_, after := margins(text, width, false)
	return text + strings.Repeat(" ", after)
}
