// Package terminal is what a person at a terminal reads and types: lines that are
// fit for it, the log, a QR code, answers and secrets.
package terminal

import (
	"os"

	"golang.org/x/term"
)

// Is reports whether the stream is a terminal with a person at it.
func Is(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
