package terminal

import (
	"strings"

	"github.com/gatelodge/gatelodge/internal/printable"
)

// Line makes a line fit for the terminal, no matter whose words have come into it:
// the name of a file or of a process, too, may be anything.
func Line(line string) string {
	const most = 4000 // bytes
	line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", " ")
	return printable.Line(line, most)
}
