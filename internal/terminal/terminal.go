// Package terminal is what a person at a terminal reads and types: lines that are
// fit for it, the log, a QR code, answers and secrets.
package terminal

import (
	"os"
	"strconv"

	"golang.org/x/term"

	"github.com/gatelodge/gatelodge/internal/view"
)

// Is reports whether the stream is a terminal with a person at it.
func Is(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Size returns how many columns and rows a stream's terminal has; 0: it is none,
// or does not say.
func Size(stream any) (columns, rows int) {
	f, ok := stream.(*os.File)
	if !ok {
		return 0, 0
	}
	columns, rows, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, rows
}

// StyleOf says how text is written to a stream: in colour on a terminal, unless
// NO_COLOR (no-color.org) or TERM=dumb asks for none, and as wide as it is, or as
// COLUMNS says. A text that goes elsewhere has no colour and no width.
func StyleOf(stream any) view.Style {
	columns, _ := Size(stream)
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		columns = n
	}
	plain := os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"
	return view.Style{Columns: columns, Colour: Is(stream) && !plain}
}
