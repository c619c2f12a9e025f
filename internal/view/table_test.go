package view_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/view"
)

func table() view.Table {
	return view.Table{
		Columns: []view.Column{
			{Title: "NAME"}, {Title: "PORTS", Drop: 3}, {Title: "SOURCE", Drop: 1}, {Title: "EMPTY"},
			{Title: "BYTES", Right: true, Drop: 2}, {Title: "STATE", Wrap: true},
		},
		Rows: [][]view.Cell{
			{view.Text("web"), view.Text("80/tcp 443/tcp"), view.Text("preserve"), {}, view.Text("1.0 MiB"), {Text: "granted", Tone: view.Good}},
			{view.Text("a-name-that-is-long"), view.Text("22/tcp"), view.Text("masquerade"), {}, view.Text("12 B"), {Text: "refused: the gate needs 22/tcp (ssh) itself", Tone: view.Bad}},
		},
	}
}

// Columns go in their order, texts are broken at spaces, and names are cut last.
func TestATableFits(t *testing.T) {
	for columns, want := range map[int]string{
		0: `
NAME                 PORTS           SOURCE        BYTES  STATE
web                  80/tcp 443/tcp  preserve    1.0 MiB  granted
a-name-that-is-long  22/tcp          masquerade     12 B  refused: the gate needs 22/tcp (ssh) itself`,
		80: `
NAME                 PORTS           SOURCE        BYTES  STATE
web                  80/tcp 443/tcp  preserve    1.0 MiB  granted
a-name-that-is-long  22/tcp          masquerade     12 B  refused: the gate
                                                          needs 22/tcp (ssh)
                                                          itself`,
		66: `
NAME                 PORTS             BYTES  STATE
web                  80/tcp 443/tcp  1.0 MiB  granted
a-name-that-is-long  22/tcp             12 B  refused: the gate
                                              needs 22/tcp (ssh)
                                              itself`,
		40: `
NAME                 STATE
web                  granted
a-name-that-is-long  refused: the gate
                     needs 22/tcp (ssh)
                     itself`,
		30: `
NAME          STATE
web           granted
a-name-that…  refused: the
              gate needs
              22/tcp (ssh)
              itself`,
	} {
		got := "\n" + strings.Join(table().Lines(view.Style{Columns: columns}), "\n")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d columns (-wanted +got):\n%s", columns, diff)
		}
	}
}

// Colour changes no place of anything.
func TestColourMovesNothing(t *testing.T) {
	plain, painted := table().Lines(view.Style{Columns: 60}), table().Lines(view.Style{Columns: 60, Colour: true})
	if got := without(strings.Join(painted, "\n")); got != strings.Join(plain, "\n") || !strings.Contains(strings.Join(painted, "\n"), "\x1b[32mgranted\x1b[0m") {
		t.Errorf("%q", painted)
	}
}

// without takes the colours away.
func without(text string) string {
	for _, code := range []string{"0", "1", "2", "31", "32", "33"} {
		text = strings.ReplaceAll(text, "\x1b["+code+"m", "")
	}
	return text
}

// No table is wider than a terminal of 60 columns or more, whatever it says, and no
// control character comes through.
func TestNoTableIsTooWide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := view.Table{Columns: []view.Column{{Title: "A"}, {Title: "B", Drop: 2}, {Title: "C", Right: true, Drop: 1}, {Title: "D", Wrap: true}}}
		for range rapid.IntRange(1, 5).Draw(t, "rows") {
			row := make([]view.Cell, len(table.Columns))
			for i := range row {
				row[i] = view.Text(rapid.StringN(0, 80, -1).Draw(t, "text"))
			}
			table.Rows = append(table.Rows, row)
		}
		columns := rapid.IntRange(60, 200).Draw(t, "columns")
		for _, l := range table.Lines(view.Style{Columns: columns}) {
			if n := utf8.RuneCountInString(l); n > columns || strings.ContainsAny(l, "\x1b\n\t\r") || strings.HasSuffix(l, " ") && strings.TrimSpace(l) != "" && !strings.Contains(l, "  ") {
				t.Fatalf("%d of %d columns: %q", n, columns, l)
			}
		}
	})
}

func TestPairsAndMarks(t *testing.T) {
	s := view.Style{Columns: 40}
	got := strings.Join(append(s.Marked(view.Bad, "nobody can reach this home: no answer from the gate"),
		s.Pairs([]view.Pair{{Label: "tunnel", Text: "up"}, {Label: "problem", Text: "the gate's daemon does not answer\x1b[2J, and nothing else does"}})...), "\n")
	const want = `✗ nobody can reach this home: no answer
  from the gate
tunnel   up
problem  the gate's daemon does not
         answer�[2J, and nothing else
         does`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	long := "gatelodge" + strings.Repeat("-long", 20)
	if got := view.Wrap("run "+long+" now", 20); len(got) != 3 || got[1] != long {
		t.Errorf("a command is broken: %q", got)
	}
}
