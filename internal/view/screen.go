package view

import (
	"fmt"
	"time"

	"github.com/gatelodge/gatelodge/internal/status"
)

// Screen is a report that fits a terminal of so many rows: what comes last is cut
// off, and counted. The last row says when it is of, and how the watching ends.
func Screen(r status.Report, now time.Time, s Style, rows int, ends string) []string {
	lines, foot := Report(r, now, s), Cut(now.Format(time.TimeOnly)+"  every 2 s  "+ends, max(s.Columns, leastWrap))
	const least = 4 // rows
	if room := max(rows, least) - 2; rows > 0 && len(lines) > room {
		lines = append(lines[:room-1], s.Dim(fmt.Sprintf("… %d more lines", len(lines)-room+1)))
	}
	return append(lines, "", s.Dim(foot))
}
