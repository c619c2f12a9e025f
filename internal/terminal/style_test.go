package terminal

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/view"
)

func TestAStyleFitsItsStream(t *testing.T) {
	_, terminal := newTerminal(t)
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 72}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, noColour, term, columns string
		stream                        any
		want                          view.Style
	}{
		{"a terminal", "", "xterm", "", terminal, view.Style{Columns: 72, Colour: true}},
		{"NO_COLOR", "1", "xterm", "", terminal, view.Style{Columns: 72}},
		{"a terminal without colours", "", "dumb", "", terminal, view.Style{Columns: 72}},
		{"COLUMNS", "", "xterm", "100", terminal, view.Style{Columns: 100, Colour: true}},
		{"a wrong COLUMNS", "", "xterm", "wide", terminal, view.Style{Columns: 72, Colour: true}},
		{"a pipe", "", "xterm", "", new(bytes.Buffer), view.Style{}},
		{"a pipe, and COLUMNS", "", "xterm", "100", new(bytes.Buffer), view.Style{Columns: 100}},
	} {
		t.Setenv("NO_COLOR", c.noColour)
		t.Setenv("TERM", c.term)
		t.Setenv("COLUMNS", c.columns)
		if got := StyleOf(c.stream); got != c.want {
			t.Errorf("%s: %+v, wanted %+v", c.name, got, c.want)
		}
	}
	if columns, rows := Size(terminal); columns != 72 || rows != 24 {
		t.Errorf("%d columns, %d rows", columns, rows)
	}
}
